//! The worked tables: SG-80..86, NACL-60..66, CT-15, and the rules about families.

use super::{acl, groups};
use crate::model::{AclAction, AclEntry, Direction, EniIndex, GroupRule, Peer, Protocol, Vpc};
use crate::reference;
use crate::snapshot::Snapshot;
use crate::world::{self, WEB, entry, icmp_key, peer, rule, tcp, tcp_key, udp, udp_key, whole_key};
use crate::{FilterKey, Match};

const ANY: &str = "0.0.0.0/0";

fn icmp(icmp_type: u8, code: Option<u8>) -> Protocol {
    Protocol::Icmp { icmp_type: Some(icmp_type), code }
}

/// What an ACL with these inbound entries decides.
fn inbound(entries: Vec<AclEntry>, key: &FilterKey) -> (AclAction, Option<u16>) {
    let mut vpc = world::empty();
    vpc.network_acls[0].ingress = entries;
    acl(&Snapshot::compile(vpc, None), Direction::Ingress, key)
}

#[test]
fn nacl_60_to_66() {
    use AclAction::{Allow, Deny};
    let allow_80 = || entry(100, Allow, tcp(80, 80), ANY);
    let deny_host = |number| entry(number, Deny, Protocol::All, "10.0.0.5/32");
    let web = tcp_key("10.0.0.5", 80);
    assert_eq!(inbound(vec![allow_80(), deny_host(110)], &web), (Allow, Some(100)), "NACL-60");
    assert_eq!(inbound(vec![deny_host(90), allow_80()], &web), (Deny, Some(90)), "NACL-61");

    let all = || entry(100, Allow, Protocol::All, ANY);
    assert_eq!(inbound(vec![all()], &tcp_key("2001:db8::1", 80)), (Deny, None), "NACL-62");
    assert_eq!(inbound(vec![all()], &tcp_key("::ffff:10.0.0.5", 80)), (Deny, None), "NACL-16, mapped");
    assert_eq!(inbound(vec![all()], &whole_key("10.0.0.5", 47)), (Allow, Some(100)));

    let ephemeral = || entry(100, Allow, tcp(1024, 65535), ANY);
    assert_eq!(inbound(vec![ephemeral()], &udp_key("10.0.0.5", 40000)), (Deny, None), "NACL-63");
    assert_eq!(inbound(vec![ephemeral()], &tcp_key("10.0.0.5", 40000)), (Allow, Some(100)));

    let echo = || entry(100, Allow, icmp(8, None), ANY);
    assert_eq!(inbound(vec![echo()], &icmp_key("10.0.0.5", 0, 0)), (Deny, None), "NACL-64");
    assert_eq!(inbound(vec![echo()], &icmp_key("10.0.0.5", 8, 7)), (Allow, Some(100)));

    let https = entry(100, Allow, tcp(443, 443), ANY);
    assert_eq!(inbound(vec![https], &tcp_key("10.0.0.5", 40000)), (Deny, None), "NACL-65");

    let sctp = entry(100, Allow, Protocol::Number(132), ANY);
    assert_eq!(inbound(vec![sctp], &whole_key("10.0.0.5", 132)), (Allow, Some(100)), "NACL-66");
}

#[test]
fn nacl_12_protocol_58_in_ipv4_is_whole() {
    use AclAction::{Allow, Deny};
    let foreign = || entry(100, Allow, Protocol::Number(58), ANY);
    assert_eq!(inbound(vec![foreign()], &whole_key("10.0.0.5", 58)), (Allow, Some(100)));
    assert_eq!(inbound(vec![foreign()], &icmp_key("2001:db8::1", 128, 0)), (Deny, None));
    assert_eq!(inbound(vec![foreign()], &icmp_key("10.0.0.5", 8, 0)), (Deny, None));
}

#[test]
fn a_packet_without_ports_meets_no_port_entry() {
    let all_ports = entry(100, AclAction::Allow, tcp(0, 65535), ANY);
    assert_eq!(inbound(vec![all_ports], &whole_key("10.0.0.5", 6)), (AclAction::Deny, None), "NACL-44");
    let tcp_whole = entry(100, AclAction::Allow, Protocol::Number(6), ANY);
    assert_eq!(inbound(vec![tcp_whole], &whole_key("10.0.0.5", 6)), (AclAction::Allow, Some(100)));
}

