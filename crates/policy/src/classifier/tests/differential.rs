//! Random VPCs and random packets: the compiled answer is the reference's answer, down to the name of the rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{DIRECTIONS, acl, groups};
use crate::model::{
    AclAction, AclEntry, Cidr, Direction, EniIndex, GroupIndex, GroupRule, ListSize, Peer, PrefixList,
    PrefixListIndex, Protocol, RuleNumber, SubnetIndex, Vpc,
};
use crate::reference;
use crate::snapshot::Snapshot;
use crate::world;
use crate::{FilterKey, Match};

const GROUPS: usize = 4;
const LISTS: usize = 3;

fn port() -> impl Strategy<Value = u16> {
    let edges = prop::sample::select(vec![0, 1, 22, 53, 80, 443, 1023, 1024, 65534, 65535]);
    prop_oneof![edges, any::<u16>()]
}

fn ports() -> impl Strategy<Value = (u16, u16)> {
    let range = (port(), port()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![port().prop_map(|port| (port, port)), range]
}

fn type_and_code() -> impl Strategy<Value = (Option<u8>, Option<u8>)> {
    let byte = prop::sample::select(vec![0u8, 1, 3, 4, 8, 11, 128, 129, 254, 255]);
    prop_oneof![
        Just((None, None)),
        byte.clone().prop_map(|icmp_type| (Some(icmp_type), None)),
        (byte.clone(), byte).prop_map(|(icmp_type, code)| (Some(icmp_type), Some(code))),
    ]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![
        2 => Just(Protocol::All),
        6 => ports().prop_map(|(from, to)| Protocol::Tcp { from, to }),
        3 => ports().prop_map(|(from, to)| Protocol::Udp { from, to }),
        1 => type_and_code().prop_map(|(icmp_type, code)| Protocol::Icmp { icmp_type, code }),
        1 => type_and_code().prop_map(|(icmp_type, code)| Protocol::Icmpv6 { icmp_type, code }),
        1 => prop::sample::select(vec![0u8, 1, 6, 17, 47, 50, 58, 132, 255]).prop_map(Protocol::Number),
    ]
}

/// Crowded round a few bases, so that blocks nest, touch and repeat.
fn block_v4() -> impl Strategy<Value = Cidr> {
    let base =
        prop::sample::select(vec![0u32, 0x0a00_0100, 0x0a00_0200, 0x7fff_ff00, 0xcb00_7100, 0xffff_ff00]);
    (base, any::<u8>(), any::<u32>(), any::<bool>(), 0u8..=32).prop_map(|(base, host, wild, tame, len)| {
        let address = Ipv4Addr::from_bits(if tame { base | u32::from(host) } else { wild });
        Cidr::V4(Ipv4Net::new(address, len).unwrap().trunc())
    })
}

fn block_v6() -> impl Strategy<Value = Cidr> {
    let base =
        prop::sample::select(vec![0u128, 0xffff_0a00_0100, 0x2001_0db8_0001_0001 << 64, u128::MAX << 8]);
    (base, any::<u8>(), 0u8..=128).prop_map(|(base, host, len)| {
        Cidr::V6(Ipv6Net::new(Ipv6Addr::from_bits(base | u128::from(host)), len).unwrap().trunc())
    })
}

fn block() -> impl Strategy<Value = Cidr> {
    let anywhere = prop::sample::select(vec!["0.0.0.0/0", "::/0"]).prop_map(|all| all.parse().unwrap());
    prop_oneof![1 => anywhere, 6 => block_v4(), 3 => block_v6()]
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        6 => block().prop_map(Peer::Cidr),
        1 => (0..GROUPS).prop_map(|group| Peer::Group(GroupIndex(group))),
        1 => (0..LISTS).prop_map(|list| Peer::PrefixList(PrefixListIndex(list))),
    ]
}

type Rules = Vec<(u16, Protocol, Peer)>;

fn rules(count: std::ops::Range<usize>) -> impl Strategy<Value = Rules> {
    prop::collection::vec((any::<u16>(), protocol(), peer()), count)
}

