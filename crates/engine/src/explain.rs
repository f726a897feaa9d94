//! The walk told to people: every stage a packet meets, what was consulted, what decided.

use std::fmt;

use palisade_packet::{Body, Direction, Fragment, IpPacket, PacketSummary, Transport};
use palisade_policy::model::{AclAction, GroupIndex, Peer};
use palisade_policy::{
    AclDecision, CompiledEni, CompiledSubnet, MirrorChoice, PortKey, RuleName, RuleSlot, Snapshot,
};
use serde::Serialize;

use crate::outcome::{Reply, Verdict, Walked};
use crate::reason::DropReason;
use crate::stage::Stage;
use crate::witness::{Event, FragmentFate, Tracking, Witness};

/// What would happen to a packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    /// Generation of the policy that was asked.
    pub generation: u64,
    /// Name of the port the packet comes in by.
    pub from: String,
    /// The packet in one line.
    pub packet: String,
    /// Every stage it meets, in order.
    pub stages: Vec<StageReport>,
    /// Where it ends.
    pub outcome: OutcomeReport,
}

/// What one stage does with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StageReport {
    /// Which stage.
    pub stage: Stage,
    /// Where: the name of the ENI or the subnet, `service NAME`, or `router`.
    pub at: String,
    /// `ingress` or `egress`, for the stages that have a direction.
    pub direction: Option<&'static str>,
    /// `allowed`, `denied`, `passed`, `copied`, `held` or `not-consulted`.
    pub result: &'static str,
    /// The rule or entry that decided.
    pub rule: Option<String>,
    /// What was looked at: the groups, the ACL, the connection table.
    pub consulted: Vec<String>,
    /// Why, in words.
    pub note: String,
}

/// Where a packet ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OutcomeReport {
    /// `delivered`, `consumed`, `held` or `dropped`.
    pub verdict: &'static str,
    /// Port it is delivered to.
    pub to: Option<String>,
    /// Why it is dropped, or what consumed it.
    pub reason: Option<&'static str>,
    /// The same in words.
    pub detail: String,
    /// What goes back to the sender.
    pub reply: Option<String>,
}

/// The witness of an explanation.
pub(crate) struct Recorder<'s> {
    snapshot: &'s Snapshot,
    stages: Vec<StageReport>,
    /// Name of the ENI whose side the packet is at; `None`: not past its own port.
    here: Option<String>,
    /// Name of the ENI that it is handed to.
    receiver: Option<String>,
}

impl Witness for Recorder<'_> {
    fn saw(&mut self, event: Event<'_>) {
        match event {
            Event::Admitted { eni } => {
                let note = "MAC address, spoof rules and source check pass";
                self.here = Some(self.eni(eni));
                self.push(Stage::Admission, self.eni(eni), "passed", note);
            }
            Event::ServicePath { service } => {
                let note = "a reserved address: no network ACL and no security group applies (RES-1)";
                self.push(Stage::ServicePath, format!("service {service}"), "passed", note);
            }
            Event::Fragment { eni, direction, fate } => self.fragment(eni, direction, fate),
            Event::Orphaned { .. } => {} // never while explaining
            Event::Resumed { to } => {
                self.here = Some(self.eni(to));
                let note = "decided before the fragment had to wait here (CT-61)";
                self.push(Stage::HandOver, self.eni(to), "passed", note);
            }
            Event::GroupTracked { eni, direction, .. } => {
                let note = "belongs to a tracked connection: no rule is consulted (CT-3)";
                self.group(eni, direction, "allowed", Ground::Table, note);
            }
            Event::EntryRevoked { eni, direction } => {
                let note = "no rule would let its connection be opened now: the entry ends (CT-27, revocation = strict)";
                self.group(eni, direction, "passed", Ground::Table, note);
            }
            Event::GroupRelated { eni, direction } => {
                let note = "an ICMP error about a flow of this ENI (CT-50, CT-52)";
                self.group(eni, direction, "allowed", Ground::Quoted, note);
            }
            Event::GroupRule { eni, direction, slot, tracking, .. } => {
                self.group(eni, direction, "allowed", Ground::Rule(slot), tracking.describe());
            }
            Event::GroupDenied { eni, direction, .. } => {
                self.group(eni, direction, "denied", Ground::NoRule, "no rule matched (SG-20)");
            }
            Event::SameSubnet { to, by_mac } => self.same_subnet(to, by_mac),
            Event::ToRouter => {
                let note = "the destination is not in this subnet (RT-5)";
                self.push(Stage::HandOver, ROUTER.to_owned(), "passed", note);
            }
            Event::Acl { subnet, direction, decision } => self.acl(subnet, direction, decision),
            Event::Committed { eni, opens, .. } => {
                let note =
                    if opens { "a connection entry is opened here" } else { "no new connection entry" };
                self.push(Stage::Commit, self.eni(eni), "passed", note);
                self.here.clone_from(&self.receiver);
            }
            Event::Mirrored { eni, direction, choice } => self.mirrored(eni, direction, choice),
            Event::Routed { to } => {
                self.receiver = Some(self.eni(to));
                let note = "the local route of the VPC leads there (RT-11)";
                self.push(Stage::Route, self.eni(to), "passed", note);
            }
            Event::PathMtu { mtu, largest, fragments } => {
                let fate = if fragments { "DF is clear: it is fragmented (RT-61)" } else { "fits" };
                let note = format!("{largest} bytes, path MTU {mtu}: {fate}");
                self.push(Stage::Mtu, ROUTER.to_owned(), "passed", &note);
            }
            Event::DestinationChecked { eni } => {
                let note = "the destination is one of the ENI's addresses, or its check is off (RES-42)";
                self.push(Stage::DestinationCheck, self.eni(eni), "passed", note);
            }
        }
    }
}