/// A VPC with one ENI whose one group has these inbound rules.
fn guarded(ingress: Vec<GroupRule>) -> Vpc {
    let mut vpc = world::empty();
    let group = world::group(&mut vpc, "one", ingress, vec![]);
    world::eni(&mut vpc, "one", WEB, 10, &[group]);
    vpc
}

fn admitted(vpc: &Vpc, key: &FilterKey) -> bool {
    groups(&Snapshot::compile(vpc.clone(), None), EniIndex(0), Direction::Ingress, key, true).1.is_some()
}

#[test]
fn sg_80_to_83_and_86() {
    let ten = guarded(vec![rule("1", tcp(0, 65535), peer("10.0.0.0/8"))]);
    assert!(!admitted(&ten, &whole_key("10.1.1.1", 132)), "SG-80");
    assert!(admitted(&ten, &tcp_key("10.1.1.1", 0)) && admitted(&ten, &tcp_key("10.1.1.1", 65535)));

    let sctp = guarded(vec![rule("1", Protocol::Number(132), peer(ANY))]);
    assert!(admitted(&sctp, &whole_key("192.0.2.1", 132)), "SG-81");
    assert!(!admitted(&sctp, &whole_key("192.0.2.1", 133)));

    let echo = guarded(vec![rule("1", icmp(8, None), peer(ANY))]);
    assert!(!admitted(&echo, &icmp_key("192.0.2.1", 0, 0)), "SG-82");
    assert!(admitted(&echo, &icmp_key("192.0.2.1", 8, 0)));
    assert!(!admitted(&echo, &icmp_key("2001:db8::1", 8, 0)), "SG-15");

    let too_big = guarded(vec![rule("1", icmp(3, Some(4)), peer(ANY))]);
    assert!(!admitted(&too_big, &icmp_key("192.0.2.1", 3, 1)), "SG-83");
    assert!(admitted(&too_big, &icmp_key("192.0.2.1", 3, 4)));

    let dns = guarded(vec![rule("1", udp(53, 53), peer(ANY))]);
    assert!(!admitted(&dns, &udp_key("192.0.2.1", 33000)), "SG-86");
    assert!(admitted(&dns, &udp_key("192.0.2.1", 53)));
}

#[test]
fn sg_84_members_by_private_address_only() {
    let mut vpc = guarded(vec![rule("self", Protocol::All, Peer::Group(crate::model::GroupIndex(0)))]);
    let other = world::eni(&mut vpc, "two", WEB, 20, &[crate::model::GroupIndex(0)]);
    vpc.enis[other.0].secondary_addresses.push("10.0.1.21".parse().unwrap());
    for member in ["10.0.1.10", "10.0.1.20", "10.0.1.21", "2001:db8:1:1::14"] {
        assert!(admitted(&vpc, &tcp_key(member, 1)), "SG-30: {member}");
    }
    for stranger in ["198.51.100.7", "10.0.1.22", "::ffff:10.0.1.20"] {
        assert!(!admitted(&vpc, &tcp_key(stranger, 1)), "{stranger}");
    }
    let snapshot = Snapshot::compile(vpc, None);
    let key = tcp_key("10.0.1.20", 1);
    let unreferenced = groups(&snapshot, EniIndex(0), Direction::Ingress, &key, false);
    assert_eq!(unreferenced, (None, None), "SG-34");
}

