//! Connections under a changing policy and in the hands of an operator, on real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use palisade_tests::sockets::{self, Conversation, Echo};
use palisade_tests::{Bed, Policy, Setup};
use serde_json::Value;

const NARROW: &str = "tcp 7000 from 10.0.1.10/32";
const OTHER: &str = "tcp 7001 from 10.0.1.10/32";
const PATIENT: Duration = Duration::from_secs(3);
const QUICK: Duration = Duration::from_millis(400);

fn policy(ingress: &[&str]) -> Policy {
    Policy::open().group("b", ingress, &[])
}

fn talk(bed: &Bed, port: u16) -> Conversation {
    let to = SocketAddr::new(bed.guest("b").address(false), port);
    let mut talk = Conversation::open(&bed.guest("a").netns, to).unwrap();
    assert!(talk.says("hello", PATIENT), "port {port}");
    talk
}

/// The connections that filter words mean.
fn conns(bed: &Bed, words: &[&str]) -> Vec<Value> {
    let answer = bed.daemon().ask(&[&["conns"], words].concat());
    answer["connections"].as_array().unwrap().clone()
}

fn ports(conns: &[Value]) -> Vec<u64> {
    conns.iter().map(|conn| conn["local_port"].as_u64().unwrap()).collect()
}

/// The configuration of a policy with lines added at the top of a table.
fn with(bed: &Bed, policy: &Policy, table: &str, lines: &str) -> String {
    let (text, head) = (bed.config(policy), format!("[{table}]\n"));
    assert_eq!(text.matches(&head).count(), 1, "{text}");
    text.replace(&head, &format!("{head}{lines}\n"))
}

/// CT-20 and CT-27: the same change, under the lenient policy and under the strict one.
#[test]
fn a_strict_vpc_cuts_what_a_lenient_one_lets_go_on() {
    let bed = Bed::start(Setup::taps(), &policy(&[NARROW, OTHER]));
    let _echo = Echo::tcp(&bed.guest("b").netns, &[7000, 7001]);
    let (mut loses, mut keeps) = (talk(&bed, 7000), talk(&bed, 7001));
    assert!(conns(&bed, &["--would-refuse"]).is_empty());

    bed.reload(&policy(&[OTHER])).unwrap();
    assert!(loses.says("lenient", PATIENT) && keeps.says("lenient", PATIENT), "CT-20");
    assert_eq!(ports(&conns(&bed, &["--would-refuse"])), [7000], "what strict would cut");

    bed.daemon().reload(&with(&bed, &policy(&[OTHER]), "vpc", "revocation = \"strict\"")).unwrap();
    assert_eq!(
        ports(&conns(&bed, &["eni=b", "proto=tcp"])),
        [7001],
        "gone with the reload, before any packet"
    );
    assert!(!loses.says("strict", QUICK), "CT-27");
    assert!(bed.daemon().drops("group-ingress") > 0, "its packets arrive and are refused");
    assert!(keeps.says("strict", PATIENT));

    bed.daemon().reload(&with(&bed, &policy(&[]), "vpc", "revocation = \"strict\"")).unwrap();
    assert!(!keeps.says("cut", QUICK));
    let connections = &bed.daemon().status()["connections"];
    assert_eq!((connections["revoked"].as_u64(), connections["removed"].as_u64()), (Some(2), Some(2)));
}

