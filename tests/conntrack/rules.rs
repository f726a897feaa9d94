//! The groups of a VPC as an nftables ruleset: a conntrack zone, an egress and an ingress chain per ENI.
//!
//! Made from the model that the configuration becomes, by the words of the specification, and with nothing of the
//! engine's. `established` and `related` pass, then come the rules, whatever the kernel thinks of the packet otherwise
//! (SG-2, CT-3, CT-40). Flows that the rules make untracked are not shown to the tracker (CT-10, CT-17).

use std::fmt::Write as _;
use std::net::IpAddr;

use palisade_policy::model::{Cidr, Direction, Eni, GroupRule, Peer, Protocol, Vpc};

/// The device on which a guest's packets enter and leave the router.
pub(crate) fn device(number: usize) -> String {
    format!("eni{number}")
}

/// The device by which packets that have passed the sender's groups leave for the receiver's, and the one by which they
/// come back.
pub(crate) const LOOP: [&str; 2] = ["loop0", "loop1"];

/// Protocol of the packets that prove the way to be open; neither tracked nor filtered (RFC 3692, "experimental").
pub(crate) const CONTROL: u8 = 253;

/// The zone of an ENI.
pub(crate) const fn zone(number: usize) -> usize {
    number + 1
}

/// The whole ruleset, in place of the one before.
pub(crate) fn ruleset(vpc: &Vpc) -> String {
    let mut text = String::from("table inet palisade\ndelete table inet palisade\ntable inet palisade {\n");
    raw(&mut text, vpc);
    forward(&mut text, vpc);
    for (number, eni) in vpc.enis.iter().enumerate() {
        for direction in [Direction::Egress, Direction::Ingress] {
            chain(&mut text, vpc, number, eni, direction);
        }
    }
    text.push_str("}\n");
    text
}

/// Gives every packet its zone before the tracker sees it, and hides untracked flows from it.
fn raw(text: &mut String, vpc: &Vpc) {
    text.push_str("chain raw {\ntype filter hook prerouting priority raw; policy accept;\n");
    line(text, &format!("meta l4proto {CONTROL} notrack accept"));
    for (number, eni) in vpc.enis.iter().enumerate() {
        for direction in [Direction::Egress, Direction::Ingress] {
            for place in places(number, eni, direction) {
                for flow in untracked(vpc, eni, direction) {
                    line(text, &format!("{place} {flow} notrack accept"));
                }
                line(text, &format!("{place} ct zone set {}", zone(number)));
            }
        }
    }
    text.push_str("}\n");
}

/// What tells a packet to be at one side of an ENI: where it comes in, and whom it is for.
fn places(number: usize, eni: &Eni, direction: Direction) -> Vec<String> {
    match direction {
        Direction::Egress => vec![format!("iifname {}", device(number))],
        Direction::Ingress => eni
            .addresses()
            .map(|address| format!("iifname {} {} daddr {address}", LOOP[1], family(address.is_ipv4())))
            .collect(),
    }
}

/// CT-10 with CT-17: flows opened by an anywhere-rule of one direction while the other one is open to anywhere on all
/// ports, in both of their directions.
fn untracked(vpc: &Vpc, eni: &Eni, direction: Direction) -> Vec<String> {
    let mut flows = Vec::new();
    for (ipv4, protocol) in [(true, "tcp"), (true, "udp"), (false, "tcp"), (false, "udp")] {
        for (opening, port) in [(direction, "dport"), (direction.opposite(), "sport")] {
            let open = anywhere(vpc, eni, opening.opposite(), ipv4, protocol);
            if !open.contains(&(0, u16::MAX)) {
                continue;
            }
            for (from, to) in anywhere(vpc, eni, opening, ipv4, protocol) {
                flows.push(format!("meta nfproto {} {protocol} {port} {from}-{to}", nfproto(ipv4)));
            }
        }
    }
    flows
}

/// The ports of the rules whose peer is exactly 0.0.0.0/0 or `::/0` (CT-11 iii).
fn anywhere(vpc: &Vpc, eni: &Eni, direction: Direction, ipv4: bool, protocol: &str) -> Vec<(u16, u16)> {
    let rules = rules(vpc, eni, direction).filter(|rule| match rule.peer {
        Peer::Cidr(cidr) => cidr.prefix_len() == 0 && cidr.addr().is_ipv4() == ipv4,
        Peer::Group(_) | Peer::PrefixList(_) | Peer::Stale(_) => false,
    });
    let ports = rules.filter_map(|rule| match (rule.protocol, protocol) {
        (Protocol::All, _) => Some((0, u16::MAX)),
        (Protocol::Tcp { from, to }, "tcp") | (Protocol::Udp { from, to }, "udp") => Some((from, to)),
        _ => None,
    });
    ports.collect()
}

