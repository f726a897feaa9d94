//! Files that must arrive as they were sent, over every combination of port kinds and offload settings, in every mode.

use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use palisade_tests::{Bed, Mode, Policy, PortKind, Setup, tool};

const KINDS: [PortKind; 2] = [PortKind::Tap, PortKind::Packet];

/// Offload settings of one bed: of the daemon's ports, and of `eth0` in the sending and the receiving guest.
#[derive(Clone, Copy, Debug)]
struct Offloads {
    ports: (bool, bool),
    guests: (bool, bool),
}

const SETTINGS: [Offloads; 6] = [
    Offloads { ports: (true, true), guests: (true, true) },
    Offloads { ports: (true, true), guests: (false, false) },
    Offloads { ports: (true, true), guests: (true, false) },
    Offloads { ports: (true, true), guests: (false, true) },
    Offloads { ports: (true, false), guests: (true, true) }, // the daemon segments and completes checksums
    Offloads { ports: (false, true), guests: (true, true) },
];

/// Mebibytes per file: 64, or what `PALISADE_TRANSFER_MIB` says.
fn size() -> u64 {
    let given = std::env::var("PALISADE_TRANSFER_MIB").ok().and_then(|text| text.parse::<u64>().ok());
    given.unwrap_or(64) << 20
}

#[test]
fn a_file_arrives_whole_over_taps() {
    transfers(PortKind::Tap, PortKind::Tap, 9001);
}

#[test]
fn a_file_arrives_whole_from_tap_to_packet_socket() {
    transfers(PortKind::Tap, PortKind::Packet, 9001);
}

#[test]
fn a_file_arrives_whole_from_packet_socket_to_tap() {
    transfers(PortKind::Packet, PortKind::Tap, 9001);
}

#[test]
fn a_file_arrives_whole_over_packet_sockets() {
    transfers(PortKind::Packet, PortKind::Packet, 9001);
}

#[test]
fn a_file_arrives_whole_in_packets_of_1500_bytes() {
    for kind in KINDS {
        transfers(kind, kind, 1500);
    }
}

/// Every mode with some of the settings; which with which differs from caller to caller.
fn transfers(a: PortKind, b: PortKind, mtu: u16) {
    let first =
        usize::from(a == PortKind::Tap) + 2 * usize::from(b == PortKind::Tap) + usize::from(mtu == 1500);
    let modes = Mode::ALL.into_iter().cycle().skip(first);
    for (settings, mode) in SETTINGS.into_iter().zip(modes) {
        let setup = Setup::new(a, b)
            .in_mode(mode)
            .with("a", |plan| (plan.mtu, plan.offload) = (mtu, settings.ports.0))
            .with("b", |plan| (plan.mtu, plan.offload) = (mtu, settings.ports.1));
        let bed = Bed::start(setup, &Policy::open());
        bed.guest("a").set_offloads(settings.guests.0);
        bed.guest("b").set_offloads(settings.guests.1);
        let what = format!("{a:?} to {b:?}, MTU {mtu}, {settings:?}, {mode:?}");
        transfer(&bed, &what);
    }
}

fn transfer(bed: &Bed, what: &str) {
    let (sent, received) = (bed.dir().join("sent"), bed.dir().join("received"));
    let blocks = (size() >> 20).to_string();
    tool::must(
        "dd",
        &["if=/dev/urandom", &format!("of={}", sent.display()), "bs=1M", &format!("count={blocks}")],
    );
    let wanted = digest(&sent);
    for ipv6 in [false, true] {
        let start = Instant::now();
        send(bed, ipv6, &sent, &received);
        let took = start.elapsed();
        assert_eq!(digest(&received), wanted, "{what}, IPv6 {ipv6}");
        println!("{what}, IPv6 {ipv6}: {:.0} Mbit/s", gigabits(size(), took) * 1e3);
    }
    for guest in bed.guests() {
        assert_eq!(guest.checksum_errors(), 0, "{what}: bad checksums reached {}", guest.plan.name);
    }
    for reason in ["bad-offload", "truncated", "mtu", "port-refused"] {
        assert_eq!(bed.daemon().drops(reason), 0, "{what}: dropped as {reason}");
    }
}

fn send(bed: &Bed, ipv6: bool, from: &Path, into: &Path) {
    let to = SocketAddr::new(bed.guest("b").address(ipv6), 9000);
    let listener = bed.guest("b").netns.enter(|| TcpListener::bind(to)).unwrap();
    let (mut source, mut sink) = (File::open(from).unwrap(), File::create(into).unwrap());
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        io::copy(&mut stream, &mut sink).unwrap()
    });
    let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(5));
    let mut stream = bed.guest("a").netns.enter(connect).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    io::copy(&mut source, &mut stream).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    receiver.join().unwrap();
}

fn digest(file: &Path) -> String {
    let line = tool::must("sha256sum", &[file.to_str().unwrap()]);
    line.split_whitespace().next().unwrap().to_owned()
}

fn gigabits(bytes: u64, took: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let bits = (bytes * 8) as f64;
    bits / took.as_secs_f64() / 1e9
}