/// What is looked at to let an ICMP error pass.
const QUOTED: &str = "the packet it quotes";

impl StageReport {
    /// Whether a security group let an ICMP error pass because of the packet that it quotes (CT-50, CT-52).
    #[must_use]
    pub fn is_related(&self) -> bool {
        self.stage == Stage::SecurityGroup && self.consulted == [QUOTED]
    }
}

/// Where the implicit router acts.
const ROUTER: &str = "router";

/// What the security-group stage went by.
#[derive(Clone, Copy)]
enum Ground {
    Table,
    Quoted,
    Rule(RuleSlot),
    NoRule,
}

impl Tracking {
    const fn describe(self) -> &'static str {
        match self {
            Self::Opens => "the flow will be tracked",
            Self::Untracked => "the flow is untracked: every packet is judged by rules, both ways (CT-10)",
            Self::OpensNothing => "this packet alone: it opens no entry (CT-40, CT-56, CT-62)",
        }
    }
}

impl<'s> Recorder<'s> {
    pub(crate) const fn new(snapshot: &'s Snapshot) -> Self {
        Self { snapshot, stages: Vec::new(), here: None, receiver: None }
    }

    /// Ends the recording.
    pub(crate) fn conclude(
        &mut self,
        from: PortKey,
        packet: Option<&PacketSummary>,
        walked: &Walked,
    ) -> Explanation {
        if let Verdict::Drop(reason) = walked.verdict {
            self.denied(reason, from);
        }
        Explanation {
            generation: self.snapshot.generation(),
            from: self.port(from),
            packet: packet.map_or_else(|| "unreadable frame".to_owned(), describe),
            stages: std::mem::take(&mut self.stages),
            outcome: self.outcome(packet, walked),
        }
    }

    fn outcome(&self, packet: Option<&PacketSummary>, walked: &Walked) -> OutcomeReport {
        let (verdict, to, reason, detail) = match walked.verdict {
            Verdict::Deliver(delivery) => {
                let to = self.port(delivery.to);
                let detail = format!("goes out by {to}");
                ("delivered", Some(to), None, detail)
            }
            Verdict::Consume(what) => ("consumed", None, Some(what.as_str()), what.describe().to_owned()),
            Verdict::Hold => ("held", None, None, packet.map(waiting).unwrap_or_default()),
            Verdict::Drop(reason) => ("dropped", None, Some(reason.as_str()), reason.describe().to_owned()),
        };
        OutcomeReport { verdict, to, reason, detail, reply: walked.reply.as_ref().map(reply) }
    }

    /// Adds the stage of a drop of which the walk tells nothing but the reason; groups, ACLs and fragment bookkeeping have
    /// told of theirs.
    fn denied(&mut self, reason: DropReason, from: PortKey) {
        let at = match reason.stage() {
            Stage::SecurityGroup | Stage::NetworkAcl => return,
            Stage::Fragments if self.refused_a_fragment() => return,
            Stage::Route => ROUTER.to_owned(),
            Stage::Mtu if reason == DropReason::Mtu => ROUTER.to_owned(),
            Stage::Admission | Stage::ServicePath => self.port(from),
            _ => self.here.clone().unwrap_or_else(|| self.port(from)),
        };
        self.push(reason.stage(), at, "denied", reason.describe());
    }