fn forward(text: &mut String, vpc: &Vpc) {
    text.push_str("chain forward {\ntype filter hook forward priority filter; policy drop;\n");
    line(text, &format!("meta l4proto {CONTROL} accept"));
    for number in 0..vpc.enis.len() {
        line(text, &format!("iifname {} goto {}", device(number), name(number, Direction::Egress)));
        let ingress = name(number, Direction::Ingress);
        line(text, &format!("iifname {} oifname {} goto {ingress}", LOOP[1], device(number)));
    }
    text.push_str("}\n");
}

fn chain(text: &mut String, vpc: &Vpc, number: usize, eni: &Eni, direction: Direction) {
    let _ = writeln!(text, "chain {} {{", name(number, direction));
    line(text, "ct state established,related accept");
    for rule in rules(vpc, eni, direction) {
        for cidr in peers(vpc, rule.peer) {
            let what = protocol(rule.protocol, cidr.addr().is_ipv4());
            if let Some(what) = what {
                line(text, &format!("{} {what} accept", end(cidr, direction)));
            }
        }
    }
    line(text, "drop");
    text.push_str("}\n");
}

fn rules<'a>(vpc: &'a Vpc, eni: &'a Eni, direction: Direction) -> impl Iterator<Item = &'a GroupRule> {
    eni.groups.iter().flat_map(move |&group| vpc[group].rules(direction))
}

fn peers(vpc: &Vpc, peer: Peer) -> Vec<Cidr> {
    match peer {
        Peer::Cidr(cidr) => vec![cidr],
        Peer::Stale(_) => Vec::new(),
        Peer::PrefixList(list) => vpc[list].entries.clone(),
        Peer::Group(group) => {
            let members = vpc.members(group).flat_map(|eni| vpc[eni].addresses().map(IpAddr::into));
            members.collect()
        }
    }
}

/// The far end: whom a packet comes from on its way in, whom it goes to on its way out (NACL-11).
fn end(cidr: Cidr, direction: Direction) -> String {
    let ipv4 = cidr.addr().is_ipv4();
    let side = match direction {
        Direction::Ingress => "saddr",
        Direction::Egress => "daddr",
    };
    match cidr.prefix_len() {
        0 => format!("meta nfproto {}", nfproto(ipv4)),
        _ => format!("{} {side} {cidr}", family(ipv4)),
    }
}

/// What a rule covers; `None`: nothing in this family.
fn protocol(protocol: Protocol, ipv4: bool) -> Option<String> {
    Some(match protocol {
        Protocol::All => String::new(),
        Protocol::Tcp { from, to } => format!("tcp dport {from}-{to}"),
        Protocol::Udp { from, to } => format!("udp dport {from}-{to}"),
        Protocol::Icmp { icmp_type, code } if ipv4 => icmp("icmp", icmp_type, code),
        Protocol::Icmpv6 { icmp_type, code } if !ipv4 => icmp("icmpv6", icmp_type, code),
        Protocol::Icmp { .. } | Protocol::Icmpv6 { .. } => return None,
        Protocol::Number(number) => format!("meta l4proto {number}"),
    })
}

fn icmp(family: &str, icmp_type: Option<u8>, code: Option<u8>) -> String {
    let mut text = format!("meta l4proto {family}");
    for (field, value) in [("type", icmp_type), ("code", code)] {
        if let Some(value) = value {
            let _ = write!(text, " {family} {field} {value}");
        }
    }
    text
}

fn name(number: usize, direction: Direction) -> String {
    match direction {
        Direction::Egress => format!("egress{number}"),
        Direction::Ingress => format!("ingress{number}"),
    }
}

const fn family(ipv4: bool) -> &'static str {
    if ipv4 { "ip" } else { "ip6" }
}

const fn nfproto(ipv4: bool) -> &'static str {
    if ipv4 { "ipv4" } else { "ipv6" }
}

fn line(text: &mut String, rule: &str) {
    let _ = writeln!(text, "{rule}");
}
