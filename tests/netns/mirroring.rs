//! Mirror copies on real devices, read back by tshark and scapy, which others wrote (TM-30..37).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use palisade_tests::guest::{GuestPlan, mac_text};
use palisade_tests::tool::{Background, Ran, must, ping};
use palisade_tests::{Bed, Mode, Policy, PortKind, Setup};
use serde_json::Value;

const VNI: &str = "4711";

/// Guest `a` is mirrored to `c`, whose kernel has nobody on UDP 4789: nothing that it says about that comes to `a`.
fn policy(sessions: &str) -> Policy {
    let all = ["all from 10.0.2.0/24", "all from 2001:db8:1:2::/64"];
    Policy::open().group("a", &all, &["all to 0.0.0.0/0", "all to ::/0"]).and(&format!(
        "[mirror_target.c]\neni = \"c\"\n[mirror_filter.all]\n\
         ingress = [\"1 accept all from 0.0.0.0/0 to 0.0.0.0/0\", \"2 accept all from ::/0 to ::/0\"]\n\
         egress = [\"1 accept all from 0.0.0.0/0 to 0.0.0.0/0\", \"2 accept all from ::/0 to ::/0\"]\n{sessions}"
    ))
}

fn session(more: &str) -> String {
    format!(
        "[mirror_session.a]\nsource = \"a\"\ntarget = \"c\"\nfilter = \"all\"\nnumber = 1\n\
         virtual_network_id = {VNI}\n{more}\n"
    )
}

/// Captures of `a`, of everything, and of `c`, of copies.
struct Captures<'b> {
    bed: &'b Bed,
    running: Vec<Background>,
}

impl<'b> Captures<'b> {
    fn start(bed: &'b Bed) -> Self {
        let capture = |guest: &str, filter: &str| {
            let file = bed.dir().join(format!("{guest}.pcap"));
            let _ = std::fs::remove_file(&file);
            let line = format!(
                "tcpdump -i eth0 -n -U --immediate-mode -B 32768 -s 0 -Z root -w {} {filter}",
                file.display()
            );
            let running = Background::start(&bed.guest(guest).netns, &line);
            let begun = Instant::now();
            while std::fs::metadata(&file).map_or(0, |file| file.len()) < 24 {
                assert!(begun.elapsed() < Duration::from_secs(10), "tcpdump has not begun");
                thread::sleep(Duration::from_millis(20));
            }
            running
        };
        Self { bed, running: vec![capture("a", ""), capture("c", "udp port 4789")] }
    }

    /// Ends both, once nothing more comes; the files.
    fn finish(mut self) -> [PathBuf; 2] {
        let files = ["a", "c"].map(|guest| self.bed.dir().join(format!("{guest}.pcap")));
        let sizes = || files.each_ref().map(|file| std::fs::metadata(file).map_or(0, |file| file.len()));
        let mut before = sizes();
        loop {
            thread::sleep(Duration::from_millis(300));
            let now = sizes();
            if now == before {
                break;
            }
            before = now;
        }
        self.running.clear();
        files
    }
}

