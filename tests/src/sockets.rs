//! TCP and UDP by the kernel's sockets inside a namespace.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Netns;

const TICK: Duration = Duration::from_millis(20);

/// What came of an attempt to open a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// Established.
    Open,
    /// A reset came back: the packet reached the guest and nobody listens.
    Closed,
    /// Nothing came back.
    Filtered,
}

/// Servers that echo what they are sent, on all addresses of a namespace, until dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    accepted: Arc<AtomicUsize>,
}

impl Echo {
    /// Listens on TCP ports, both families.
    #[must_use]
    pub fn tcp(netns: &Netns, ports: &[u16]) -> Self {
        let mut echo = Self::new();
        for &port in ports {
            let listener = netns.enter(move || TcpListener::bind(("::", port)));
            let listener = listener.unwrap_or_else(|why| panic!("TCP port {port}: {why}"));
            listener.set_nonblocking(true).expect("a listening socket");
            let (stop, accepted) = (Arc::clone(&echo.stop), Arc::clone(&echo.accepted));
            echo.threads.push(thread::spawn(move || serve_tcp(&listener, &stop, &accepted)));
        }
        echo
    }

    /// Answers datagrams on UDP ports of one address.
    #[must_use]
    pub fn udp(netns: &Netns, address: IpAddr, ports: &[u16]) -> Self {
        let mut echo = Self::new();
        for &port in ports {
            let socket = bind_udp(netns, SocketAddr::new(address, port), TICK);
            let (stop, accepted) = (Arc::clone(&echo.stop), Arc::clone(&echo.accepted));
            echo.threads.push(thread::spawn(move || serve_udp(&socket, &stop, &accepted)));
        }
        echo
    }

    /// Connections or datagrams that arrived.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    fn new() -> Self {
        Self { stop: Arc::default(), threads: Vec::new(), accepted: Arc::default() }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A TCP connection whose other end echoes.
#[derive(Debug)]
pub struct Conversation(TcpStream);

impl Conversation {
    /// Opens one from a namespace.
    ///
    /// # Errors
    /// As `connect`, a time-out after two seconds among them.
    pub fn open(netns: &Netns, to: SocketAddr) -> std::io::Result<Self> {
        netns.enter(|| TcpStream::connect_timeout(&to, Duration::from_secs(2))).map(Self)
    }

    /// The port on this side.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("a connected socket").port()
    }

    /// Whether a word comes back within the time.
    pub fn says(&mut self, word: &str, within: Duration) -> bool {
        self.0.set_read_timeout(Some(within)).expect("a positive time-out");
        let mut back = vec![0; word.len()];
        self.0.write_all(word.as_bytes()).is_ok()
            && self.0.read_exact(&mut back).is_ok()
            && back == word.as_bytes()
    }
}

/// Tries to open a TCP connection within a time.
#[must_use]
pub fn attempt(netns: &Netns, to: SocketAddr, within: Duration) -> Attempt {
    match netns.enter(|| TcpStream::connect_timeout(&to, within)) {
        Ok(_) => Attempt::Open,
        Err(why) if why.kind() == ErrorKind::ConnectionRefused => Attempt::Closed,
        Err(_) => Attempt::Filtered,
    }
}

/// The TCP ports of an address to which a connection can be opened, all tried at once.
#[must_use]
pub fn open_tcp(netns: &Netns, to: IpAddr, ports: &[u16], within: Duration) -> Vec<u16> {
    at_once(ports, |port| attempt(netns, SocketAddr::new(to, port), within) == Attempt::Open)
}

/// The UDP ports of an address from which an echo comes back, all tried at once.
#[must_use]
pub fn open_udp(netns: &Netns, to: IpAddr, ports: &[u16], within: Duration) -> Vec<u16> {
    at_once(ports, |port| {
        let any: SocketAddr = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }.parse().expect("an address");
        let socket = bind_udp(netns, any, within);
        let sent = socket.send_to(b"echo", SocketAddr::new(to, port));
        sent.is_ok()
            && socket.recv_from(&mut [0; 16]).is_ok_and(|(_, from)| from == SocketAddr::new(to, port))
    })
}

/// A UDP socket of a namespace with a receive time-out.
#[must_use]
pub fn bind_udp(netns: &Netns, address: SocketAddr, timeout: Duration) -> UdpSocket {
    let socket = netns.enter(|| UdpSocket::bind(address));
    let socket = socket.unwrap_or_else(|why| panic!("UDP {address}: {why}"));
    socket.set_read_timeout(Some(timeout)).expect("a positive time-out");
    socket
}

fn at_once(ports: &[u16], is_open: impl Fn(u16) -> bool + Sync) -> Vec<u16> {
    let is_open = &is_open;
    thread::scope(|scope| {
        let tries: Vec<_> = ports.iter().map(|&port| (port, scope.spawn(move || is_open(port)))).collect();
        let open = tries.into_iter().filter_map(|(port, tried)| tried.join().ok()?.then_some(port));
        open.collect()
    })
}

fn serve_tcp(listener: &TcpListener, stop: &Arc<AtomicBool>, accepted: &AtomicUsize) {
    let mut busy = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                accepted.fetch_add(1, Ordering::Relaxed);
                let stop = Arc::clone(stop);
                busy.push(thread::spawn(move || echo_stream(stream, &stop)));
            }
            Err(_) => thread::sleep(TICK / 4),
        }
    }
    for thread in busy {
        let _ = thread.join();
    }
}

fn echo_stream(mut stream: TcpStream, stop: &AtomicBool) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(TICK));
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let _ = stream.write_all(&buffer[..length]);
            }
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

fn serve_udp(socket: &UdpSocket, stop: &AtomicBool, accepted: &AtomicUsize) {
    let mut buffer = [0; 9216];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            accepted.fetch_add(1, Ordering::Relaxed);
            let _ = socket.send_to(&buffer[..length], from);
        }
    }
}
