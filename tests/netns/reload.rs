//! A new policy under running traffic.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use palisade_tests::sockets::{self, Attempt, Conversation, Echo};
use palisade_tests::{Bed, Policy, PortKind, Setup, tool};

const NARROW: &[&str] = &["tcp 7000 from 10.0.1.10/32", "tcp 7000 from 2001:db8:1:1::10/128"];
const ALL_OUT: &[&str] = &["all to 0.0.0.0/0", "all to ::/0"];
const PATIENT: Duration = Duration::from_secs(3);
const QUICK: Duration = Duration::from_millis(400);

fn conversation(bed: &Bed, ipv6: bool) -> std::io::Result<Conversation> {
    Conversation::open(&bed.guest("a").netns, SocketAddr::new(bed.guest("b").address(ipv6), 7000))
}

fn attempt(bed: &Bed, ipv6: bool) -> Attempt {
    sockets::attempt(&bed.guest("a").netns, SocketAddr::new(bed.guest("b").address(ipv6), 7000), QUICK)
}

fn all_say(talks: &mut [Conversation], word: &str) -> bool {
    talks.iter_mut().all(|talk| talk.says(word, PATIENT))
}

/// CT-20: a tracked connection outlives the rule that let it in; a new one is refused.
#[test]
fn an_established_connection_survives_the_removal_of_its_narrow_rule() {
    let bed = Bed::start(Setup::taps(), &Policy::open().group("b", NARROW, &[]));
    let _echo = Echo::tcp(&bed.guest("b").netns, &[7000]);
    let mut talks = [false, true].map(|ipv6| conversation(&bed, ipv6).unwrap());
    assert!(all_say(&mut talks, "before"));
    bed.reload(&Policy::open().group("b", &[], &[])).unwrap();
    assert!(all_say(&mut talks, "after"));
    for ipv6 in [false, true] {
        assert_eq!(attempt(&bed, ipv6), Attempt::Filtered, "IPv6 {ipv6}");
    }
    assert!(all_say(&mut talks, "still"));
    assert!(bed.daemon().drops("group-ingress") > 0);
}

/// CT-21: an untracked connection (0.0.0.0/0 in, everything out) is cut by the same change.
#[test]
fn an_untracked_connection_is_cut_with_its_rule() {
    let wide = Policy::open().group("b", &["tcp 7000 from 0.0.0.0/0"], ALL_OUT);
    let bed = Bed::start(Setup::taps(), &wide);
    let _echo = Echo::tcp(&bed.guest("b").netns, &[7000]);
    let mut talk = conversation(&bed, false).unwrap();
    assert!(talk.says("before", PATIENT));
    bed.reload(&Policy::open().group("b", &[], ALL_OUT)).unwrap();
    assert!(!talk.says("after", QUICK));
}

/// CT-24, NACL-40: an ACL deny in either direction cuts a tracked connection at once; lifting it lets it go on.
#[test]
fn an_acl_deny_cuts_an_established_connection_at_once() {
    let group = Policy::open().group("b", NARROW, &[]);
    let all_in = ["100 allow all from 0.0.0.0/0", "101 allow all from ::/0"];
    let all_out = ["100 allow all to 0.0.0.0/0", "101 allow all to ::/0"];
    let deny_in = ["90 deny tcp 7000 from 10.0.1.0/24", all_in[0], all_in[1]];
    let deny_out = ["90 deny tcp 1024-65535 to 10.0.1.0/24", all_out[0], all_out[1]];
    let denials = [
        ("acl-ingress-entry", group.clone().acl("data", &deny_in, &all_out)),
        ("acl-egress-entry", group.clone().acl("data", &all_in, &deny_out)),
    ];
    let bed = Bed::start(Setup::taps(), &group);
    let _echo = Echo::tcp(&bed.guest("b").netns, &[7000]);
    for (reason, denial) in denials {
        let mut talk = conversation(&bed, false).unwrap();
        assert!(talk.says("before", PATIENT));
        bed.reload(&denial).unwrap();
        assert!(!talk.says("cut", QUICK), "{reason}");
        assert!(bed.daemon().drops(reason) > 0, "{reason}");
        bed.reload(&group).unwrap();
        assert!(conversation(&bed, false).unwrap().says("anew", PATIENT), "{reason}");
    }
}

#[test]
fn a_file_with_errors_changes_nothing_and_says_why() {
    let policy = Policy::open().group("b", NARROW, &[]);
    let bed = Bed::start(Setup::taps(), &policy);
    let _echo = Echo::tcp(&bed.guest("b").netns, &[7000, 7001]);
    let mut talk = conversation(&bed, false).unwrap();
    let generation = bed.daemon().generation();
    let wrong =
        Policy::open().group("b", &["tcp 7001 from 10.0.1.0/24", "tcp 70000 from 10.0.1.300/32"], &[]);
    let why = bed.reload(&wrong).unwrap_err();
    assert!(why.contains("70000") && why.contains("10.0.1.300"), "every error is named: {why}");
    assert!(why.contains("palisade.toml:"), "with its place: {why}");
    assert_eq!(bed.daemon().generation(), generation);
    assert!(talk.says("as before", PATIENT));
    assert!(conversation(&bed, false).unwrap().says("anew", PATIENT));
    let to = SocketAddr::new(bed.guest("b").address(false), 7001);
    assert_eq!(
        sockets::attempt(&bed.guest("a").netns, to, QUICK),
        Attempt::Filtered,
        "no part of it applies"
    );
}