fn entries(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<AclEntry>> {
    let entry = (any::<bool>(), protocol(), block());
    prop::collection::vec(entry, count).prop_map(|entries| {
        let entry = |(number, (allow, protocol, cidr))| AclEntry {
            number: RuleNumber::new(number).unwrap(),
            action: if allow { AclAction::Allow } else { AclAction::Deny },
            protocol,
            cidr,
        };
        (1..).step_by(3).zip(entries).map(entry).collect()
    })
}

/// Four groups with their share of `rules`, three prefix lists, and ENIs with one to four groups.
fn vpc_with(ingress: &Rules, egress: &Rules, lists: Vec<Vec<Cidr>>) -> Vpc {
    let mut vpc = world::empty();
    for at in 0..GROUPS {
        let share = |rules: &Rules, way: &str| -> Vec<GroupRule> {
            let mine = rules.iter().enumerate().filter(|(n, _)| n % GROUPS == at);
            mine.map(|(n, &(id, protocol, peer))| world::rule(&format!("{id:04x}{way}{n:x}"), protocol, peer))
                .collect()
        };
        world::group(&mut vpc, &at.to_string(), share(ingress, "a"), share(egress, "b"));
    }
    for (at, entries) in lists.into_iter().enumerate() {
        let id = format!("pl-{at}");
        let size = ListSize::MaxEntries(1000);
        vpc.prefix_lists.push(PrefixList { name: id.clone(), id, ipv6: false, size, entries });
    }
    for (at, set) in [vec![0], vec![1, 2], vec![3, 1], vec![2, 0, 3, 1]].into_iter().enumerate() {
        let groups: Vec<_> = set.into_iter().map(GroupIndex).collect();
        let host = u8::try_from(10 + at).unwrap();
        world::eni(&mut vpc, &at.to_string(), SubnetIndex(at % 2), host, &groups);
    }
    vpc
}

/// What a packet is made from: a block and a protocol that some rule names, and how to stray from them.
type Seed = (Index, Index, u8, u8, u16);

fn seeds(count: usize) -> impl Strategy<Value = Vec<Seed>> {
    prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>(), any::<u8>(), port()), count)
}

fn key(seed: &Seed, blocks: &[Cidr], protocols: &[Protocol]) -> FilterKey {
    let &(block, protocol, stray_address, stray_service, wild) = seed;
    let address = near(*block.get(blocks), stray_address);
    let (protocol, selector) = service_near(*protocol.get(protocols), stray_service, wild);
    FilterKey { address, protocol, selector }
}

/// The first or last address of a block, or the one just outside.
fn near(block: Cidr, stray: u8) -> IpAddr {
    let pick = |first: u128, last: u128| match stray % 5 {
        0 => first,
        1 => last,
        2 => first.wrapping_sub(1),
        3 => last.wrapping_add(1),
        _ => first + (last - first) / 2,
    };
    match block {
        Cidr::V4(net) => {
            let picked = pick(net.network().to_bits().into(), net.broadcast().to_bits().into());
            IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(picked & 0xffff_ffff).unwrap()))
        }
        Cidr::V6(net) => {
            IpAddr::V6(Ipv6Addr::from_bits(pick(net.network().to_bits(), net.broadcast().to_bits())))
        }
    }
}

fn service_near(protocol: Protocol, stray: u8, wild: u16) -> (u8, Match) {
    let edge = |from: u16, to: u16| match stray % 5 {
        0 => from,
        1 => to,
        2 => from.wrapping_sub(1),
        3 => to.wrapping_add(1),
        _ => wild,
    };
    let [wild_type, wild_code] = wild.to_be_bytes();
    let types = |icmp_type: Option<u8>, code: Option<u8>| Match::Icmp {
        icmp_type: icmp_type.filter(|_| !stray.is_multiple_of(4)).unwrap_or(wild_type),
        code: code.filter(|_| !stray.is_multiple_of(3)).unwrap_or(wild_code),
    };
    match protocol {
        _ if stray > 240 => (wild_type, Match::Whole),
        Protocol::All => ([6, 17, 47][usize::from(stray % 3)], Match::Port(wild)),
        Protocol::Tcp { from, to } => (6, Match::Port(edge(from, to))),
        Protocol::Udp { from, to } => (17, Match::Port(edge(from, to))),
        Protocol::Icmp { icmp_type, code } => (1, types(icmp_type, code)),
        Protocol::Icmpv6 { icmp_type, code } => (58, types(icmp_type, code)),
        Protocol::Number(number @ (6 | 17)) => (number, Match::Port(wild)),
        Protocol::Number(number @ (1 | 58)) => (number, types(None, None)),
        Protocol::Number(number) => (number, Match::Whole),
    }
}

