use super::*;
use crate::ClassifierKind;
use crate::Direction;
use crate::model::{AclAction, AclIndex, GroupIndex, Protocol};
use crate::world::{self, DATA, WEB, entry, ip, peer, rule, tcp, tcp_key};
use std::sync::Arc;

/// Groups `web` (80 from anywhere) and `db` (5432 from `web`); ENIs `web-1`, `web-2` and `db-1`.
fn vpc() -> Vpc {
    let mut vpc = world::empty();
    let web = world::group(
        &mut vpc,
        "web",
        vec![rule("a", tcp(80, 80), peer("0.0.0.0/0"))],
        vec![rule("b", Protocol::All, peer("0.0.0.0/0"))],
    );
    let db = world::group(
        &mut vpc,
        "db",
        vec![rule("c", tcp(5432, 5432), crate::model::Peer::Group(web))],
        vec![],
    );
    world::eni(&mut vpc, "web-1", WEB, 10, &[web]);
    world::eni(&mut vpc, "web-2", WEB, 11, &[web]);
    world::eni(&mut vpc, "db-1", DATA, 10, &[db]);
    world::service(&mut vpc, "dns", &["10.0.0.2", "169.254.169.253", "fd00:ec2::253"]);
    vpc
}

fn first() -> Snapshot {
    Snapshot::compile(vpc(), None)
}

fn next(previous: &Snapshot, change: impl FnOnce(&mut Vpc)) -> Snapshot {
    let mut vpc = previous.vpc().clone();
    change(&mut vpc);
    Snapshot::compile(vpc, Some(previous))
}

/// The names of the ENIs whose stamps differ.
fn restamped(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let changed = |eni: &&CompiledEni| old.eni(eni.key).is_none_or(|was| was.stamp != eni.stamp);
    new.enis().iter().filter(changed).map(|eni| new.vpc()[eni.index].name.clone()).collect()
}

fn slot_named(snapshot: &Snapshot, name: &str) -> Option<RuleSlot> {
    let slots = (0..u32::try_from(snapshot.rule_slots()).unwrap()).map(RuleSlot);
    slots.into_iter().find(|&slot| snapshot.rule(slot).is_some_and(|rule| rule.to_string() == name))
}

#[test]
fn look_ups() {
    let snapshot = first();
    assert_eq!(snapshot.generation(), 1);
    let web = snapshot.eni_named("web-1").unwrap();
    assert_eq!(snapshot.eni_named("eni-web-1").unwrap().key, web.key);
    assert!(snapshot.eni_named("nobody").is_none());
    assert_eq!(snapshot.owner(ip("10.0.1.10")).unwrap().key, web.key);
    assert_eq!(snapshot.owner(ip("2001:db8:1:1::a")).unwrap().key, web.key);
    assert!(snapshot.owner(ip("10.0.1.12")).is_none() && snapshot.owner(ip("::ffff:10.0.1.10")).is_none());
    assert_eq!(snapshot.eni_by_mac(WEB, web.mac).unwrap().key, web.key);
    assert!(snapshot.eni_by_mac(DATA, web.mac).is_none(), "a MAC address counts in its own subnet only");
    assert_eq!(snapshot.eni(web.key).unwrap().index, web.index);
    assert!(snapshot.eni(EniKey(99)).is_none());
    let dns = &snapshot.services()[0];
    assert_eq!(snapshot.service(dns.key).unwrap().name, "dns");
}

#[test]
fn rt_11_the_blocks_of_the_vpc() {
    let snapshot = first();
    assert!(snapshot.in_vpc(ip("10.0.255.255")) && snapshot.in_vpc(ip("2001:db8:1:ff::1")));
    assert!(!snapshot.in_vpc(ip("10.1.0.0")) && !snapshot.in_vpc(ip("2001:db8:1:100::")));
    assert!(!snapshot.in_vpc(ip("::ffff:10.0.0.1")));
}

