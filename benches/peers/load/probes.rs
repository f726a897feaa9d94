//! Probes: does a port answer through the filter between?

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// A protocol and a port.
#[derive(Clone, Copy)]
pub(crate) enum Probe {
    /// A connection and a byte each way.
    Tcp(u16),
    /// A datagram each way.
    Udp(u16),
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not tcp:PORT or udp:PORT");
        let (protocol, port) = text.split_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        match protocol {
            "tcp" => Ok(Self::Tcp(port)),
            "udp" => Ok(Self::Udp(port)),
            _ => Err(wrong()),
        }
    }
}

impl Probe {
    fn name(self) -> String {
        match self {
            Self::Tcp(port) => format!("tcp:{port}"),
            Self::Udp(port) => format!("udp:{port}"),
        }
    }
}

/// Answers on all these ports for so long.
pub(crate) fn answer(ports: &[Probe], length: Duration) -> io::Result<Value> {
    for port in ports {
        match *port {
            Probe::Tcp(port) => {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
                thread::spawn(move || answer_connections(&listener));
            }
            Probe::Udp(port) => {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
                thread::spawn(move || answer_datagrams(&socket));
            }
        }
    }
    thread::sleep(length);
    Ok(json!({}))
}

/// Of each port: `answered`, `refused` or `silent`.
pub(crate) fn probe(host: Ipv4Addr, ports: &[Probe], patience: Duration) -> io::Result<Value> {
    let asking: Vec<_> =
        ports.iter().map(|&port| (port.name(), thread::spawn(move || ask(host, port, patience)))).collect();
    let mut seen = Map::new();
    for (name, thread) in asking {
        let answer = thread.join().map_err(|_| io::Error::other("a thread panicked"))?;
        seen.insert(name, outcome(answer)?.into());
    }
    Ok(Value::Object(seen))
}

fn answer_connections(listener: &TcpListener) {
    let mut byte = [0];
    while let Ok((mut stream, _)) = listener.accept() {
        // Whoever probed sees what became of it.
        let _ = stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .and_then(|()| stream.read_exact(&mut byte))
            .and_then(|()| stream.write_all(&byte));
    }
}

fn answer_datagrams(socket: &UdpSocket) {
    let mut byte = [0];
    while let Ok((_, from)) = socket.recv_from(&mut byte) {
        let _ = socket.send_to(&byte, from);
    }
}

fn ask(host: Ipv4Addr, port: Probe, patience: Duration) -> io::Result<()> {
    let mut byte = [b'x'];
    match port {
        Probe::Tcp(port) => {
            let mut stream = TcpStream::connect_timeout(&SocketAddrV4::new(host, port).into(), patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(&byte)?;
            stream.read_exact(&mut byte)
        }
        Probe::Udp(port) => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((host, port))?;
            socket.set_read_timeout(Some(patience))?;
            socket.send(&byte)?;
            socket.recv(&mut byte).map(|_| ())
        }
    }
}

fn outcome(answer: io::Result<()>) -> io::Result<&'static str> {
    match answer.map_err(|error| (error.kind(), error)) {
        Ok(()) => Ok("answered"),
        Err((ErrorKind::TimedOut | ErrorKind::WouldBlock, _)) => Ok("silent"),
        Err((ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset, _)) => Ok("refused"),
        Err((_, error)) => Err(error),
    }
}
