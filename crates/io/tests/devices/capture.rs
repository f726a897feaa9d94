//! Capture files as Wireshark's command-line tool reads them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::support::arp_request;
use palisade_io::{
    Burst, Capabilities, FrameInfo, Outgoing, PcapWriter, Port, PortError, Receive, Transmit, TransmitError,
};
use palisade_packet::{MacAddr, VnetHeader};

/// Gives out one burst of the frames, then nothing.
struct Given(Vec<Vec<u8>>, std::fs::File);

impl Receive for Given {
    fn receive(&mut self, burst: &mut Burst) -> io::Result<usize> {
        burst.clear();
        for frame in self.0.drain(..) {
            assert!(burst.push(&frame, FrameInfo::default()));
        }
        Ok(burst.len())
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
}

/// Takes every frame but the second of each burst.
#[derive(Default)]
struct Taken(Mutex<usize>);

impl Transmit for Taken {
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn transmit(&self, frames: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, TransmitError)) {
        for index in 0..frames.len() {
            if index == 1 {
                failed(index, TransmitError::Full);
            } else {
                *self.0.lock().unwrap() += 1;
            }
        }
    }
}

fn port(frames: Vec<Vec<u8>>) -> Port {
    Port {
        name: "eth0".to_owned(),
        receive: Box::new(Given(frames, std::fs::File::open("/dev/null").unwrap())),
        transmit: Arc::new(Taken::default()),
        takeover: None,
        mac: MacAddr::default(),
        mtu: 1500,
    }
}

fn arp(last: u8) -> Vec<u8> {
    arp_request(MacAddr([2, 0, 0, 0, 0, last]), [10, 0, 0, 1], [10, 0, 0, last])
}

/// One line per frame: interface, direction, length, time, target of an ARP request.
fn tshark(path: &Path) -> Vec<Vec<String>> {
    let fields = ["frame.interface_name", "frame.packet_flags_direction", "frame.len", "frame.time_epoch"];
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path).args(["-T", "fields", "-e", "arp.dst.proto_ipv4"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn both_directions_are_readable() {
    let path = std::env::temp_dir().join(format!("pal-io-capture-{}.pcapng", std::process::id()));
    let writer = PcapWriter::create(&path, "web-1").unwrap();
    let mut large = arp(3);
    large.resize(65_000, 0);
    let mut port = port(vec![arp(2), large]).captured(&writer);
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let mut burst = Burst::new();
    assert_eq!(port.receive.receive(&mut burst).unwrap(), 2);
    let sent = [arp(4), arp(5), arp(6)];
    let outgoing: Vec<_> = sent.iter().map(|frame| Outgoing::new(VnetHeader::default(), frame)).collect();
    let mut failures = Vec::new();
    port.transmit.transmit(&outgoing, &mut |index, error| failures.push((index, error)));
    assert_eq!(failures, [(1, TransmitError::Full)]);
    drop(port);
    let counts = Arc::clone(&writer);
    assert_eq!(counts.lost(), 0);
    drop((writer, counts));

    let lines = tshark(&path);
    std::fs::remove_file(&path).unwrap();
    let column = |index: usize| lines.iter().map(|line| line[index].as_str()).collect::<Vec<_>>();
    assert_eq!(column(0), ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.6"], "a frame not sent is not there");
    assert_eq!(column(1), ["web-1"; 4]);
    assert_eq!(column(3), ["42", "65000", "42", "42"]);
    let inbound = &column(2)[..2];
    let outbound = &column(2)[2..];
    assert!(inbound.iter().all(|way| is_direction(way, 1)), "{inbound:?}");
    assert!(outbound.iter().all(|way| is_direction(way, 2)), "{outbound:?}");
    for time in column(4) {
        let seconds: f64 = time.parse().unwrap();
        assert!((seconds - start).abs() < 60.0, "{time} is about {start}");
    }
}

/// The number as tshark prints it, decimal or hexadecimal.
fn is_direction(text: &str, direction: u32) -> bool {
    u32::from_str_radix(text.trim_start_matches("0x"), 16) == Ok(direction)
}

#[test]
fn what_the_disk_cannot_take_is_counted() {
    let writer = PcapWriter::create(Path::new("/dev/full"), "eth0").err();
    assert!(matches!(writer, Some(PortError::Capture { .. })), "the head of the file cannot be written");

    let path = std::env::temp_dir().join(format!("pal-io-losses-{}.pcapng", std::process::id()));
    let writer = PcapWriter::create(&path, "eth0").unwrap();
    let port = port(Vec::new()).captured(&writer);
    let frame = vec![0; 65_000];
    let outgoing = Outgoing::new(VnetHeader::default(), &frame);
    let mut sent = 0;
    while writer.lost() == 0 && sent < 1_000_000 {
        port.transmit.transmit(&[outgoing], &mut |_, _| {});
        sent += 1;
    }
    drop(port);
    let lost = writer.lost();
    drop(writer);
    let read = tshark(&path).len() as u64;
    std::fs::remove_file(&path).unwrap();
    assert!(lost > 0, "the queue is bounded");
    assert_eq!(read + lost, sent, "each frame is written or counted");
}
