//! One record as a line of text.

use std::fmt::{self, Write};
use std::net::IpAddr;

use palisade_flow::{Action, Delta, Hop};
use palisade_packet::Direction::{Egress, Ingress};
use palisade_policy::flow_log::{Field, Format};

use crate::description::Description;

/// What `log-status` says, and what it rests on (FL-47).
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// OK: packets of a flow.
    Flow {
        /// What was counted.
        delta: &'a Delta,
        /// What the deciding rule is called.
        rule: Option<&'a str>,
        /// The ENI at the other end of the leg.
        hop: Option<&'a Description>,
    },
    /// NODATA: no traffic in the window.
    NoData,
    /// SKIPDATA: records of the window were lost.
    SkipData,
}

/// A record of a flow log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The ENI.
    pub eni: &'a Description,
    /// Unix second of the first packet; of NODATA and SKIPDATA the window's first (FL-13).
    pub start: u32,
    /// Unix second of the last packet; of NODATA and SKIPDATA the first after the window.
    pub end: u32,
    /// What it tells.
    pub content: Content<'a>,
}

impl<'a> Record<'a> {
    /// The record of a flow.
    #[must_use]
    pub const fn of(
        eni: &'a Description,
        delta: &'a Delta,
        rule: Option<&'a str>,
        hop: Option<&'a Description>,
    ) -> Self {
        Self { eni, start: delta.first, end: delta.last, content: Content::Flow { delta, rule, hop } }
    }

    /// Appends the line, with its line break: values between blanks, `-` for what is missing or does not apply.
    pub fn write(&self, format: &Format, out: &mut String) {
        for (at, field) in format.fields().iter().enumerate() {
            if at > 0 {
                out.push(' ');
            }
            let before = out.len();
            // Writing to a String cannot fail.
            let _ = self.value(*field, format, out);
            if out.len() == before {
                out.push('-');
            }
        }
        out.push('\n');
    }

    /// Writes nothing for a value that is missing.
    fn value(&self, field: Field, format: &Format, out: &mut String) -> fmt::Result {
        let eni = self.eni;
        match field {
            Field::Version => write!(out, "{}", format.version()),
            Field::AccountId => out.write_str(&eni.account),
            Field::InterfaceId => out.write_str(&eni.eni),
            Field::VpcId => out.write_str(&eni.vpc),
            Field::SubnetId => out.write_str(&eni.subnet),
            Field::InstanceId => out.write_str(&eni.instance),
            Field::Region => out.write_str(&eni.region),
            Field::Start => write!(out, "{}", self.start),
            Field::End => write!(out, "{}", self.end),
            Field::LogStatus => out.write_str(self.status()),
            _ => match self.content {
                Content::Flow { delta, rule, hop } => flow_value(field, eni, delta, (rule, hop), out),
                Content::NoData | Content::SkipData => Ok(()),
            },
        }
    }

    const fn status(&self) -> &'static str {
        match self.content {
            Content::Flow { .. } => "OK",
            Content::NoData => "NODATA",
            Content::SkipData => "SKIPDATA",
        }
    }
}

fn flow_value(
    field: Field,
    eni: &Description,
    delta: &Delta,
    (rule, hop): (Option<&str>, Option<&Description>),
    out: &mut String,
) -> fmt::Result {
    let side = |address: IpAddr, own: bool| if own { eni.own_address(address) } else { Some(address) };
    match field {
        Field::SrcAddr => optional(side(delta.source, delta.direction == Egress), out),
        Field::DstAddr => optional(side(delta.destination, delta.direction == Ingress), out),
        Field::PktSrcAddr => write!(out, "{}", delta.source),
        Field::PktDstAddr => write!(out, "{}", delta.destination),
        Field::SrcPort => write!(out, "{}", delta.source_port),
        Field::DstPort => write!(out, "{}", delta.destination_port),
        Field::Protocol => write!(out, "{}", delta.protocol),
        Field::Packets => write!(out, "{}", delta.packets),
        Field::Bytes => write!(out, "{}", delta.bytes),
        Field::Action => out.write_str(delta.action().as_str()),
        Field::TcpFlags => write!(out, "{}", delta.tcp_flags),
        Field::Type => out.write_str(if delta.source.is_ipv6() { "IPv6" } else { "IPv4" }),
        Field::FlowDirection => out.write_str(delta.direction.as_str()),
        Field::TrafficPath => optional(traffic_path(delta), out),
        Field::NextHopInterfaceId => optional(hop.map(|hop| &hop.eni), out),
        Field::NextHopSubnetId => optional(hop.map(|hop| &hop.subnet), out),
        Field::NextHopVpcId => optional(hop.map(|hop| &hop.vpc), out),
        Field::PalisadeStage => out.write_str(delta.ground.stage()),
        Field::PalisadeRule => optional(rule.or_else(|| delta.ground.is_default().then_some("default")), out),
        Field::PalisadeReason => out.write_str(delta.ground.as_str(delta.direction)),
        Field::PalisadeGeneration => write!(out, "{}", delta.generation),
        // Sublocations, AWS's address ranges, ECS, tags, block public access, encryption and ENIs of services are unknown here.
        _ => Ok(()),
    }
}

