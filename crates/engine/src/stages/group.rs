//! The security-group stage: stateful, allow-only, all groups of an ENI together (SG-20..26).

use std::net::IpAddr;

use palisade_conntrack::{Consult, Plan, Zone};
use palisade_packet::{Direction, FlowTuple, IpPacket, Selector, Transport};
use palisade_policy::model::Revocation;
use palisade_policy::{CompiledEni, EniKey, FilterKey, GroupMatch, GroupSet, Match};

use crate::end::Step;
use crate::intake::Judged;
use crate::reason::DropReason;
use crate::stages::revocation;
use crate::walk::Context;
use crate::witness::{Event, Tracking, Witness};

/// What the stage plans to do with the connection table once the whole side has passed.
pub(crate) enum Pass {
    /// Nothing: an untracked flow, a related error, or a packet that opens no entry.
    Nothing,
    /// Refresh the entry that let it pass.
    Refresh(Plan),
    /// Open an entry.
    Open(Plan),
    /// Open none, but delete the closed entry whose tuple the new, untracked flow takes (CT-45).
    Untracked(Plan),
}

/// Judges a packet at the groups of `eni`. `from` is the ENI that handed it to the fabric (SG-34).
pub(crate) fn judge<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    eni: &'s CompiledEni,
    direction: Direction,
    packet: &Judged,
    from: EniKey,
) -> Step<Pass> {
    let zone = Zone(eni.key.0);
    // Read first: an entry that is made meanwhile must outdate a cached "there is none".
    let birth = cx.table.birth(zone, direction, &packet.ip);
    let mut known = cx.table.consult(zone, direction, &packet.ip, cx.now);
    if cx.snapshot.revocation() == Revocation::Strict && !revocation::upheld(cx, eni, direction, &known) {
        known = Consult::without_entry(zone, direction, &packet.ip);
    }
    let plan = match known {
        Consult::Tracked(plan) => {
            cx.witness.saw(Event::GroupTracked { eni, direction, plan: &plan });
            return Ok(Pass::Refresh(plan));
        }
        Consult::Related(_) => return Ok(related(cx, eni, direction)),
        Consult::New(plan) => Some(plan),
        Consult::Stateless if about_untracked_flow(eni, direction, &packet.ip) => {
            return Ok(related(cx, eni, direction));
        }
        Consult::Stateless => None,
    };
    let referenced = direction == Direction::Egress
        || cx.snapshot.owner(packet.ip.source).is_some_and(|eni| eni.key == from);
    let found = eni.groups.decide(direction, &filter_key(direction, &packet.ip), referenced);
    let Some(first) = found.any else {
        cx.witness.saw(Event::GroupDenied { eni, direction, birth });
        return Err(DropReason::group(direction).into());
    };
    let untracked = is_untracked(eni, direction, &packet.ip, &found);
    let slot = found.anywhere.filter(|_| untracked).unwrap_or(first);
    let (pass, tracking) = match (plan, untracked) {
        (Some(_), false) if packet.later_fragment => (Pass::Nothing, Tracking::OpensNothing), // CT-62
        (Some(plan), false) => (Pass::Open(plan.admitted(eni.stamp, referenced)), Tracking::Opens),
        (Some(plan), true) => (Pass::Untracked(plan), Tracking::Untracked),
        (None, true) => (Pass::Nothing, Tracking::Untracked),
        (None, false) => (Pass::Nothing, Tracking::OpensNothing),
    };
    cx.witness.saw(Event::GroupRule { eni, direction, slot, tracking, birth });
    Ok(pass)
}

fn related<'s, W: Witness>(cx: &mut Context<'s, W>, eni: &'s CompiledEni, direction: Direction) -> Pass {
    cx.witness.saw(Event::GroupRelated { eni, direction });
    Pass::Nothing
}

/// What a rule or entry looks at: the far address, and the destination port or the ICMP type and code (SG-13, NACL-11).
pub(crate) fn filter_key(direction: Direction, ip: &IpPacket) -> FilterKey {
    let address = far_address(direction, ip.source, ip.destination);
    let selector = match ip.transport {
        Transport::Tcp(tcp) => Match::Port(tcp.destination),
        Transport::Udp { destination, .. } => Match::Port(destination),
        Transport::Icmp(icmp) => Match::Icmp { icmp_type: icmp.icmp_type, code: icmp.code },
        Transport::Other | Transport::LaterFragment | Transport::Invalid(_) => Match::Whole,
    };
    FilterKey { address, protocol: ip.protocol, selector }
}

const fn far_address(direction: Direction, source: IpAddr, destination: IpAddr) -> IpAddr {
    match direction {
        Direction::Ingress => source,
        Direction::Egress => destination,
    }
}

/// CT-17: the flow is untracked with this packet as its opener, or as the answer to an untracked opener.
fn is_untracked(eni: &CompiledEni, direction: Direction, ip: &IpPacket, found: &GroupMatch) -> bool {
    let source = match ip.transport {
        Transport::Tcp(tcp) => tcp.source,
        Transport::Udp { source, .. } => source,
        _ => return false, // CT-12
    };
    two_sided(&eni.groups, direction, &filter_key(direction, ip), source, found)
}

/// The test itself: `found` is what the rules of `direction` say to `key`, `source` the packet's source port.
fn two_sided(
    groups: &GroupSet,
    direction: Direction,
    key: &FilterKey,
    source: u16,
    found: &GroupMatch,
) -> bool {
    let open = |direction| groups.open_to_anywhere(direction, key.address.is_ipv6(), key.protocol);
    let back = direction.opposite();
    let opener = FilterKey { selector: Match::Port(source), ..*key };
    (found.anywhere.is_some() && open(back))
        || (open(direction) && groups.decide(back, &opener, true).anywhere.is_some())
}

/// CT-52: an ICMP error about a flow that has no entry because it is untracked passes if the packet it quotes would be
/// allowed now, in its own direction, as part of an untracked flow.
fn about_untracked_flow(eni: &CompiledEni, direction: Direction, ip: &IpPacket) -> bool {
    let Some(quoted) = quoted_flow(direction, ip) else { return false };
    let Selector::Ports { source, destination } = quoted.selector else { return false };
    let sent = direction.opposite();
    let address = far_address(sent, quoted.source, quoted.destination);
    let key = FilterKey { address, protocol: quoted.protocol, selector: Match::Port(destination) };
    let found = eni.groups.decide(sent, &key, true);
    found.any.is_some() && two_sided(&eni.groups, sent, &key, source, &found)
}

/// The flow an ICMP error is about, if it can be about one at all (CT-53).
fn quoted_flow(direction: Direction, ip: &IpPacket) -> Option<FlowTuple> {
    let Transport::Icmp(icmp) = ip.transport else { return None };
    let quoted = icmp.quoted.filter(|quoted| icmp.is_error() && !quoted.is_icmp_error)?.tuple;
    let same_family = quoted.source.is_ipv4() == ip.is_ipv4();
    let delivered_to_sender = direction == Direction::Egress || quoted.source == ip.destination;
    (same_family && delivered_to_sender).then_some(quoted)
}