/// What the script says of captures.
fn read(words: &[&str]) -> Value {
    let python = std::env::var_os("PALISADE_PYTHON").unwrap_or_else(|| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/read_copies.py");
    let output = Command::new(python).arg(script).args(words).output().expect("python3");
    serde_json::from_str(&Ran::from(output).expect("read_copies.py")).unwrap()
}

/// VNI and inner protocol of every copy, as tshark decodes them.
fn decoded(file: &str) -> Vec<String> {
    let out = must("tshark", &["-r", file, "-T", "fields", "-e", "vxlan.vni", "-e", "frame.protocols"]);
    out.lines().map(str::to_owned).collect()
}

/// A connection from `a` to `b`, at both ends.
fn connect(bed: &Bed) -> [TcpStream; 2] {
    let (a, b) = (bed.guest("a"), bed.guest("b"));
    let to = SocketAddr::new(b.plan.ipv4().into(), 7_000);
    let listener = b.netns.enter(|| TcpListener::bind(to).unwrap());
    let near = a.netns.enter(|| TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap());
    let far = listener.accept().unwrap().0;
    [near, far].map(|stream| {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    })
}

/// Sends bytes one way and waits for them.
fn carry(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut got = vec![0; bytes.len()];
    to.read_exact(&mut got).unwrap();
    assert_eq!(got, bytes);
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(len)
    .collect()
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

fn assert_nothing_dropped(bed: &Bed) {
    let status = bed.daemon().ask(&["mirror", "status"]);
    assert_eq!(status["sessions"][0]["dropped"], serde_json::json!({}), "{status}");
}

/// With offloads off, what the source's interface shows is what is copied; with `packet_length` its beginning.
#[test]
fn copies_are_the_frames_of_the_source_byte_for_byte() {
    for (kind, mode, length) in [
        (PortKind::Tap, Mode::ALL[0], None),
        (PortKind::Packet, Mode::ALL[1], None),
        (PortKind::Tap, Mode::ALL[0], Some(100)),
    ] {
        let plain = |guest: &mut GuestPlan| (guest.offload, guest.mtu) = (false, 1_500);
        let setup = Setup::new(kind, kind).in_mode(mode).with("a", plain).with("b", plain);
        let more = length.map_or_else(String::new, |length| format!("packet_length = {length}"));
        let bed = Bed::start(setup, &policy(&session(&more)));
        if kind == PortKind::Packet {
            for guest in ["a", "b"] {
                must(
                    "ip",
                    &[
                        "netns",
                        "exec",
                        bed.guest(guest).netns.name(),
                        "ethtool",
                        "-K",
                        "eth0",
                        "tx",
                        "off",
                        "tso",
                        "off",
                        "gso",
                        "off",
                        "gro",
                        "off",
                    ],
                );
            }
        }
        let (a, b) = (bed.guest("a"), bed.guest("b"));
        let captures = Captures::start(&bed);
        for to in [b.plan.ipv4().to_string(), b.plan.ipv6().to_string()] {
            assert!(ping(&a.netns, &to, "-s 1000") > 0.9);
        }
        assert!(ping(&b.netns, &a.plan.ipv4().to_string(), "-s 1") > 0.9);
        let [mut near, mut far] = connect(&bed);
        for chunk in noise(300_000).chunks(20_000) {
            carry(&mut near, &mut far, chunk);
            carry(&mut far, &mut near, &chunk[..7_000]);
            thread::sleep(Duration::from_millis(2)); // so that no copy has to go for the next packets
        }
        drop((near, far));
        let [source, target] = captures.finish();
        let mac = mac_text(a.plan.mac());
        let length = length.map(|length: u16| length.to_string());
        let words = ["identical", text(&source), text(&target), VNI, &mac];
        let told = read(&words.into_iter().chain(length.as_deref()).collect::<Vec<_>>());
        let counts = ["sent", "received"].map(|way| told[way].as_u64().unwrap());
        assert!(counts[0] > 220 && counts[1] > 90, "{kind:?}: {told}");
        let copies = decoded(text(&target));
        assert_eq!(copies.len() as u64, counts[0] + counts[1]);
        let is_copy = |line: &String| line.starts_with(&format!("{VNI}\t")) && line.contains(":vxlan:eth:");
        assert!(copies.iter().all(is_copy), "{:?}", copies.iter().find(|line| !is_copy(line)));
        assert_nothing_dropped(&bed);
    }
}

/// With offloads on, copies are what a wire would have carried.
#[test]
fn copies_of_offload_frames_put_together_are_the_streams() {
    for (kind, mode) in [(PortKind::Tap, Mode::ALL[0]), (PortKind::Packet, Mode::ALL[3])] {
        let narrow = |guest: &mut GuestPlan| guest.mtu = 1_500;
        let setup = Setup::new(kind, kind).in_mode(mode).with("a", narrow).with("b", narrow);
        let setup = setup.with("c", |guest| guest.kind = PortKind::Tap);
        let bed = Bed::start(setup, &policy(&session("")));
        let captures = Captures::start(&bed);
        let [mut near, mut far] = connect(&bed);
        // Fewer packets at a time than copies may be made of one burst, and time in between.
        let sent = noise(600_000);
        for chunk in sent.chunks(100_000) {
            carry(&mut near, &mut far, chunk);
            carry(&mut far, &mut near, &chunk[..30_000]);
            thread::sleep(Duration::from_millis(10));
        }
        drop((near, far));
        let [source, target] = captures.finish();
        let (wanted, told) = (read(&["streams", text(&source)]), read(&["streams", text(&target), VNI]));
        let bytes = |told: &Value| -> Vec<u64> {
            told.as_object().unwrap().values().map(|stream| stream[0].as_u64().unwrap()).collect()
        };
        assert_eq!(told, wanted, "{kind:?}");
        let mut sums = bytes(&told);
        sums.sort_unstable();
        assert_eq!(sums, [180_000, 600_000], "{kind:?}: {told}");
        let frames = [&source, &target].map(|file| decoded(text(file)).len());
        assert!(frames[1] > frames[0] + 200, "{kind:?}: offload frames were copied as segments: {frames:?}");
        assert_nothing_dropped(&bed);
    }
}

/// A session that a reload brings copies connections that were there before, and one that is gone copies nothing more.
#[test]
fn tm_47_a_session_takes_effect_for_flows_that_exist() {
    let bed = Bed::start(Setup::taps(), &policy(""));
    let [mut near, mut far] = connect(&bed);
    let mut talk = || {
        for _ in 0..20 {
            carry(&mut near, &mut far, b"request");
            carry(&mut far, &mut near, b"answer");
        }
    };
    let count = |talk: &mut dyn FnMut()| {
        let captures = Captures::start(&bed);
        talk();
        let [_, target] = captures.finish();
        let protocols = must("tshark", &["-r", text(&target), "-T", "fields", "-e", "tcp.flags.syn"]);
        assert!(!protocols.contains("True"), "no copy of a SYN: the connection was there before");
        protocols.lines().count()
    };
    assert_eq!(count(&mut talk), 0, "no session yet");
    bed.reload(&policy(&session(""))).unwrap();
    assert!(count(&mut talk) >= 40, "requests and answers");
    let before = bed.daemon().ask(&["mirror", "status"])["sessions"][0]["packets"].as_u64().unwrap();
    bed.reload(&policy(&session("packet_length = 60"))).unwrap();
    assert!(count(&mut talk) >= 40);
    let after = bed.daemon().ask(&["mirror", "status"])["sessions"][0]["packets"].as_u64().unwrap();
    assert!(before >= 40 && after >= before + 40, "counts go on: {before}, {after}");
    bed.reload(&policy("")).unwrap();
    assert_eq!(count(&mut talk), 0, "it is gone");
}