fn optional<T: fmt::Display>(value: Option<T>, out: &mut String) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(out, "{value}"))
}

/// The way that packets took when they left (FL-46): every ENI is on Nitro hardware, whose gateway has number 8.
const fn traffic_path(delta: &Delta) -> Option<u8> {
    match (delta.direction, delta.action(), delta.hop) {
        (Egress, Action::Accept, Hop::Eni(_)) => Some(1),
        (Egress, Action::Accept, Hop::InternetGateway) => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WORLD, packet, snapshot};
    use palisade_flow::Ground;
    use palisade_policy::{EniKey, RuleSlot};

    fn description(name: &str) -> Description {
        let snapshot = snapshot(WORLD);
        Description::of(snapshot.vpc(), snapshot.eni_named(name).unwrap().index)
    }

    fn line(format: &str, record: &Record<'_>) -> String {
        let mut out = String::new();
        let format = if format.is_empty() { Format::default() } else { Format::parse(format).unwrap() };
        record.write(&format, &mut out);
        out.trim_end_matches('\n').to_owned()
    }

    fn web(delta: Delta, format: &str) -> String {
        line(format, &Record::of(&description("web-1"), &delta, None, None))
    }

    const REMOTE: (&str, &str) = ("203.0.113.12", "10.0.1.10");

    /// FL-40, FL-14 and FL-15: four pings of 56 data bytes, as AWS's example of a record has them.
    #[test]
    fn fl_40_an_accepted_flow_in_the_default_format() {
        let pings = Delta {
            protocol: 1,
            source_port: 0,
            destination_port: 0,
            packets: 4,
            bytes: 336,
            first: 1_432_917_027,
            last: 1_432_917_142,
            ..packet(EniKey(0), Ingress, REMOTE, 0)
        };
        assert_eq!(
            web(pings, ""),
            "2 123456789010 eni-0a000001 203.0.113.12 10.0.1.10 0 0 1 4 336 1432917027 1432917142 ACCEPT OK"
        );
        let answers = Delta {
            direction: Egress,
            source: pings.destination,
            destination: pings.source,
            ground: Ground::AclEntry,
            first: 1_432_917_094,
            ..pings
        };
        assert_eq!(
            web(answers, ""),
            "2 123456789010 eni-0a000001 10.0.1.10 203.0.113.12 0 0 1 4 336 1432917094 1432917142 REJECT OK"
        );
    }

    /// FL-48.
    #[test]
    fn fl_48_lines_without_a_flow() {
        let eni = description("web-1");
        let window = |content| Record { eni: &eni, start: 1_431_280_860, end: 1_431_280_920, content };
        assert_eq!(
            line("", &window(Content::NoData)),
            "2 123456789010 eni-0a000001 - - - - - - - 1431280860 1431280920 - NODATA"
        );
        assert_eq!(
            line("", &window(Content::SkipData)),
            "2 123456789010 eni-0a000001 - - - - - - - 1431280860 1431280920 - SKIPDATA"
        );
        let custom = "${vpc-id} ${flow-direction} ${instance-id} ${tcp-flags} ${az-id} ${version} ${region} ${log-status} ${subnet-id} ${palisade-rule}";
        assert_eq!(
            line(custom, &window(Content::NoData)),
            "vpc-0a000001 - i-0a000001 - - 5 us-east-1 NODATA subnet-0a000001 -"
        );
    }

    /// FL-49: the four legs through an ENI whose packets are not to or from its own address, and the client's own ENI.
    #[test]
    fn fl_49_packet_addresses_behind_a_nat_gateway() {
        let format = "${srcaddr} ${dstaddr} ${pkt-srcaddr} ${pkt-dstaddr}";
        let (gateway, client, server) = ("10.0.1.10", "10.0.2.10", "203.0.113.5");
        let leg = |direction, addresses| web(packet(EniKey(0), direction, addresses, 0), format);
        let expect = |words: [&str; 4]| words.join(" ");
        assert_eq!(leg(Ingress, (client, server)), expect([client, gateway, client, server]));
        assert_eq!(leg(Egress, (gateway, server)), expect([gateway, server, gateway, server]));
        assert_eq!(leg(Ingress, (server, gateway)), expect([server, gateway, server, gateway]));
        assert_eq!(leg(Egress, (server, client)), expect([gateway, client, server, client]));
        let own = packet(EniKey(0), Egress, (client, server), 0);
        let own = line(format, &Record::of(&description("db-1"), &own, None, None));
        assert_eq!(own, expect([client, server, client, server]));
    }

    /// FL-41, FL-43: a secondary address prints as the primary one; the packet's own stays visible.
    #[test]
    fn fl_41_the_own_side_is_the_primary_address() {
        let format = "${srcaddr} ${dstaddr} ${pkt-srcaddr} ${pkt-dstaddr} ${type}";
        let at = |direction, addresses| web(packet(EniKey(0), direction, addresses, 0), format);
        assert_eq!(
            at(Ingress, ("203.0.113.12", "10.0.1.11")),
            "203.0.113.12 10.0.1.10 203.0.113.12 10.0.1.11 IPv4"
        );
        let remote = "2001:db8:9::1";
        let (second, foreign) = ("2001:db8:1:1::11", "2001:db8:1:1::99");
        assert_eq!(at(Ingress, (remote, second)), format!("{remote} {second} {remote} {second} IPv6"));
        assert_eq!(
            at(Egress, (foreign, remote)),
            format!("2001:db8:1:1::10 {remote} {foreign} {remote} IPv6"),
            "an address not its own stands as its first one"
        );
        let none = packet(EniKey(0), Egress, (foreign, remote), 0);
        let none = line("${srcaddr} ${dstaddr}", &Record::of(&description("db-1"), &none, None, None));
        assert_eq!(none, format!("- {remote}"));
    }

    /// FL-46 and the next hop's fields.
    #[test]
    fn fl_46_the_way_that_packets_took() {
        let format = "${traffic-path} ${next-hop-interface-id} ${next-hop-subnet-id} ${next-hop-vpc-id} ${next-hop-az-id}";
        let (eni, hop) = (description("web-1"), description("db-1"));
        let sent = packet(EniKey(0), Egress, ("10.0.1.10", "10.0.2.10"), 0);
        let show = |delta: Delta, hop| line(format, &Record::of(&eni, &delta, None, hop));
        let to = |hop| Delta { hop, ..sent };
        assert_eq!(
            show(to(Hop::Eni(EniKey(1))), Some(&hop)),
            "1 eni-0a000002 subnet-0a000002 vpc-0a000001 -"
        );
        assert_eq!(show(to(Hop::InternetGateway), None), "8 - - - -");
        assert_eq!(show(to(Hop::None), None), "- - - - -");
        assert_eq!(show(Delta { ground: Ground::AclDefault, ..to(Hop::None) }, None), "- - - - -");
        let received = Delta { direction: Ingress, hop: Hop::Eni(EniKey(1)), ..sent };
        assert_eq!(show(received, Some(&hop)), "- eni-0a000002 subnet-0a000002 vpc-0a000001 -");
    }

    /// FL-44: non-TCP is 0, TCP what was counted; FL-45.
    #[test]
    fn fl_44_tcp_flags_and_direction() {
        let format = "${tcp-flags} ${flow-direction} ${protocol}";
        let client = Delta { tcp_flags: 3, ..packet(EniKey(0), Egress, REMOTE, 0) };
        assert_eq!(web(client, format), "3 egress 6");
        let server = Delta { tcp_flags: 19, direction: Ingress, ..client };
        assert_eq!(web(server, format), "19 ingress 6");
        assert_eq!(web(Delta { tcp_flags: 0, protocol: 17, ..server }, format), "0 ingress 17");
    }

    #[test]
    fn the_deciding_rule_is_named() {
        let format = "${action} ${palisade-stage} ${palisade-rule} ${palisade-reason} ${palisade-generation} ${reject-reason}";
        let eni = description("web-1");
        let show = |ground, rule: Option<&str>| {
            let delta = Delta { ground, generation: 7, ..packet(EniKey(0), Ingress, REMOTE, 0) };
            line(format, &Record::of(&eni, &delta, rule, None))
        };
        assert_eq!(show(Ground::Rule, Some("sgr-00000001")), "ACCEPT security-group sgr-00000001 rule 7 -");
        assert_eq!(show(Ground::Tracked, None), "ACCEPT security-group - tracked 7 -");
        assert_eq!(
            show(Ground::AclEntry, Some("acl-1/120")),
            "REJECT network-acl acl-1/120 acl-ingress-entry 7 -"
        );
        assert_eq!(show(Ground::AclDefault, None), "REJECT network-acl default acl-ingress-default 7 -");
        assert_eq!(show(Ground::NoRule, None), "REJECT security-group default group-ingress 7 -");
        assert_eq!(show(Ground::Allowance, None), "REJECT commit - allowance-ingress 7 -");
    }

    #[test]
    fn every_field_prints_one_word() {
        let format: Vec<_> = Field::ALL.iter().filter(|field| !field.is_tag()).collect();
        let text = format.iter().map(|field| format!("${{{field}}}")).collect::<Vec<_>>().join(" ");
        let delta = Delta { rule: Some(RuleSlot(0)), ..packet(EniKey(0), Egress, REMOTE, 0) };
        let words = web(delta, &text);
        assert_eq!(words.split(' ').count(), format.len(), "{words}");
        assert!(words.split(' ').all(|word| !word.is_empty()), "{words}");
    }
}
