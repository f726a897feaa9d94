//! Starting, stopping, crashing, and what the commands say meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use palisade_tests::sockets::{Conversation, Echo};
use palisade_tests::{Bed, Daemon, Policy, PortKind, Setup, tool};

const KINDS: [PortKind; 2] = [PortKind::Tap, PortKind::Packet];

#[test]
fn a_second_daemon_on_the_same_devices_fails_with_a_clear_message() {
    for kind in KINDS {
        let bed = Bed::start(Setup::new(kind, kind), &Policy::open());
        let elsewhere = bed.dir().join("second");
        std::fs::create_dir(&elsewhere).unwrap();
        let why = Daemon::start(&bed.fabric, &elsewhere, &bed.config(&Policy::open()), &[]).unwrap_err();
        let device = if kind == PortKind::Tap { "eth0" } else { "veth-a" };
        assert!(why.contains(device) && why.contains("another process"), "{kind:?}: {why}");
        assert!(
            tool::ping(&bed.guest("a").netns, "10.0.2.10", "") > 0.99,
            "{kind:?}: the first still forwards"
        );
    }
}

#[test]
fn a_stopped_daemon_leaves_no_device_and_starts_again() {
    let mut bed = Bed::start(Setup::taps(), &Policy::open());
    bed.daemon.take().unwrap().stop();
    for guest in bed.guests() {
        assert!(!guest.netns.ip("link show").contains("eth0"), "{}", guest.plan.name);
    }
    bed.start_daemon(&Policy::open()).unwrap();
    assert!(tool::ping(&bed.guest("a").netns, "10.0.2.10", "") > 0.99);
}

#[test]
fn a_crashed_daemon_is_no_hindrance_to_the_next() {
    for kind in KINDS {
        let mut bed = Bed::start(Setup::new(kind, kind), &Policy::open());
        bed.daemon.take().unwrap().kill();
        bed.start_daemon(&Policy::open()).unwrap_or_else(|why| panic!("{kind:?}: {why}"));
        assert!(tool::ping(&bed.guest("a").netns, "10.0.2.10", "") > 0.99, "{kind:?}");
    }
}

#[test]
fn conns_lists_a_connection_with_its_state() {
    let policy = Policy::open().group("b", &["tcp 7000 from 10.0.1.0/24"], &[]);
    let bed = Bed::start(Setup::taps(), &policy);
    let _echo = Echo::tcp(&bed.guest("b").netns, &[7000]);
    let to = SocketAddr::new(bed.guest("b").address(false), 7000);
    let mut talk = Conversation::open(&bed.guest("a").netns, to).unwrap();
    assert!(talk.says("hello", Duration::from_secs(2)));
    let table = bed.daemon().client(&["conns"]).expect("conns");
    let line = table.lines().find(|line| line.contains("7000")).unwrap_or_else(|| panic!("{table}"));
    assert!(line.to_lowercase().contains("established"), "{line}");
    assert!(bed.daemon().ask(&["conns"]).to_string().contains("7000"));
}

#[test]
fn a_capture_can_be_read_by_other_tools() {
    let dir = std::env::temp_dir().join(format!("pal-t{}-capture", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut bed =
        Bed::start(Setup::taps().with_options(&["--capture", dir.to_str().unwrap()]), &Policy::open());
    assert!(tool::ping(&bed.guest("a").netns, "10.0.2.10", "-s 77") > 0.99);
    bed.daemon.take().unwrap().stop();
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "one per ENI: {files:?}");
    let of_b = files.iter().find(|path| path.to_string_lossy().contains('b')).unwrap();
    let of_b = files.iter().find(|path| path.file_stem().is_some_and(|stem| stem == "b")).unwrap_or(of_b);
    let read = tool::must("tcpdump", &["-n", "-r", of_b.to_str().unwrap(), "icmp"]);
    assert!(read.matches("ICMP echo request").count() >= 3 && read.contains("ICMP echo reply"), "{read}");
    std::fs::remove_dir_all(&dir).unwrap();
}