#[test]
fn res_1_exempt_addresses() {
    let snapshot = first();
    let dns = Reserved::Service(snapshot.services()[0].key);
    let from_web = |address| snapshot.reserved(WEB, ip(address));
    assert_eq!(from_web("169.254.169.253"), Some(dns));
    assert_eq!(from_web("10.0.0.2"), Some(dns), "RES-1 c: in nobody's subnet, seen by all");
    assert_eq!(from_web("fd00:ec2::253"), Some(dns));
    assert_eq!(from_web("10.0.1.1"), Some(Reserved::Router));
    assert_eq!(from_web("2001:db8:1:1::1"), Some(Reserved::Router), "RES-21v6");
    assert_eq!(from_web("fe80:ec2::1"), Some(Reserved::Router), "RES-22v6");
    let link_local = snapshot.subnet(WEB).router_mac.link_local();
    assert_eq!(snapshot.reserved(WEB, link_local.into()), Some(Reserved::Router), "RES-22v6");
    for unserved in [
        "169.254.0.0",
        "169.254.255.255",
        "10.0.1.0",
        "10.0.1.2",
        "10.0.1.3",
        "2001:db8:1:1::",
        "2001:db8:1:1::3",
        "fd00:ec2::254",
        "fd00:ec2:ffff::",
    ] {
        assert_eq!(from_web(unserved), Some(Reserved::Unserved), "{unserved}");
    }
    for ordinary in [
        "10.0.1.4",
        "10.0.1.255",
        "10.0.2.1",
        "10.0.0.1",
        "169.253.255.255",
        "169.255.0.0",
        "2001:db8:1:1::4",
        "fd00:ec1:ffff::",
        "fd00:ec3::",
        "fe80::1",
        "::ffff:169.254.169.253",
    ] {
        assert_eq!(from_web(ordinary), None, "{ordinary}");
    }
    assert_eq!(snapshot.reserved(DATA, ip("2001:db8:1:1::1")), None, "RES-8");
    assert_ne!(snapshot.subnet(WEB).router_mac, snapshot.subnet(DATA).router_mac);
    assert_eq!(snapshot.reserved(DATA, link_local.into()), None, "another router's");
}

#[test]
fn res_8_a_service_in_another_subnet_is_not_visible() {
    let mut vpc = vpc();
    world::service(&mut vpc, "ntp", &["10.0.2.3", "10.0.2.1"]);
    let snapshot = Snapshot::compile(vpc, None);
    let ntp = Reserved::Service(snapshot.services()[1].key);
    assert_eq!(snapshot.reserved(DATA, ip("10.0.2.3")), Some(ntp));
    assert_eq!(
        snapshot.reserved(DATA, ip("10.0.2.1")),
        Some(ntp),
        "it owns the address instead of the router"
    );
    assert_eq!(snapshot.reserved(WEB, ip("10.0.2.3")), None);
}

#[test]
fn res_7_and_8_reserved_but_not_exempt() {
    let snapshot = first();
    assert!(snapshot.is_subnet_broadcast(WEB, ip("10.0.1.255")));
    assert!(snapshot.is_subnet_broadcast(WEB, ip("2001:db8:1:1:ffff:ffff:ffff:ffff")));
    assert!(!snapshot.is_subnet_broadcast(WEB, ip("10.0.2.255")));
    assert!(!snapshot.is_subnet_broadcast(DATA, ip("::")));
    for reserved in ["10.0.1.0", "10.0.1.3", "10.0.2.3", "10.0.2.255", "2001:db8:1:1::3"] {
        assert!(snapshot.is_reserved_anywhere(ip(reserved)), "{reserved}");
    }
    assert!(snapshot.is_reserved_anywhere(ip("2001:db8:1:1:ffff:ffff:ffff:ffff")));
    for free in ["10.0.1.4", "10.0.2.254", "10.0.0.255", "10.0.3.0", "0.0.0.0", "::", "2001:db8:1:1::4"] {
        assert!(!snapshot.is_reserved_anywhere(ip(free)), "{free}");
    }
}

#[test]
fn keys_follow_ids_not_places() {
    let old = first();
    let new = next(&old, |vpc| {
        vpc.enis.remove(0);
        let index = world::eni(vpc, "web-3", WEB, 13, &[GroupIndex(0)]);
        vpc.enis.swap(0, index.0);
    });
    assert_eq!(new.generation(), 2);
    let key = |snapshot: &Snapshot, name| snapshot.eni_named(name).map(|eni| eni.key);
    assert_eq!(key(&new, "db-1"), key(&old, "db-1"));
    assert_eq!(key(&new, "web-3"), Some(EniKey(3)));
    assert!(new.eni(key(&old, "web-1").unwrap()).is_none());
    let back = next(&new, |vpc| {
        world::eni(vpc, "web-1", WEB, 10, &[GroupIndex(0)]);
    });
    assert_eq!(key(&back, "web-1"), Some(EniKey(4)), "a new object");
}