#[test]
fn sighup_reloads_as_the_command_does() {
    let bed = Bed::start(Setup::taps(), &Policy::open().group("b", &[], &[]));
    let _echo = Echo::tcp(&bed.guest("b").netns, &[7000]);
    assert_eq!(attempt(&bed, false), Attempt::Filtered);
    let generation = bed.daemon().generation();
    std::fs::write(bed.daemon().config(), bed.config(&Policy::open().group("b", NARROW, &[]))).unwrap();
    bed.daemon().signal(nix::sys::signal::Signal::SIGHUP);
    for _ in 0..100 {
        if bed.daemon().generation() > generation {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(conversation(&bed, false).unwrap().says("hello", PATIENT));
}

#[test]
fn reloads_under_iperf_lose_no_udp_packet() {
    for kind in [PortKind::Tap, PortKind::Packet] {
        let bed = Bed::start(Setup::new(kind, kind), &Policy::open().group("b", &["all from sg:a"], ALL_OUT));
        let (a, b) = (&bed.guest("a").netns, &bed.guest("b").netns);
        let missed = || tool::kernel_counter(b, "snmp", "Udp", "RcvbufErrors");
        let before = missed();
        let report = while_reloading(&bed, || {
            tool::iperf(a, b, bed.guest("b").address(false), "-u -b 100M -l 1400 -t 4")
        });
        let lost = report["end"]["sum"]["lost_packets"].as_u64().unwrap();
        assert!(report["end"]["sum"]["packets"].as_u64().unwrap() > 10_000, "{report}");
        assert!(
            lost <= missed() - before,
            "{kind:?}: {lost} lost, of which the receiver's socket missed fewer"
        );
    }
}

#[test]
fn reloads_under_iperf_cause_no_tcp_retransmission() {
    for kind in [PortKind::Tap, PortKind::Packet] {
        let bed = Bed::start(Setup::new(kind, kind), &Policy::open().group("b", &["all from sg:a"], ALL_OUT));
        let (a, b) = (&bed.guest("a").netns, &bed.guest("b").netns);
        let report = while_reloading(&bed, || {
            tool::iperf(a, b, bed.guest("b").address(false), "-b 400M -t 4 -C cubic")
        });
        assert_eq!(report["end"]["sum_sent"]["retransmits"].as_u64(), Some(0), "{kind:?}");
        assert!(report["end"]["sum_received"]["bytes"].as_u64().unwrap() > 50_000_000, "{kind:?}");
    }
}

/// SG-40, SG-42: a list that grows beyond what a group's quota leaves is refused with the group's name, and the old size
/// and entries remain; a change of entries is a new version, which alone decides about new flows.
#[test]
fn sg_42_a_prefix_list_cannot_outgrow_the_quota_of_a_group() {
    let policy = Policy::open().group("b", &["tcp 7000 from pl:clients"], &[]);
    let with_list = |bed: &Bed, max: u32, entries: &[&str]| {
        let list = format!("[prefix_list.clients]\nmax_entries = {max}\nentries = {entries:?}\n");
        bed.daemon().reload(&format!("{}{list}", bed.config(&policy)))
    };
    let bed = Bed::start(Setup::taps(), &Policy::open());
    let _echo = Echo::tcp(&bed.guest("b").netns, &[7000]);
    with_list(&bed, 60, &["10.0.1.10/32"]).unwrap();
    assert!(conversation(&bed, false).unwrap().says("listed", PATIENT));

    let refusal = with_list(&bed, 61, &["10.0.1.11/32"]).unwrap_err();
    assert!(refusal.contains("IPv4 rules of group b, ingress: 61, but the quota is 60"), "{refusal}");
    assert!(conversation(&bed, false).unwrap().says("the old version", PATIENT));
    let versions = |bed: &Bed| bed.daemon().ask(&["rules"])["prefix_lists"][0]["version"].as_u64();
    assert_eq!(versions(&bed), Some(1));

    with_list(&bed, 60, &["10.0.1.11/32"]).unwrap();
    assert_eq!(versions(&bed), Some(2));
    assert_eq!(attempt(&bed, false), Attempt::Filtered);
}

/// Runs something while the policy changes every 100 ms in ways that leave its traffic allowed.
fn while_reloading<T>(bed: &Bed, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    let variants = [
        Policy::open().group("b", &["all from sg:a", "tcp 22 from 192.0.2.1/32"], ALL_OUT),
        Policy::open().group("b", &["all from 10.0.1.0/24", "all from sg:a"], ALL_OUT).acl(
            "data",
            &["50 deny all from 203.0.113.0/24", "100 allow all from 0.0.0.0/0"],
            &["100 allow all to 0.0.0.0/0"],
        ),
    ];
    let before = bed.daemon().generation();
    let value = thread::scope(|scope| {
        scope.spawn(|| {
            for policy in variants.iter().cycle().take(200) {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                bed.reload(policy).unwrap();
                thread::sleep(Duration::from_millis(100));
            }
        });
        let value = work();
        done.store(true, Ordering::Relaxed);
        value
    });
    assert!(bed.daemon().generation() > before + 10, "too few reloads happened");
    value
}
