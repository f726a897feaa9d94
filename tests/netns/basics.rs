//! Ordinary traffic with ordinary tools.

use std::net::SocketAddr;
use std::time::Duration;

use palisade_tests::sockets::{self, Attempt, Conversation, Echo};
use palisade_tests::{Bed, Mode, Policy, PortKind, Setup, tool};

const KINDS: [PortKind; 2] = [PortKind::Tap, PortKind::Packet];
const ALL_OUT: &[&str] = &["all to 0.0.0.0/0", "all to ::/0"];

#[test]
fn ping_crosses_subnets_and_stays_inside_one_over_both_families_and_all_port_kinds() {
    let kinds = KINDS.into_iter().flat_map(|a| KINDS.map(|b| (a, b)));
    for ((a, b), mode) in kinds.zip(Mode::ALL) {
        let bed = Bed::start(Setup::new(a, b).in_mode(mode), &Policy::open());
        for (from, to) in [("a", "b"), ("b", "a"), ("a", "c"), ("c", "b")] {
            for ipv6 in [false, true] {
                let target = bed.guest(to).address(ipv6);
                let answered = tool::ping(&bed.guest(from).netns, &target.to_string(), "");
                assert!(answered > 0.99, "{a:?} {b:?}: {from} to {to}, {target}: {answered}");
            }
        }
    }
}

/// SG-20, SG-22: the group of the server has no outbound rule, yet its answers pass.
#[test]
fn return_traffic_needs_no_rule_of_the_group() {
    let policy = Policy::open().group("a", &[], ALL_OUT).group(
        "b",
        &["tcp 80 from 10.0.1.0/24", "icmp 8/any from 10.0.1.10/32"],
        &[],
    );
    let bed = Bed::start(Setup::taps(), &policy);
    let (a, b) = (&bed.guest("a").netns, &bed.guest("b").netns);
    std::fs::write(bed.dir().join("page"), "hello from db").unwrap();
    let server = format!("python3 -m http.server 80 --directory {}", bed.dir().display());
    let _server = tool::Background::start(b, &server);
    tool::await_listener(b, 80);
    let page = tool::run(a, Duration::from_secs(5), "curl -sS -m 4 http://10.0.2.10/page");
    assert_eq!(page.expect("curl"), "hello from db");
    assert!(tool::ping(a, "10.0.2.10", "") > 0.99);
    let _echo = Echo::tcp(&bed.guest("a").netns, &[80]);
    let back = SocketAddr::new(bed.guest("a").address(false), 80);
    assert_eq!(sockets::attempt(b, back, Duration::from_millis(400)), Attempt::Filtered);
    assert!(tool::ping(b, "10.0.1.10", "") < 0.01, "an echo request of its own needs a rule (CT-57)");
}

/// NACL-22: the reply of an allowed flow needs an outbound entry of its own.
#[test]
fn a_stateless_acl_cuts_the_replies_of_a_flow_that_the_groups_allow() {
    let in_only = Policy::open().acl("data", &["100 allow tcp 80 from 0.0.0.0/0"], &[]);
    let bed = Bed::start(Setup::taps(), &in_only);
    let _echo = Echo::tcp(&bed.guest("b").netns, &[80]);
    let to = SocketAddr::new(bed.guest("b").address(false), 80);
    let a = &bed.guest("a").netns;
    assert_eq!(sockets::attempt(a, to, Duration::from_millis(400)), Attempt::Filtered);
    assert!(bed.daemon().drops("acl-egress-default") > 0, "the SYN+ACK was to be dropped on its way out");
    let both_ways = ["100 allow tcp 1024-65535 to 0.0.0.0/0"];
    bed.reload(&Policy::open().acl("data", &["100 allow tcp 80 from 0.0.0.0/0"], &both_ways)).unwrap();
    assert!(Conversation::open(a, to).unwrap().says("hello", Duration::from_secs(2)));
}

/// NACL-20, NACL-67: inside a subnet no ACL is asked.
#[test]
fn an_acl_does_not_see_traffic_inside_its_subnet() {
    let bed = Bed::start(Setup::taps(), &Policy::open().acl("web", &[], &[]));
    let a = &bed.guest("a").netns;
    assert!(tool::ping(a, "10.0.1.11", "") > 0.99);
    assert!(tool::ping(a, "10.0.2.10", "") < 0.01);
    assert!(bed.daemon().drops("acl-egress-default") > 0);
}

/// SG-16, NACL-16: nothing that is said of IPv4 admits IPv6.
#[test]
fn the_families_are_separate() {
    let policy = Policy::open().group("b", &["all from 0.0.0.0/0"], ALL_OUT);
    let bed = Bed::start(Setup::taps(), &policy);
    let a = &bed.guest("a").netns;
    let (v4, v6) = (bed.guest("b").address(false).to_string(), bed.guest("b").address(true).to_string());
    assert!(tool::ping(a, &v4, "") > 0.99);
    assert!(tool::ping(a, &v6, "") < 0.01);
    bed.reload(&Policy::open().acl(
        "data",
        &["100 allow all from 0.0.0.0/0"],
        &["100 allow all to 0.0.0.0/0"],
    ))
    .unwrap();
    assert!(tool::ping(a, &v4, "") > 0.99);
    assert!(tool::ping(a, &v6, "") < 0.01);
}

/// `explain` names the stage and the rule that decide, and its answer is what then happens.
#[test]
fn explain_tells_what_forwarding_does() {
    let policy = Policy::open().group("b", &["tcp 80 from 10.0.1.10/32"], &[]).acl(
        "data",
        &["90 deny tcp 443 from 0.0.0.0/0", "100 allow all from 0.0.0.0/0"],
        &["100 allow all to 0.0.0.0/0"],
    );
    let bed = Bed::start(Setup::taps(), &policy);
    let say = |packet: &str| bed.daemon().explain(packet);
    let allowed = say("tcp 10.0.1.10:40000 > 10.0.2.10:80 syn");
    assert!(allowed.contains("sgr-") && allowed.contains("ingress 100"), "{allowed}");
    let by_acl = say("tcp 10.0.1.10:40000 > 10.0.2.10:443 syn");
    assert!(by_acl.contains("acl-ingress-entry") && by_acl.contains("ingress 90"), "{by_acl}");
    let by_group = say("tcp 10.0.1.11:40000 > 10.0.2.10:80 syn");
    assert!(by_group.contains("denied") && by_group.contains("no rule match"), "{by_group}");
    let _echo = Echo::tcp(&bed.guest("b").netns, &[80, 443]);
    let b = bed.guest("b").address(false);
    let within = Duration::from_millis(400);
    assert_eq!(sockets::open_tcp(&bed.guest("a").netns, b, &[80, 443], within), [80]);
    assert!(sockets::open_tcp(&bed.guest("c").netns, b, &[80, 443], within).is_empty());
}