fn check_acl(ingress: Vec<AclEntry>, egress: Vec<AclEntry>, seeds: &[Seed]) {
    let (mut blocks, mut protocols): (Vec<_>, Vec<_>) =
        ingress.iter().chain(&egress).map(|entry| (entry.cidr, entry.protocol)).unzip();
    blocks.push("10.0.0.0/8".parse().unwrap());
    protocols.push(Protocol::All);
    let mut vpc = world::empty();
    (vpc.network_acls[0].ingress, vpc.network_acls[0].egress) = (ingress, egress);
    let snapshot = Snapshot::compile(vpc, None);
    for seed in seeds {
        let key = key(seed, &blocks, &protocols);
        for direction in DIRECTIONS {
            acl(&snapshot, direction, &key);
        }
    }
}

fn check_groups(vpc: Vpc, seeds: &[Seed]) {
    let rules = || vpc.security_groups.iter().flat_map(|group| group.ingress.iter().chain(&group.egress));
    let named = rules().filter_map(|rule| if let Peer::Cidr(cidr) = rule.peer { Some(cidr) } else { None });
    let listed = vpc.prefix_lists.iter().flat_map(|list| &list.entries).copied();
    let members = vpc.enis.iter().flat_map(|eni| eni.addresses().map(Cidr::from));
    let blocks: Vec<Cidr> = named.chain(listed).chain(members).collect();
    let protocols: Vec<Protocol> = rules().map(|rule| rule.protocol).chain([Protocol::All]).collect();
    let snapshot = Snapshot::compile(vpc, None);
    for (eni, seed) in (0..snapshot.enis().len()).cycle().zip(seeds) {
        let key = key(seed, &blocks, &protocols);
        for direction in DIRECTIONS {
            groups(&snapshot, EniIndex(eni), direction, &key, true);
            groups(&snapshot, EniIndex(eni), direction, &key, false);
        }
    }
    check_open(&snapshot);
}

fn check_open(snapshot: &Snapshot) {
    for (eni, compiled) in snapshot.vpc().enis.iter().zip(snapshot.enis()) {
        for (direction, ipv6, protocol) in questions() {
            assert_eq!(
                compiled.groups.open_to_anywhere(direction, ipv6, protocol),
                reference::open_to_anywhere(snapshot.vpc(), &eni.groups, direction, ipv6, protocol),
            );
        }
    }
}

fn questions() -> impl Iterator<Item = (Direction, bool, u8)> {
    let families = DIRECTIONS.into_iter().flat_map(|direction| [(direction, false), (direction, true)]);
    families.flat_map(|(direction, ipv6)| [1, 6, 17, 58].map(|protocol| (direction, ipv6, protocol)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn acls(ingress in entries(0..200), egress in entries(0..30), seeds in seeds(60)) {
        check_acl(ingress, egress, &seeds);
    }

    #[test]
    fn group_rules(
        ingress in rules(0..200),
        egress in rules(0..40),
        lists in prop::collection::vec(prop::collection::vec(block(), 0..12), LISTS),
        seeds in seeds(60),
    ) {
        check_groups(vpc_with(&ingress, &egress, lists), &seeds);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn large_acls(ingress in entries(2000..4000), seeds in seeds(150)) {
        check_acl(ingress, Vec::new(), &seeds);
    }

    #[test]
    fn large_groups(
        ingress in rules(2000..3000),
        lists in prop::collection::vec(prop::collection::vec(block(), 200..300), LISTS),
        seeds in seeds(150),
    ) {
        check_groups(vpc_with(&ingress, &Rules::new(), lists), &seeds);
    }
}
