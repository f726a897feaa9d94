//! Namespaces, commands and a cross-connect for the tests on real devices. They need root and fail without it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use palisade_io::{
    Burst, FrameInfo, NetworkSetup, Outgoing, PacketSpec, Port, PortError, TakeoverMethod, TapSpec, Transmit,
    open_packet, open_tap,
};
use palisade_packet::{MacAddr, VnetHeader};
use pnet::datalink::Channel;

/// A network namespace that is deleted with this value.
pub(crate) struct Netns {
    pub(crate) name: String,
}

impl Netns {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pal-io-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let made = Command::new("ip").args(["netns", "add", &name]).output().unwrap();
        assert!(made.status.success(), "these tests need root: {}", String::from_utf8_lossy(&made.stderr));
        let netns = Self { name };
        netns.ip("link set lo up");
        netns
    }

    /// Runs `ip` here and returns what it prints.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let output = self.try_run(&format!("ip {arguments}"));
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `ip -j` here and returns what it prints.
    pub(crate) fn ip_json(&self, arguments: &str) -> serde_json::Value {
        serde_json::from_str(&self.ip(&format!("-j {arguments}"))).unwrap()
    }

    /// Runs a command here.
    pub(crate) fn try_run(&self, command: &str) -> Output {
        let words = command.split_whitespace();
        Command::new("ip").args(["netns", "exec", &self.name]).args(words).output().unwrap()
    }

    /// Whether a command succeeds here.
    pub(crate) fn succeeds(&self, command: &str) -> bool {
        self.try_run(command).status.success()
    }

    /// Runs a function on a thread inside.
    pub(crate) fn inside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }

    /// Sends frames by an interface, past this namespace's own stack.
    pub(crate) fn inject(&self, device: &str, frames: Vec<Vec<u8>>) {
        let device = device.to_owned();
        let injector = self.inside(move || {
            let interfaces = pnet::datalink::interfaces();
            let interface = interfaces.iter().find(|interface| interface.name == device).unwrap();
            let channel = pnet::datalink::channel(interface, pnet::datalink::Config::default()).unwrap();
            let Channel::Ethernet(mut sender, _) = channel else { unreachable!("the default is Ethernet") };
            for frame in &frames {
                sender.send_to(frame, None).unwrap().unwrap();
            }
        });
        injector.join().unwrap();
    }

    /// Frames that an interface has received.
    pub(crate) fn received(&self, device: &str) -> u64 {
        self.ip_json(&format!("-s link show {device}"))[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
    }

    /// Index of an interface.
    pub(crate) fn index(&self, device: &str) -> u32 {
        let index = self.ip_json(&format!("link show {device}"))[0]["ifindex"].as_u64().unwrap();
        u32::try_from(index).unwrap()
    }

    /// IPv6 link-local address of an interface, once it has one.
    pub(crate) fn link_local(&self, device: &str) -> String {
        within("a link-local address", || {
            let shown = self.ip_json(&format!("-6 addr show dev {device} scope link -tentative"));
            shown[0]["addr_info"]
                .as_array()?
                .iter()
                .find_map(|info| info["local"].as_str().map(str::to_owned))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Tries until there is a value, 20 seconds at most.
///
/// Whatever is expected to happen is waited for: a process that another thread is starting holds a copy of every
/// descriptor until it runs its program, and a neighbour may just be probed.
pub(crate) fn within<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "no {what} within 20 s");
        thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) const MTU: u16 = 1500;

/// A TAP `eth0` with offload and one address.
pub(crate) fn tap_spec(netns: &Netns, address: &str) -> TapSpec {
    TapSpec {
        device: "eth0".to_owned(),
        netns: Some(netns.name.clone()),
        mac: MacAddr([2, 0, 0, 0, 0, address.bytes().fold(7, u8::wrapping_add)]),
        mtu: MTU,
        offload: true,
        setup: Some(NetworkSetup { addresses: vec![address.parse().unwrap()], ..NetworkSetup::default() }),
    }
}

/// A veth whose host end is `device` in `host` and whose guest end is `eth0` in `guest`, both up.
pub(crate) fn veth(host: &Netns, device: &str, guest: &Netns) {
    host.ip(&format!("link add {device} type veth peer name eth0 netns {}", guest.name));
    host.ip(&format!("link set {device} up"));
    guest.ip("link set eth0 up");
}

/// The host end of a veth, with offload.
pub(crate) fn packet_spec(host: &Netns, device: &str) -> PacketSpec {
    PacketSpec {
        device: device.to_owned(),
        netns: Some(host.name.clone()),
        mtu: MTU,
        offload: true,
        takeover: TakeoverMethod::Auto,
    }
}

/// Kinds of port that a guest can be attached by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tap,
    Packet,
}

/// Attaches `guest` and gives it an address.
pub(crate) fn attach(kind: Kind, host: &Netns, guest: &Netns, address: &str) -> Port {
    match kind {
        Kind::Tap => open_tap(&tap_spec(guest, address)).unwrap(),
        Kind::Packet => {
            let device = format!("h{}", guest.name.rsplit('-').next().unwrap());
            veth(host, &device, guest);
            guest.ip(&format!("addr add {address} dev eth0 nodad"));
            open_packet(&packet_spec(host, &device)).unwrap()
        }
    }
}

/// Takes an interface over that a port may just have given back.
pub(crate) fn open_again(spec: &PacketSpec) -> Port {
    within("free interface", || match open_packet(spec) {
        Err(PortError::PacketBusy { .. }) => None,
        opened => Some(opened.unwrap()),
    })
}

/// What a cross-connect has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) longest: AtomicU64,
    pub(crate) segmented: AtomicU64,
    pub(crate) partial: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) truncated: AtomicU64,
}

