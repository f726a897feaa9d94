//! Which flows of an ENI are untracked (CT-10, CT-17), as sets of ports that can be compared.

use palisade_packet::summary::protocol::{TCP, UDP};

use super::union::{RuleAt, Union};
use crate::classifier::service;
use crate::classifier::span::{Span, merged};
use crate::model::{Direction, GroupIndex, Peer, Protocol};

/// Untracked flows under a set of groups: per family, of TCP and of UDP.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Tracking([[Untracked; 2]; 2]);

/// Untracked flows of one family and protocol.
#[derive(PartialEq, Eq, Debug)]
enum Untracked {
    /// Every flow.
    All,
    /// Those to these ports, by the direction in which they are opened.
    To { ingress: Vec<Span<u32>>, egress: Vec<Span<u32>> },
}

/// The protocols of which flows can be untracked (CT-12).
const PROTOCOLS: [u8; 2] = [TCP, UDP];

impl Tracking {
    /// Without the rules that are gone.
    pub(super) fn of(union: &Union<'_>, set: &[GroupIndex], gone: &[bool]) -> Self {
        let rules = |direction| -> Vec<RuleAt> {
            union.of_set(set, direction).filter(|&rule| !gone[rule]).map(|rule| union.rules[rule]).collect()
        };
        let (ingress, egress) = (rules(Direction::Ingress), rules(Direction::Egress));
        Self([false, true].map(|ipv6| {
            PROTOCOLS.map(|protocol| {
                let ports = |rules: &[RuleAt]| anywhere(union, rules, ipv6, protocol);
                Untracked::of(&ports(&ingress), &ports(&egress), all_ports(protocol))
            })
        }))
    }
}

impl Untracked {
    /// CT-10: a flow opened in one direction is untracked if a literal 0.0.0.0/0 rule of the other one has all ports.
    fn of(ingress: &[Span<u32>], egress: &[Span<u32>], all: Span<u32>) -> Self {
        let opened = |by: &[Span<u32>], other: &[Span<u32>]| {
            if other.contains(&all) { merged(by.to_vec()) } else { Vec::new() }
        };
        let (ingress, egress) = (opened(ingress, egress), opened(egress, ingress));
        if ingress == [all] || egress == [all] { Self::All } else { Self::To { ingress, egress } }
    }
}

/// The ports, as services, of each rule with literally 0.0.0.0/0 or `::/0`.
pub(super) fn anywhere(union: &Union<'_>, rules: &[RuleAt], ipv6: bool, protocol: u8) -> Vec<Span<u32>> {
    let of_family = |rule: &&RuleAt| {
        let peer = union.rule(**rule).peer;
        peer.is_anywhere() && matches!(peer, Peer::Cidr(cidr) if cidr.addr().is_ipv6() == ipv6)
    };
    let all = all_ports(protocol);
    let clipped = |span: Span<u32>| {
        let (low, high) = (span.low.max(all.low), span.high.min(all.high));
        (low <= high).then_some(Span { low, high })
    };
    let services =
        rules.iter().filter(of_family).flat_map(|rule| service::covered(union.rule(*rule).protocol, ipv6));
    services.filter_map(clipped).collect()
}

/// All ports of TCP or UDP.
pub(super) fn all_ports(protocol: u8) -> Span<u32> {
    let all = match protocol {
        TCP => Protocol::Tcp { from: 0, to: u16::MAX },
        _ => Protocol::Udp { from: 0, to: u16::MAX },
    };
    service::covered(all, false)[0]
}