#[test]
fn sg_38_a_stale_rule_matches_nothing_and_keeps_its_place() {
    let mut vpc = world::empty();
    let gone = world::group(&mut vpc, "gone", vec![], vec![]);
    let rules = |peer| vec![rule("1", Protocol::All, peer), rule("2", tcp(22, 22), peer)];
    let one =
        world::group(&mut vpc, "one", rules(Peer::Group(gone)), vec![rule("3", Protocol::All, peer(ANY))]);
    world::eni(&mut vpc, "one", WEB, 10, &[one]);
    world::eni(&mut vpc, "two", WEB, 20, &[gone]);
    let before = Snapshot::compile(vpc.clone(), None);
    let key = tcp_key("10.0.1.20", 22);
    assert_eq!(groups(&before, EniIndex(0), Direction::Ingress, &key, true).1.as_deref(), Some("sgr-1"));

    let stale = crate::model::StaleGroup::new("sg-0123456789abcdef0").unwrap();
    vpc.security_groups[one.0].ingress = rules(Peer::Stale(stale));
    let after = Snapshot::compile(vpc, Some(&before));
    for (direction, address) in [(Direction::Ingress, "10.0.1.20"), (Direction::Ingress, "2001:db8:1:1::14")]
    {
        let found = groups(&after, EniIndex(0), direction, &tcp_key(address, 22), true);
        assert_eq!(found, (None, None), "{address}");
    }
    assert_eq!(before.rule_slots(), after.rule_slots(), "the rule is the one it was");
}

#[test]
fn sg_85_a_removed_entry_of_a_prefix_list() {
    let mut vpc = world::empty();
    let list = world::prefix_list(&mut vpc, "x", &["192.0.2.0/24", "198.51.100.7/32"]);
    let group = world::group(&mut vpc, "one", vec![rule("1", tcp(443, 443), Peer::PrefixList(list))], vec![]);
    world::eni(&mut vpc, "one", WEB, 10, &[group]);
    assert!(admitted(&vpc, &tcp_key("192.0.2.7", 443)));
    let before = Snapshot::compile(vpc.clone(), None);
    vpc.prefix_lists[0].entries.remove(0);
    let after = Snapshot::compile(vpc, Some(&before));
    let new = groups(&after, EniIndex(0), Direction::Ingress, &tcp_key("192.0.2.7", 443), true);
    assert_eq!(new, (None, None));
    let kept = groups(&after, EniIndex(0), Direction::Ingress, &tcp_key("198.51.100.7", 443), true);
    assert_eq!(kept.1.as_deref(), Some("sgr-1"));
}

#[test]
fn ct_11_a_list_or_two_halves_are_not_anywhere() {
    let mut vpc = world::empty();
    let list = world::prefix_list(&mut vpc, "all", &["0.0.0.0/0"]);
    let rules = vec![
        rule("1", Protocol::All, Peer::PrefixList(list)),
        rule("2", tcp(80, 80), peer("0.0.0.0/1")),
        rule("3", tcp(80, 80), peer("128.0.0.0/1")),
        rule("4", tcp(80, 80), peer("10.0.0.0/8")),
        rule("5", tcp(443, 443), peer(ANY)),
    ];
    let group = world::group(&mut vpc, "one", rules, vec![]);
    let eni = world::eni(&mut vpc, "one", WEB, 10, &[group]);
    let snapshot = Snapshot::compile(vpc, None);
    let at = |key| groups(&snapshot, eni, Direction::Ingress, &key, true);
    assert_eq!(at(tcp_key("10.0.0.1", 80)), (None, Some("sgr-1".into())));
    assert_eq!(at(tcp_key("10.0.0.1", 443)), (Some("sgr-5".into()), Some("sgr-1".into())), "CT-11 ii");
    assert!(!snapshot.enis()[0].groups.open_to_anywhere(Direction::Ingress, false, 6), "CT-11 iii");
}

#[test]
fn ct_10_b_all_ports() {
    let open = |protocol, cidr, key_protocol, ipv6| {
        let snapshot = Snapshot::compile(guarded(vec![rule("1", protocol, peer(cidr))]), None);
        let compiled = snapshot.enis()[0].groups.open_to_anywhere(Direction::Ingress, ipv6, key_protocol);
        let groups = &snapshot.vpc().enis[0].groups;
        let expected =
            reference::open_to_anywhere(snapshot.vpc(), groups, Direction::Ingress, ipv6, key_protocol);
        assert_eq!(compiled, expected);
        compiled
    };
    assert!(open(Protocol::All, ANY, 6, false) && open(Protocol::All, ANY, 17, false));
    assert!(open(tcp(0, 65535), ANY, 6, false) && open(udp(0, 65535), "::/0", 17, true));
    assert!(!open(tcp(0, 65535), ANY, 17, false));
    assert!(!open(tcp(0, 65535), ANY, 6, true), "CT-11 v");
    assert!(!open(tcp(1, 65535), ANY, 6, false), "CT-11 iv");
    assert!(!open(Protocol::All, ANY, 1, false) && !open(Protocol::All, ANY, 47, false), "CT-12");
    assert!(!open(Protocol::All, "0.0.0.0/1", 6, false));
}