/// An operator ends one of two sessions: what a guest sees is a session that answers no more.
#[test]
fn a_chosen_session_is_cut_and_its_neighbour_goes_on() {
    let bed = Bed::start(Setup::taps(), &policy(&[NARROW]));
    let _echo = Echo::tcp(&bed.guest("b").netns, &[7000]);
    let (mut chosen, mut neighbour) = (talk(&bed, 7000), talk(&bed, 7000));
    let port = format!("remote-port={}", chosen.port());
    let words = ["eni=b", "port=7000", "remote=10.0.1.0/24", "state=established", &port];
    let kill = |more: &[&str]| bed.daemon().client(&[&["conns", "kill"], &words[..], more].concat());

    let dry = kill(&["--dry-run"]).expect("a dry run");
    assert!(dry.contains("1 connection would be ended") && dry.contains("10.0.2.10:7000"), "{dry}");
    assert!(chosen.says("still here", PATIENT));

    let ended: Value = serde_json::from_str(&kill(&["--output", "json"]).expect("kill")).unwrap();
    assert_eq!((ended["total"].as_u64(), ended["dry_run"].as_bool()), (Some(1), Some(false)), "{ended}");
    assert_eq!(ended["connections"][0]["remote_port"].as_u64(), Some(chosen.port().into()));
    assert!(!chosen.says("anybody?", QUICK), "b has no outbound rule for the answer");
    assert!(bed.daemon().drops("group-egress") > 0);
    assert!(neighbour.says("well", PATIENT));

    let again = kill(&[]);
    assert_eq!((again.code, again.out.as_str()), (1, "no such connection\n"), "{}", again.err);
    let wrong = bed.daemon().client(&["conns", "kill", "eni=b", "prot=tcp"]);
    assert!(
        wrong.code == 2 && wrong.err.contains("`prot=tcp`") && wrong.err.contains("proto=PROTOCOL"),
        "{}",
        wrong.err
    );
    let unknown = bed.daemon().client(&["conns", "eni=nobody"]);
    assert!(unknown.code == 2 && unknown.err.contains("`nobody`"), "{}", unknown.err);
    assert!(neighbour.says("untouched by that", PATIENT));

    assert!(bed.daemon().client(&["conns", "kill", "--all"]).ok);
    assert!(conns(&bed, &[]).is_empty());
    assert!(!neighbour.says("you, too", QUICK));
    assert_eq!(bed.daemon().status()["connections"]["revoked"], 0, "ended by choice");
}

/// The time left of the only connection that filter words mean, in seconds.
fn left(bed: &Bed, words: &[&str]) -> f64 {
    let found = conns(bed, words);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]["left_seconds"].as_f64().unwrap()
}

/// CT-25: a changed time-out applies with a flow's next packet; an idle entry keeps its old expiry.
#[test]
fn a_time_out_changes_under_live_flows_with_their_next_packet() {
    let rules = policy(&[NARROW, "udp 7000 from 10.0.1.10/32"]);
    let bed = Bed::start(Setup::taps(), &rules);
    let (a, b) = (bed.guest("a"), bed.guest("b"));
    let (_tcp, _udp) = (Echo::tcp(&b.netns, &[7000]), Echo::udp(&b.netns, b.address(false), &[7000]));
    let mut session = talk(&bed, 7000);
    let socket = sockets::bind_udp(&a.netns, SocketAddr::new(a.address(false), 0), PATIENT);
    let ask = || {
        socket.send_to(b"ping", SocketAddr::new(b.address(false), 7000)).unwrap();
        socket.recv_from(&mut [0; 8]).unwrap()
    };
    ask();
    let (udp, tcp) = (["eni=b", "proto=udp"], ["eni=b", "proto=tcp"]);
    assert!(left(&bed, &udp) <= 30.0 && left(&bed, &tcp) > 400_000.0, "AWS's defaults");

    let times = "connection_tracking = { udp = \"60s\", udp_stream = \"90s\", tcp_established = \"1m\" }";
    bed.daemon().reload(&with(&bed, &rules, "eni.b", times)).unwrap();
    assert!(left(&bed, &udp) <= 30.0 && left(&bed, &tcp) > 400_000.0, "idle entries keep what they have");

    assert!(session.says("on", PATIENT));
    let shortened = left(&bed, &tcp);
    assert!(shortened > 55.0 && shortened <= 60.0, "{shortened}");
    ask();
    let stream = left(&bed, &udp);
    assert!(stream > 85.0 && stream <= 90.0, "the second answer makes it a stream: {stream}");
}

