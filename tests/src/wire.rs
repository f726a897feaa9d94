//! Frames put on and taken off an interface as they are, past the kernel's stack.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pnet::datalink::{self, Channel, Config, DataLinkReceiver, DataLinkSender};

use crate::Netns;

/// How long a test waits for a frame that must not come. Frames that must come take well under a millisecond.
pub const SILENCE: Duration = Duration::from_millis(300);

/// How long a test waits for a frame that must come, on a busy machine.
pub const SOON: Duration = Duration::from_secs(3);

/// How often a thread that only listens looks whether it is to end.
const TICK: Duration = Duration::from_millis(20);

/// Both ways of one interface, without a thread of its own: frames wait in the socket until they are fetched.
pub struct Wire {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
}

impl Wire {
    /// On an interface of the present thread's namespace.
    #[must_use]
    pub fn on(device: &str) -> Self {
        let (sender, receiver) = open(device, Duration::from_millis(1));
        Self { sender, receiver }
    }

    /// Sends one frame.
    pub fn send(&mut self, frame: &[u8]) {
        send(&mut *self.sender, frame);
    }

    /// The next frame, if one comes within a millisecond. What the wire itself sent is not among them.
    pub fn fetch(&mut self) -> Option<Vec<u8>> {
        self.receiver.next().ok().map(<[u8]>::to_vec)
    }
}

/// Sends frames out of an interface of a namespace.
pub struct Injector(Box<dyn DataLinkSender>);

impl Injector {
    /// On `eth0`.
    #[must_use]
    pub fn on(netns: &Netns) -> Self {
        Self(netns.enter(|| open("eth0", TICK).0))
    }

    /// Sends one frame.
    pub fn send(&mut self, frame: &[u8]) {
        send(&mut *self.0, frame);
    }
}

/// A virtio-net header as a guest may forge it (virtio 1.3, section 5.1.6).
#[derive(Clone, Copy, Default, Debug)]
pub struct VnetHeader {
    /// Bit 0: a partial checksum is to be completed; bit 1: the checksum is valid.
    pub flags: u8,
    /// 0: none, 1: TCP over IPv4, 4: TCP over IPv6, 5: UDP segmentation.
    pub gso_type: u8,
    /// Bytes of all headers.
    pub hdr_len: u16,
    /// Bytes of payload per segment.
    pub gso_size: u16,
    /// Where the checksum starts.
    pub csum_start: u16,
    /// Where it is to be put, from there.
    pub csum_offset: u16,
}

impl VnetHeader {
    fn bytes(&self) -> Vec<u8> {
        let words = [self.hdr_len, self.gso_size, self.csum_start, self.csum_offset];
        [self.flags, self.gso_type].into_iter().chain(words.into_iter().flat_map(u16::to_ne_bytes)).collect()
    }
}

/// Sends a frame with a virtio-net header out of `eth0`; false if the namespace's own kernel refused to.
#[must_use]
pub fn send_with_header(netns: &Netns, header: &VnetHeader, frame: &[u8]) -> bool {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/vnet_inject.py");
    let mut command = netns.command("python3");
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|why| panic!("python3: {why}"));
    let bytes = header.bytes().into_iter().chain(frame.iter().copied());
    let line = bytes.map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    child.stdin.take().expect("it was piped").write_all(line.as_bytes()).expect("the script reads its input");
    let output = child.wait_with_output().expect("the script ends with its input");
    assert!(output.status.success(), "{script} failed");
    output.stdout == b"sent\n"
}

/// Collects every frame that passes an interface, those that its own host sends included.
#[derive(Debug)]
pub struct Sniffer {
    frames: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// On `eth0`; it listens when this returns.
    #[must_use]
    pub fn on(netns: &Netns) -> Self {
        let (frames, stop) = (Arc::<Mutex<Vec<Vec<u8>>>>::default(), Arc::<AtomicBool>::default());
        let receiver = netns.enter(|| open("eth0", TICK).1);
        let (into, end) = (Arc::clone(&frames), Arc::clone(&stop));
        let thread = thread::spawn(move || collect(receiver, &into, &end));
        Self { frames, stop, thread: Some(thread) }
    }

    /// The first frame, past or to come, of which `choose` makes something.
    pub fn find<T>(&self, within: Duration, choose: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let start = Instant::now();
        loop {
            let found = self.lock().iter().find_map(|frame| choose(frame));
            if found.is_some() || start.elapsed() >= within {
                return found;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Every frame so far that carries a mark.
    #[must_use]
    pub fn marked(&self, mark: &Mark) -> Vec<Vec<u8>> {
        self.lock().iter().filter(|frame| mark.is_in(frame)).cloned().collect()
    }

    /// Whether a frame with this mark came or comes soon.
    #[must_use]
    pub fn sees(&self, mark: &Mark) -> bool {
        self.find(SOON, |frame| mark.is_in(frame).then_some(())).is_some()
    }

    /// Every frame so far.
    #[must_use]
    pub fn all(&self) -> Vec<Vec<u8>> {
        self.lock().clone()
    }

    /// Forgets what came.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sixteen bytes of payload that no other frame of the test has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark([u8; 16]);

impl Mark {
    /// A mark never given before.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let mut bytes = *b"palisade-mk-....";
        bytes[12..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Self(bytes)
    }

    /// The payload.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a frame holds it anywhere.
    #[must_use]
    pub fn is_in(&self, frame: &[u8]) -> bool {
        frame.windows(self.0.len()).any(|window| window == self.0)
    }
}

impl Default for Mark {
    fn default() -> Self {
        Self::new()
    }
}

fn send(sender: &mut dyn DataLinkSender, frame: &[u8]) {
    let sent = sender.send_to(frame, None).expect("pnet sends to raw sockets at once");
    sent.unwrap_or_else(|why| panic!("a frame of {} bytes: {why}", frame.len()));
}

fn open(device: &str, read_timeout: Duration) -> (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>) {
    let all = datalink::interfaces();
    let interface = all.iter().find(|interface| interface.name == device);
    let interface = interface.unwrap_or_else(|| panic!("no interface {device}"));
    let config = Config {
        read_timeout: Some(read_timeout),
        read_buffer_size: 1 << 17,
        write_buffer_size: 1 << 17,
        ..Config::default()
    };
    match datalink::channel(interface, config) {
        Ok(Channel::Ethernet(sender, receiver)) => (sender, receiver),
        Ok(_) => panic!("{device} is no Ethernet interface"),
        Err(why) => panic!("a packet socket on {device}: {why}"),
    }
}

fn collect(mut receiver: Box<dyn DataLinkReceiver>, into: &Mutex<Vec<Vec<u8>>>, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        if let Ok(frame) = receiver.next() {
            into.lock().unwrap_or_else(PoisonError::into_inner).push(frame.to_vec());
        }
    }
}