/// The documented example of CT-15, with or without the outbound rule for IPv4.
fn documented_example(outbound_v4: bool) -> Vpc {
    let mut vpc = world::empty();
    let any_icmp = Protocol::Icmp { icmp_type: None, code: None };
    let ingress = vec![
        rule("1", tcp(22, 22), peer("203.0.113.1/32")),
        rule("2", tcp(80, 80), peer(ANY)),
        rule("3", tcp(80, 80), peer("::/0")),
        rule("4", any_icmp, peer(ANY)),
    ];
    let mut egress = vec![rule("6", Protocol::All, peer("::/0"))];
    egress.extend(outbound_v4.then(|| rule("5", Protocol::All, peer(ANY))));
    let group = world::group(&mut vpc, "one", ingress, egress);
    world::eni(&mut vpc, "one", WEB, 10, &[group]);
    vpc
}

#[test]
fn ct_15_documented_example() {
    let untracked = |vpc: &Vpc, key: &FilterKey| {
        let ingress = Direction::Ingress;
        assert!(admitted(vpc, key), "{key:?}");
        reference::is_untracked(vpc, &vpc.enis[0].groups, ingress, key, 40000)
    };
    let vpc = documented_example(true);
    assert!(!untracked(&vpc, &tcp_key("203.0.113.1", 22)));
    assert!(untracked(&vpc, &tcp_key("192.0.2.1", 80)) && untracked(&vpc, &tcp_key("2001:db8::1", 80)));
    assert!(!untracked(&vpc, &icmp_key("192.0.2.1", 8, 0)));

    let vpc = documented_example(false);
    assert!(!untracked(&vpc, &tcp_key("192.0.2.1", 80)));
    assert!(untracked(&vpc, &tcp_key("2001:db8::1", 80)));
}

#[test]
fn ct_17_answers_of_an_untracked_server_are_untracked() {
    let vpc = documented_example(true);
    let groups = &vpc.enis[0].groups;
    let answer = tcp_key("192.0.2.1", 50000);
    assert!(reference::is_untracked(&vpc, groups, Direction::Egress, &answer, 80));
    assert!(!reference::is_untracked(&vpc, groups, Direction::Egress, &answer, 81), "an opener, CT-16");
}

#[test]
fn the_lowest_rule_id_of_all_groups_is_named() {
    let mut vpc = world::empty();
    let first = world::group(&mut vpc, "a", vec![rule("2", tcp(80, 80), peer("10.0.0.0/8"))], vec![]);
    let second = world::group(
        &mut vpc,
        "b",
        vec![rule("3", Protocol::All, peer(ANY)), rule("1", Protocol::All, Peer::Group(first))],
        vec![],
    );
    let eni = world::eni(&mut vpc, "one", WEB, 10, &[second, first]);
    let snapshot = Snapshot::compile(vpc, None);
    let at =
        |address, referenced| groups(&snapshot, eni, Direction::Ingress, &tcp_key(address, 80), referenced);
    let names = |anywhere: &str, any: &str| (Some(format!("sgr-{anywhere}")), Some(format!("sgr-{any}")));
    assert_eq!(at("10.0.1.10", true), names("3", "1"));
    assert_eq!(at("10.0.1.10", false), names("3", "2"));
    assert_eq!(at("192.0.2.1", true), names("3", "3"));
}

#[test]
fn odd_selectors_count_as_whole() {
    let vpc = guarded(vec![rule("1", tcp(0, 65535), peer(ANY)), rule("2", Protocol::Number(58), peer(ANY))]);
    let key = |protocol, selector| FilterKey { protocol, selector, ..tcp_key("10.0.0.1", 0) };
    assert!(!admitted(&vpc, &key(6, Match::Icmp { icmp_type: 8, code: 0 })));
    assert!(!admitted(&vpc, &key(132, Match::Port(80))));
    assert!(admitted(&vpc, &key(58, Match::Icmp { icmp_type: 128, code: 0 })));
}