    fn push(&mut self, stage: Stage, at: String, result: &'static str, note: &str) {
        let (direction, rule, consulted) = (None, None, Vec::new());
        self.stages.push(StageReport {
            stage,
            at,
            direction,
            result,
            rule,
            consulted,
            note: note.to_owned(),
        });
    }

    fn group(
        &mut self,
        eni: &CompiledEni,
        direction: Direction,
        result: &'static str,
        ground: Ground,
        note: &str,
    ) {
        let (rule, consulted) = match ground {
            Ground::Table => (None, vec!["connection table".to_owned()]),
            Ground::Quoted => (None, vec![QUOTED.to_owned()]),
            Ground::Rule(slot) => (Some(self.rule(slot)), self.groups(eni, direction)),
            Ground::NoRule => (None, self.groups(eni, direction)),
        };
        let (at, direction) = (self.eni(eni), Some(direction.as_str()));
        let note = note.to_owned();
        self.stages.push(StageReport {
            stage: Stage::SecurityGroup,
            at,
            direction,
            result,
            rule,
            consulted,
            note,
        });
    }

    fn acl(&mut self, subnet: &CompiledSubnet, direction: Direction, decision: AclDecision) {
        let model = &self.snapshot.vpc()[subnet.index];
        let acl = &self.snapshot.vpc()[model.network_acl];
        let result = if decision.action == AclAction::Allow { "allowed" } else { "denied" };
        let note = match decision.number {
            Some(number) => format!("entry {number} is the first that matches (NACL-21)"),
            None => "no entry matched; the last one denies (NACL-5)".to_owned(),
        };
        self.stages.push(StageReport {
            stage: Stage::NetworkAcl,
            at: model.name.clone(),
            direction: Some(direction.as_str()),
            result,
            rule: Some(self.rule(decision.slot)),
            consulted: vec![format!("{} ({})", acl.name, acl.id)],
            note,
        });
    }

    fn fragment(&mut self, eni: &CompiledEni, direction: Direction, fate: FragmentFate) {
        let (result, note) = match fate {
            FragmentFate::First { releases: 0 } => {
                ("passed", "the first fragment: later ones are judged with its ports (CT-60)".to_owned())
            }
            FragmentFate::First { releases } => {
                ("passed", format!("the first fragment; held ones that follow it: {releases} (CT-61)"))
            }
            FragmentFate::Joined => {
                ("passed", "judged with the ports of its first fragment (CT-60)".to_owned())
            }
            FragmentFate::Held => ("held", "its first fragment has not come (CT-61)".to_owned()),
            FragmentFate::Dropped(reason) => ("denied", reason.describe().to_owned()),
        };
        self.here = Some(self.eni(eni));
        self.push(Stage::Fragments, self.eni(eni), result, &note);
        if let Some(stage) = self.stages.last_mut() {
            stage.direction = Some(direction.as_str());
        }
    }

    /// The last stage so far is fragment bookkeeping, and it let nothing pass.
    fn refused_a_fragment(&self) -> bool {
        self.stages.last().is_some_and(|last| (last.stage, last.result) == (Stage::Fragments, "denied"))
    }

    fn mirrored(&mut self, eni: &CompiledEni, direction: Direction, choice: MirrorChoice) {
        let Some((session, index)) = eni.mirror.as_ref().and_then(|plan| plan.session(choice)) else {
            return;
        };
        let name = &self.snapshot.vpc()[index].name;
        let note =
            format!("session {name} copies it to {}, VNI {} (TM-24)", session.destination, session.vni);
        self.push(Stage::Mirror, self.eni(eni), "copied", &note);
        if let Some(stage) = self.stages.last_mut() {
            (stage.direction, stage.rule) = (Some(direction.as_str()), Some(session.id.clone()));
        }
    }

    fn same_subnet(&mut self, to: &CompiledEni, by_mac: bool) {
        let note =
            if by_mac { "its MAC address is the next hop (RT-5)" } else { "owns the destination (RT-5)" };
        self.receiver = Some(self.eni(to));
        self.push(Stage::HandOver, self.eni(to), "passed", note);
        let subnet = self.snapshot.vpc()[to.subnet].name.clone();
        let note = "the packet does not leave the subnet (NACL-20)";
        self.push(Stage::NetworkAcl, subnet, "not-consulted", note);
    }

    fn eni(&self, eni: &CompiledEni) -> String {
        self.snapshot.vpc()[eni.index].name.clone()
    }

