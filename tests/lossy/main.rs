//! A long transfer through token buckets that are too small and ports that lose, double and reorder frames: it arrives with
//! the right hash in every mode. `PALISADE_TRANSFER_MIB=10240 cargo test --release -p palisade-tests --test lossy` sends
//! 10 GiB in each; without the variable it is 48 MiB.
#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "a failing test panics")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use palisade_io::Faults;
use palisade_tests::{Bed, Fabric, Mode, Policy, PortKind, Setup, tool};

/// Per frame at each port and in each direction.
const FAULTS: Faults = Faults { seed: 0, loss: 0.001, duplication: 0.002, reordering: 0.002 };
/// A queue of a few frames only, so that it is often full. The rate is one that slow machines exceed too with the 48 MiB that
/// are sent by default; whoever sends more can wait less.
fn bucket() -> String {
    let rate = if size() > DEFAULT { "1500mbit" } else { "150mbit" };
    format!("qdisc replace dev eth0 root tbf rate {rate} burst 128kb limit 512kb")
}

/// Bytes per mode unless more are asked for.
const DEFAULT: u64 = 48 << 20;

/// Bytes per mode: `PALISADE_TRANSFER_MIB` mebibytes, or the default.
fn size() -> u64 {
    let given = std::env::var("PALISADE_TRANSFER_MIB").ok().and_then(|text| text.parse::<u64>().ok());
    given.map_or(DEFAULT, |mebibytes| mebibytes << 20)
}

#[test]
fn a_transfer_arrives_whole_in_every_mode_whatever_happens_to_its_frames() {
    // The first half in segmentation-offload frames, the other in segments.
    let half = size() / 2;
    let wanted = hash(&mut Pattern::new(half));
    for mode in Mode::ALL {
        let setup = Setup::new(PortKind::Tap, PortKind::Packet)
            .with("a", |plan| plan.mtu = 1500)
            .with("b", |plan| plan.mtu = 1500)
            .in_mode(mode);
        let bed = Bed::prepare(setup);
        let fabric = Fabric::start(&bed, &Policy::open(), 65_536, FAULTS);
        let [a, b] = ["a", "b"].map(|name| bed.guest(name));
        for guest in [a, b] {
            tool::must(
                "tc",
                &[&["-n", guest.netns.name()], &bucket().split(' ').collect::<Vec<_>>()[..]].concat(),
            );
        }
        for offloads in [true, false] {
            for guest in [a, b] {
                guest.set_offloads(offloads);
            }
            let start = Instant::now();
            assert_eq!(send(&bed, half), wanted, "{mode:?}, offloads {offloads}");
            println!("{mode:?}, offloads {offloads}: {} MiB in {:.1?}", half >> 20, start.elapsed());
        }
        let resent = tool::kernel_counter(&a.netns, "snmp", "Tcp", "RetransSegs");
        assert!(resent > 0, "{mode:?}: nothing was lost, so nothing was shown");
        let shown = tool::must("tc", &["-n", a.netns.name(), "-s", "qdisc", "show", "dev", "eth0"]);
        assert!(!shown.contains("overlimits 0 "), "{mode:?}: the bucket was never empty: {shown}");
        for guest in [a, b] {
            assert_eq!(guest.checksum_errors(), 0, "{mode:?}");
        }
        println!("{mode:?}: {resent} segments were sent again");
        fabric.stop();
    }
}

/// Sends so many bytes from a to b; the hash of what arrives.
fn send(bed: &Bed, bytes: u64) -> String {
    let patience = Some(Duration::from_mins(1));
    let to = SocketAddr::new(bed.guest("b").address(false), 9000);
    let listener = bed.guest("b").netns.enter(|| TcpListener::bind(to)).unwrap();
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(patience).unwrap();
        hash(&mut stream)
    });
    // The first frames may be lost too.
    let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(20));
    let mut stream = bed.guest("a").netns.enter(connect).unwrap();
    stream.set_write_timeout(patience).unwrap();
    assert_eq!(io::copy(&mut Pattern::new(bytes), &mut stream).unwrap(), bytes);
    stream.shutdown(Shutdown::Write).unwrap();
    receiver.join().unwrap()
}

/// SHA-256 of everything that can be read.
fn hash(source: &mut impl Read) -> String {
    let mut summer: Child =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut buffer = vec![0; 1 << 18];
    let mut input = summer.stdin.take().unwrap();
    loop {
        match source.read(&mut buffer).unwrap() {
            0 => break,
            read => input.write_all(&buffer[..read]).unwrap(),
        }
    }
    drop(input);
    let said = String::from_utf8(summer.wait_with_output().unwrap().stdout).unwrap();
    said.split(' ').next().unwrap().to_owned()
}

/// So many bytes, none of which says where the next one stands: a linear congruence (Knuth's), its upper half.
struct Pattern {
    state: u64,
    left: u64,
}

impl Pattern {
    const fn new(bytes: u64) -> Self {
        Self { state: 1, left: bytes }
    }
}

impl Read for Pattern {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        for piece in out[..len].chunks_mut(4) {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let [.., a, b, c, d] = self.state.to_le_bytes();
            piece.copy_from_slice(&[a, b, c, d][..piece.len()]);
        }
        self.left -= len as u64;
        Ok(len)
    }
}