#[test]
fn slots_follow_names_and_are_not_given_twice() {
    let old = first();
    let (kept, gone) = ("acl-default ingress 100", "sgr-a of sg-web");
    let freed = slot_named(&old, gone).unwrap();
    let new = next(&old, |vpc| {
        vpc.security_groups[0].ingress = vec![rule("z", tcp(81, 81), peer("0.0.0.0/0"))];
        vpc.network_acls[0].ingress = vec![
            entry(90, AclAction::Deny, tcp(1, 1), "0.0.0.0/0"),
            entry(100, AclAction::Deny, tcp(2, 2), "0.0.0.0/0"),
        ];
    });
    assert_eq!(slot_named(&new, kept), slot_named(&old, kept), "a replaced entry keeps its slot");
    assert_eq!(slot_named(&new, "acl-default ingress *"), slot_named(&old, "acl-default ingress *"));
    assert_eq!(slot_named(&new, "sgr-b of sg-web"), slot_named(&old, "sgr-b of sg-web"));
    assert_eq!(new.rule(freed), None);
    assert_eq!(new.rule_slots(), old.rule_slots() + 2);
    let back =
        next(&new, |vpc| vpc.security_groups[0].ingress = old.vpc().security_groups[0].ingress.clone());
    assert_eq!(slot_named(&back, gone).unwrap().0 as usize, new.rule_slots());
}

#[test]
fn unchanged_rule_sets_are_taken_over() {
    let old = first();
    let new = next(&old, |vpc| {
        vpc.security_groups[1].ingress[0].protocol = tcp(5433, 5433);
        // Places change, contents do not.
        vpc.security_groups.insert(0, vpc.security_groups[1].clone());
        vpc.security_groups.remove(2);
        vpc.security_groups.iter_mut().for_each(|group| group.description = "other".into());
        let swap = |group: &mut GroupIndex| group.0 = 1 - group.0;
        vpc.enis.iter_mut().flat_map(|eni| &mut eni.groups).for_each(swap);
        vpc.security_groups[0].ingress[0].peer = crate::model::Peer::Group(GroupIndex(1));
    });
    let rules = |snapshot: &Snapshot, eni| Arc::clone(snapshot.eni_named(eni).unwrap().groups.rules());
    assert!(Arc::ptr_eq(&rules(&old, "web-1"), &rules(&new, "web-1")));
    assert!(Arc::ptr_eq(&rules(&new, "web-1"), &rules(&new, "web-2")), "shared by ENIs with the same groups");
    assert!(!Arc::ptr_eq(&rules(&old, "db-1"), &rules(&new, "db-1")));
    assert!(Arc::ptr_eq(&old.subnet(WEB).acl, &new.subnet(WEB).acl));
    assert_eq!(restamped(&old, &new), ["db-1"]);
    let groups = &new.eni_named("db-1").unwrap().groups;
    assert!(groups.decide(Direction::Ingress, &tcp_key("10.0.1.10", 5433), true).any.is_some());
}

#[test]
fn stamps_change_with_what_an_eni_sees() {
    let old = first();
    let unchanged = next(&old, |vpc| vpc.enis[0].name = "renamed".into());
    assert!(restamped(&old, &unchanged).is_empty());
    assert_eq!(old.ownership_stamp(), unchanged.ownership_stamp());

    let mtu = next(&old, |vpc| vpc.enis[0].mtu = 1500);
    assert_eq!(restamped(&old, &mtu), ["web-1"]);
    assert_eq!(old.ownership_stamp(), mtu.ownership_stamp());

    let allowance = next(&old, |vpc| vpc.instances[2].max_tracked = 5);
    assert_eq!(restamped(&old, &allowance), ["db-1"]);

    let acl = next(&old, |vpc| {
        let mut acl = vpc.network_acls[0].clone();
        acl.id = "acl-2".into();
        vpc.network_acls.push(acl);
        vpc.subnets[DATA.0].network_acl = AclIndex(1);
    });
    assert_eq!(restamped(&old, &acl), ["db-1"]);

    let member = next(&old, |vpc| vpc.enis[0].secondary_addresses.push("10.0.1.12".parse().unwrap()));
    assert_eq!(
        restamped(&old, &member),
        ["web-1", "web-2", "db-1"],
        "neighbours, and the group that refers to it"
    );
    assert_ne!(old.ownership_stamp(), member.ownership_stamp());

    let other_subnet = next(&old, |vpc| {
        world::eni(vpc, "db-2", DATA, 11, &[GroupIndex(1)]);
    });
    assert_eq!(restamped(&old, &other_subnet), ["db-1", "db-2"]);

    let empty_subnet = next(&old, |vpc| vpc.subnets.push(world::subnet("new", "10.0.3.0/24", None)));
    assert!(restamped(&old, &empty_subnet).is_empty());
    assert_ne!(old.ownership_stamp(), empty_subnet.ownership_stamp());

    let strict = next(&old, |vpc| vpc.revocation = Revocation::Strict);
    assert_eq!(restamped(&old, &strict), ["web-1", "web-2", "db-1"]);
    assert!(restamped(&strict, &next(&strict, |_| ())).is_empty());

    let service = next(&old, |vpc| vpc.services.clear());
    assert_eq!(restamped(&old, &service), ["web-1", "web-2", "db-1"]);
}