    /// Ids of rules, names of what they belong to.
    fn rule(&self, slot: RuleSlot) -> String {
        let vpc = self.snapshot.vpc();
        match self.snapshot.rule(slot) {
            Some(RuleName::GroupRule { group, rule, .. }) => {
                let named = vpc.security_groups.iter().find(|known| known.id == *group);
                format!("{rule} of {}", named.map_or(group, |group| &group.name))
            }
            Some(name) => name.to_string(),
            None => "a rule of another generation".to_owned(),
        }
    }

    fn groups(&self, eni: &CompiledEni, direction: Direction) -> Vec<String> {
        let describe = |index: &GroupIndex| {
            let group = &self.snapshot.vpc()[*index];
            let rules = group.rules(direction);
            let stale = rules.iter().filter(|rule| matches!(rule.peer, Peer::Stale(_))).count();
            format!(
                "{} ({}), {} {} rule{}{}",
                group.name,
                group.id,
                rules.len(),
                direction.as_str(),
                if rules.len() == 1 { "" } else { "s" },
                if stale == 0 { String::new() } else { format!(", {stale} stale (SG-38)") },
            )
        };
        eni.groups.groups().iter().map(describe).collect()
    }

    fn port(&self, port: PortKey) -> String {
        let name = match port {
            PortKey::Eni(key) => self.snapshot.eni(key).map(|eni| self.eni(eni)),
            PortKey::Service(key) => {
                self.snapshot.service(key).map(|service| format!("service {}", service.name))
            }
        };
        name.unwrap_or_else(|| "a port that is gone".to_owned())
    }
}

/// What a held fragment waits for.
fn waiting(summary: &PacketSummary) -> String {
    let Body::Ip(IpPacket { source, destination, fragment: Some(fragment), .. }) = &summary.body else {
        return String::new();
    };
    let id = fragment.identification;
    format!("waits up to 1 s for the first fragment of datagram {id} from {source} to {destination} (CT-61)")
}

fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Arp { address, mac } => format!("ARP: {address} is at {mac}"),
        Reply::Neighbour { address, mac, .. } => format!("neighbour advertisement: {address} is at {mac}"),
        Reply::TooBig { mtu, router, .. } => format!("ICMP error from {router}: the next hop's MTU is {mtu}"),
    }
}

/// One line in the notation that `palisade explain` reads.
fn describe(summary: &PacketSummary) -> String {
    match &summary.body {
        Body::Arp(arp) if arp.operation == 1 => format!("arp who-has {} tell {}", arp.target, arp.sender),
        Body::Arp(arp) => format!("arp {} is-at {}", arp.sender, arp.sender_mac),
        Body::Ip(ip) => describe_ip(ip),
    }
}

fn describe_ip(ip: &IpPacket) -> String {
    let fragment = ip.fragment.map(|Fragment { identification, offset, more, .. }| {
        format!(" frag id {identification} offset {offset}{}", if more { " more" } else { "" })
    });
    describe_upper(ip) + &fragment.unwrap_or_default()
}

fn describe_upper(ip: &IpPacket) -> String {
    let IpPacket { source, destination, .. } = ip;
    let end = |address: &std::net::IpAddr, port: u16| std::net::SocketAddr::new(*address, port);
    match ip.transport {
        Transport::Tcp(tcp) => {
            format!("tcp {} > {} {}", end(source, tcp.source), end(destination, tcp.destination), tcp.flags)
        }
        Transport::Udp { source: from, destination: to } => {
            format!("udp {} > {}", end(source, from), end(destination, to))
        }
        Transport::Icmp(icmp) => {
            let name = if icmp.v6 { "icmpv6" } else { "icmp" };
            format!("{name} {source} > {destination} type {} code {}", icmp.icmp_type, icmp.code)
        }
        _ => format!("proto {} {source} > {destination}", ip.protocol),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  (from {}, generation {})", self.packet, self.from, self.generation)?;
        self.stages.iter().try_for_each(|stage| write!(f, "{stage}"))?;
        let OutcomeReport { verdict, reason, detail, reply, .. } = &self.outcome;
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        writeln!(f, "=> {verdict}{reason}: {detail}")?;
        reply.iter().try_for_each(|reply| writeln!(f, "   sent back: {reply}"))
    }
}

impl fmt::Display for StageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage =
            self.direction.map_or_else(|| self.stage.to_string(), |way| format!("{} {way}", self.stage));
        write!(f, "  {stage:<24} {:<16} {:<13}", self.at, self.result)?;
        self.rule.iter().try_for_each(|rule| write!(f, " {rule};"))?;
        writeln!(f, " {}", self.note)?;
        if self.consulted.is_empty() {
            Ok(())
        } else {
            writeln!(f, "  {:<24} looked at: {}", "", self.consulted.join(", "))
        }
    }
}
