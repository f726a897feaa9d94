//! Groups against ACLs, packet by packet.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::block;
use crate::draft::Places;
use crate::filter::{FilterKey, Match};
use crate::lint::book::Book;
use crate::lint::{Code, path};
use crate::model::{AclAction, AclEntry, AclIndex, Cidr, Direction, Peer, Protocol, RuleNumber, Vpc};
use crate::reference::acl_decide;
use crate::snapshot::Snapshot;
use crate::world::{self, WEB, ip};

/// Every port at which an entry below, or a range of clients' ports, begins or ends, and those beside them.
const PORTS: [u16; 18] =
    [0, 79, 80, 81, 442, 443, 444, 1023, 1024, 32767, 32768, 40000, 49151, 49152, 60999, 61000, 65534, 65535];

const ADDRESSES: [&str; 16] = [
    "0.0.0.0",
    "9.255.255.255",
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.3",
    "10.0.2.0",
    "10.0.2.10",
    "10.0.3.0",
    "10.128.0.0",
    "11.0.0.0",
    "128.0.0.0",
    "::",
    "2001:db8:1::",
    "2001:db8:1:2::",
    "2001:db8:2::",
    "8000::",
];

fn ports() -> impl Strategy<Value = (u16, u16)> {
    prop::sample::select(vec![
        (0, 65535),
        (1024, 65535),
        (32768, 60999),
        (49152, 65535),
        (32768, 65535),
        (80, 80),
        (443, 443),
        (80, 443),
        (0, 40000),
        (1024, 49151),
    ])
}

fn list() -> impl Strategy<Value = Vec<AclEntry>> {
    let protocol = prop_oneof![
        5 => ports().prop_map(|(from, to)| Protocol::Tcp { from, to }),
        2 => ports().prop_map(|(from, to)| Protocol::Udp { from, to }),
        1 => Just(Protocol::All),
    ];
    let entry = (prop::bool::weighted(0.75), protocol, block());
    prop::collection::vec(entry, 0..7).prop_map(|entries| {
        let entry = |(number, (allow, protocol, cidr))| AclEntry {
            number: RuleNumber::new(number).unwrap(),
            action: if allow { AclAction::Allow } else { AclAction::Deny },
            protocol,
            cidr,
        };
        (1..).zip(entries).map(entry).collect()
    })
}

struct World {
    vpc: Vpc,
    direction: Direction,
    cidr: Cidr,
    tcp: bool,
    port: u16,
}

fn world() -> impl Strategy<Value = World> {
    let port = prop::sample::select(vec![80u16, 443, 40000]);
    (list(), list(), any::<bool>(), block(), prop::bool::weighted(0.7), port).prop_map(
        |(ingress, egress, inbound, cidr, tcp, port)| {
            let mut vpc = world::empty();
            (vpc.network_acls[0].ingress, vpc.network_acls[0].egress) = (ingress, egress);
            let protocol = if tcp { world::tcp(port, port) } else { world::udp(port, port) };
            let rules = vec![world::rule("1", protocol, Peer::Cidr(cidr))];
            let (direction, rules) = if inbound {
                (Direction::Ingress, (rules, vec![]))
            } else {
                (Direction::Egress, (vec![], rules))
            };
            let group = world::group(&mut vpc, "one", rules.0, rules.1);
            world::eni(&mut vpc, "one", WEB, 10, &[group]);
            World { vpc, direction, cidr, tcp, port }
        },
    )
}

/// What becomes of the answers to one address.
#[derive(PartialEq, Debug)]
enum Fate {
    Pass,
    SomeSystems,
    Lost { meant: bool },
}

impl World {
    fn reported(&self) -> BTreeSet<Code> {
        let snapshot = Snapshot::compile(self.vpc.clone(), None);
        let places = Places::default();
        let mut book = Book::new(&self.vpc, &snapshot, &places);
        path::check(&mut book);
        book.finish("", "").iter().map(|finding| finding.code).collect()
    }

    fn decide(&self, direction: Direction, address: IpAddr, port: u16) -> (AclAction, Option<RuleNumber>) {
        let key = FilterKey { address, protocol: if self.tcp { 6 } else { 17 }, selector: Match::Port(port) };
        acl_decide(&self.vpc, AclIndex(0), direction, &key)
    }

    /// Addresses of the rule outside the subnet of which a rule sees packets.
    fn addresses(&self) -> Vec<IpAddr> {
        let subnet: [Cidr; 2] = ["10.0.1.0/24".parse().unwrap(), "2001:db8:1:1::/64".parse().unwrap()];
        let all = ADDRESSES.map(ip).into_iter();
        all.filter(|one| self.cidr.contains(one) && !subnet.iter().any(|block| block.contains(one))).collect()
    }

    fn fate(&self, address: IpAddr) -> Fate {
        let back = self.direction.opposite();
        let denied = |from: u16, to: u16| -> Vec<Option<RuleNumber>> {
            let inside = PORTS.into_iter().filter(|port| from <= *port && *port <= to);
            let decided = inside.map(|port| self.decide(back, address, port));
            decided.filter(|(action, _)| *action == AclAction::Deny).map(|(_, number)| number).collect()
        };
        let own_port = !self.tcp && denied(self.port, self.port).is_empty();
        if own_port || denied(1024, 65535).is_empty() {
            return Fate::Pass;
        }
        let linux = denied(32768, 60999);
        if linux.is_empty() || denied(49152, 65535).is_empty() {
            return Fate::SomeSystems;
        }
        let list = self.vpc.network_acls[0].list(back);
        let certain = |number: &Option<RuleNumber>| {
            let entry = number.and_then(|number| list.iter().find(|entry| entry.number == number));
            entry.is_some_and(|entry| entry.cidr.prefix_len() > 0)
        };
        Fate::Lost { meant: linux.iter().all(certain) }
    }

    fn expected(&self) -> BTreeSet<Code> {
        let addresses = self.addresses();
        let passes =
            |address: &&IpAddr| self.decide(self.direction, **address, self.port).0 == AclAction::Allow;
        let fates: Vec<Fate> = addresses.iter().filter(passes).map(|address| self.fate(*address)).collect();
        let whole = fates.iter().all(|fate| matches!(fate, Fate::Lost { .. }));
        let is_lost = |fate: &Fate| matches!(fate, Fate::Lost { meant } if whole || !meant);
        let code = if addresses.is_empty() {
            None
        } else if fates.is_empty() {
            Some(Code::DeniedByAcl)
        } else if fates.iter().any(is_lost) {
            Some(Code::NoReturnPath)
        } else if fates.contains(&Fate::SomeSystems) {
            Some(Code::NarrowReturnPath)
        } else {
            None
        };
        code.into_iter().collect()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let acl = &self.vpc.network_acls[0];
        write!(f, "{:?} {} {} of {acl:#?}", self.direction, self.cidr, self.port)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// What is reported of a rule for one port is what its packets and their answers meet.
    #[test]
    fn a_rule_and_an_acl_agree_as_packets_do(world in world()) {
        prop_assert_eq!(world.reported(), world.expected());
    }
}