#[test]
fn names_of_rules() {
    let acl = || "acl-1".to_string();
    let direction = Direction::Egress;
    assert_eq!(RuleName::AclEntry { acl: acl(), direction, number: 120 }.to_string(), "acl-1 egress 120");
    assert_eq!(RuleName::AclDefault { acl: acl(), direction, ipv6: true }.to_string(), "acl-1 egress *");
    let rule = RuleName::GroupRule { group: "sg-1".into(), rule: "sgr-1".into(), direction };
    assert_eq!(rule.to_string(), "sgr-1 of sg-1");
}

#[test]
fn statistics_count_each_shared_set_once() {
    let statistics = first().statistics();
    assert_eq!((statistics.network_acls, statistics.group_sets), (1, 2));
    assert_eq!(statistics.acl_size.rules, 2);
    assert_eq!(statistics.group_size.rules, 2 + 1 + 1, "the rule about members counts in both families");
}

#[test]
fn sg_40_a_change_of_entries_is_a_new_version() {
    let list = PrefixListIndex(0);
    let mut vpc = vpc();
    world::prefix_list(&mut vpc, "offices", &["192.0.2.0/24", "198.51.100.0/24"]);
    let first = Snapshot::compile(vpc, None);
    let entry = || "203.0.113.0/24".parse().unwrap();
    let unchanged = next(&first, |vpc| {
        vpc.prefix_lists[0].entries.reverse();
        vpc.prefix_lists[0].size = crate::model::ListSize::MaxEntries(7);
    });
    let grown = next(&unchanged, |vpc| vpc.prefix_lists[0].entries.push(entry()));
    let other = next(&grown, |vpc| {
        vpc.prefix_lists[0].entries.pop();
        world::prefix_list(vpc, "new", &["2001:db8::/32"]);
        vpc.prefix_lists.reverse();
    });
    let versions = [&first, &unchanged, &grown].map(|snapshot| snapshot.prefix_list_version(list));
    assert_eq!(versions, [1, 1, 2]);
    let of_other = [0, 1].map(|at| other.prefix_list_version(PrefixListIndex(at)));
    assert_eq!(of_other, [1, 3], "the list keeps its number wherever it stands in the file");
}

#[test]
fn rule_sets_are_listed_once_however_many_share_them() {
    let first = Snapshot::compile(
        {
            let mut vpc = vpc();
            let wide = (0..30u16).map(|n| rule(&format!("x{n:02}"), tcp(n, n), peer("10.0.0.0/8"))).collect();
            let many = world::group(&mut vpc, "many", wide, vec![]);
            world::eni(&mut vpc, "many", WEB, 12, &[many]);
            vpc
        },
        None,
    );
    let sets: Vec<_> = first
        .rule_sets()
        .iter()
        .map(|set| (set.owner, set.direction, set.ipv6, set.kind, set.size.rules, set.shared_by))
        .collect();
    let groups = [GroupIndex(0), GroupIndex(1), GroupIndex(2)];
    let (acl, [web, db, many]) =
        (RuleOwner::Acl(AclIndex(0)), [0, 1, 2].map(|at| RuleOwner::Groups(&groups[at..=at])));
    let (ingress, egress, pairs) = (Direction::Ingress, Direction::Egress, ClassifierKind::Pairs);
    let expected = [
        (acl, ingress, false, pairs, 1, 2),
        (acl, egress, false, pairs, 1, 2),
        (web, ingress, false, pairs, 1, 2),
        (web, egress, false, pairs, 1, 2),
        (db, ingress, false, pairs, 1, 1),
        (db, ingress, true, pairs, 1, 1),
        (many, ingress, false, ClassifierKind::Vectors, 30, 1),
    ];
    assert_eq!(sets, expected);
    assert!(first.rule_sets().iter().all(|set| set.rebuild() == set.size && set.size.bytes > 0));
}