/// CT-26: entries end with the address or the ENI that they belong to, and no others do.
#[test]
fn entries_end_with_their_address_and_with_their_eni() {
    let rules = policy(&[NARROW]).group("c", &["tcp 7000 from 10.0.1.10/32"], &[]);
    let bed = Bed::start(Setup::taps(), &rules);
    let two = with(&bed, &rules, "eni.b", "secondary_addresses = [\"10.0.2.77\"]");
    bed.daemon().reload(&two).unwrap();
    bed.guest("b").netns.ip("addr add 10.0.2.77/24 dev eth0");
    let _echoes = ["b", "c"].map(|guest| Echo::tcp(&bed.guest(guest).netns, &[7000]));
    let open = |address: &str| {
        let to = SocketAddr::new(address.parse().unwrap(), 7000);
        let mut talk = Conversation::open(&bed.guest("a").netns, to).unwrap();
        assert!(talk.says("hello", PATIENT), "{address}");
        talk
    };
    let (mut primary, mut secondary, _third) = (open("10.0.2.10"), open("10.0.2.77"), open("10.0.1.11"));
    let at = |word: &str| conns(&bed, &[word]).len();
    assert_eq!((at("local=10.0.2.10"), at("local=10.0.2.77"), at("eni=c")), (1, 1, 1));

    bed.reload(&rules).unwrap();
    assert_eq!((at("local=10.0.2.10"), at("local=10.0.2.77"), at("eni=c")), (1, 0, 1), "unassigned");
    assert!(primary.says("on", PATIENT) && !secondary.says("gone", QUICK));

    let text = bed.config(&rules);
    let (before, rest) = text.split_once("[eni.c]\n").unwrap();
    let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
    bed.daemon().reload(&format!("{before}{after}")).unwrap();
    let gone = bed.daemon().client(&["conns", "eni=c"]);
    assert!(gone.code == 2 && gone.err.contains("no ENI named `c`"), "{}{}", gone.out, gone.err);
    assert_eq!(ports(&conns(&bed, &[])), [7000], "what is left is b's own");
    assert!(primary.says("still on", PATIENT));
    assert_eq!(bed.daemon().status()["connections"]["removed"], 2);
}

/// CT-70 and CT-71: the allowance, and the counters that tell of it.
#[test]
fn status_tells_how_much_of_the_allowance_is_left_and_who_was_refused() {
    let rules = policy(&[NARROW]);
    let bed = Bed::start(Setup::taps(), &rules);
    let small = "[instance.small]\nenis = [\"b\"]\nmax_tracked = 2\n";
    bed.daemon().reload(&format!("{}\n{small}", bed.config(&rules))).unwrap();
    let _echo = Echo::tcp(&bed.guest("b").netns, &[7000]);
    let instance = |key: &str| {
        let status = bed.daemon().status();
        let instances = status["connections"]["instances"].as_array().unwrap();
        instances.iter().find(|it| it["instance"] == "small").unwrap()[key].as_u64().unwrap()
    };
    assert_eq!(instance("conntrack_allowance_available"), 2);
    let _talks = [talk(&bed, 7000), talk(&bed, 7000)];
    assert_eq!((instance("conntrack_allowance_available"), instance("tracked")), (0, 2));
    let to = SocketAddr::new(bed.guest("b").address(false), 7000);
    let refused = sockets::attempt(&bed.guest("a").netns, to, QUICK);
    assert_eq!(refused, sockets::Attempt::Filtered);

    let status = bed.daemon().status();
    let exceeded = |name: &str| {
        let ports = status["ports"].as_array().unwrap();
        ports.iter().find(|port| port["name"] == name).unwrap()["conntrack_allowance_exceeded"].as_u64()
    };
    assert_eq!((exceeded("a"), exceeded("c")), (Some(0), Some(0)));
    assert!(exceeded("b").unwrap() > 0, "{status}");
    let text = bed.daemon().client(&["status"]).expect("status");
    for name in ["conntrack_allowance_available", "conntrack_allowance_exceeded"] {
        assert!(text.contains(name), "{text}");
    }

    assert!(bed.daemon().client(&["conns", "kill", "eni=b"]).ok);
    assert_eq!(instance("conntrack_allowance_available"), 2, "ended entries free their places");
    let _third = talk(&bed, 7000);
}