/// Joins two ports on a thread until it is dropped.
pub(crate) struct CrossConnect {
    pub(crate) seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CrossConnect {
    pub(crate) fn new(mut a: Port, mut b: Port) -> Self {
        let seen = Arc::new(Seen::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (see, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut burst = Burst::new();
            while !stopped.load(Ordering::Relaxed) {
                let there = step(&mut a, &*b.transmit, &mut burst, &see);
                let back = step(&mut b, &*a.transmit, &mut burst, &see);
                if there + back == 0 {
                    let mut ready = [&a, &b].map(|port| PollFd::new(port.receive.as_fd(), PollFlags::POLLIN));
                    poll(&mut ready, PollTimeout::from(50u8)).unwrap();
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }
}

impl Drop for CrossConnect {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let result = self.thread.take().unwrap().join();
        if !thread::panicking() {
            result.unwrap();
        }
    }
}

fn step(from: &mut Port, to: &dyn Transmit, burst: &mut Burst, seen: &Seen) -> usize {
    let received = from.receive.receive(burst).unwrap();
    for (frame, info) in burst.iter() {
        seen.longest.fetch_max(frame.len() as u64, Ordering::Relaxed);
        seen.segmented.fetch_add(u64::from(info.vnet.gso_type != VnetHeader::GSO_NONE), Ordering::Relaxed);
        let partial = info.vnet.flags & VnetHeader::NEEDS_CSUM != 0;
        seen.partial.fetch_add(u64::from(partial), Ordering::Relaxed);
        seen.truncated.fetch_add(u64::from(info.truncated), Ordering::Relaxed);
    }
    let outgoing: Vec<_> = burst.iter().map(|(frame, info)| Outgoing::new(info.vnet, frame)).collect();
    to.transmit(&outgoing, &mut |_, _| {
        seen.failed.fetch_add(1, Ordering::Relaxed);
    });
    received
}

/// Sends bytes over TCP from one namespace to an address of another and checks each that arrives.
pub(crate) fn transfer(from: &Netns, to: &Netns, address: SocketAddr, bytes: usize) {
    let listener = to.inside(move || TcpListener::bind(address).unwrap()).join().unwrap();
    let receiver = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            let read = stream.read(&mut buffer).unwrap();
            if read == 0 {
                return at;
            }
            let intact = buffer[..read].iter().zip(at..).all(|(byte, position)| *byte == pattern(position));
            assert!(intact, "corrupted between {at} and {}", at + read);
            at += read;
        }
    });
    let sender = from.inside(move || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        let data: Vec<u8> = (0..bytes).map(pattern).collect();
        stream.write_all(&data).unwrap();
    });
    sender.join().unwrap();
    assert_eq!(receiver.join().unwrap(), bytes);
}

/// A byte that depends on every bit of its position, so that segments in the wrong place show.
fn pattern(position: usize) -> u8 {
    (position.wrapping_mul(0x9e37_79b9) >> 13).to_le_bytes()[0]
}

/// Receives until a frame fits the description, as long as [`within`] tries.
pub(crate) fn receive_until<T>(
    port: &mut Port,
    what: &str,
    mut pick: impl FnMut(&[u8], FrameInfo) -> Option<T>,
) -> T {
    let mut burst = Burst::new();
    within(what, || {
        port.receive.receive(&mut burst).unwrap();
        burst.iter().find_map(|(frame, info)| pick(frame, info))
    })
}

/// Sends one frame and returns what became of it.
pub(crate) fn send(port: &Port, vnet: VnetHeader, frame: &[u8]) -> Result<(), palisade_io::TransmitError> {
    let mut result = Ok(());
    port.transmit.transmit(&[Outgoing::new(vnet, frame)], &mut |_, error| result = Err(error));
    result
}

/// An ARP request to everybody.
pub(crate) fn arp_request(source: MacAddr, from: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = MacAddr::BROADCAST.0.to_vec();
    frame.extend(source.0);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(source.0);
    frame.extend(from);
    frame.extend([0; 6]);
    frame.extend(target);
    frame
}

/// Whether a frame is an ARP reply.
pub(crate) fn is_arp_reply(frame: &[u8]) -> bool {
    frame.len() >= 42 && frame[12..14] == [0x08, 0x06] && frame[20..22] == [0, 2]
}

/// Receives until that fails, as long as [`within`] tries.
pub(crate) fn receive_until_error(port: &mut Port) -> std::io::Error {
    let mut burst = Burst::new();
    within("error", || port.receive.receive(&mut burst).err())
}
