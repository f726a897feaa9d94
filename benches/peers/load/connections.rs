//! Connections: opened, used for one byte each way, closed.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::datagrams::rate;

/// Connections in flight, and threads at each end.
const AT_ONCE: usize = 16;
/// After which a connection has failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves for so long. This end closes first, so that it is the one with sockets in TIME-WAIT.
pub(crate) fn accept(port: u16, length: Duration) -> io::Result<Value> {
    let listener = listen(port)?;
    for _ in 0..AT_ONCE {
        let listener = listener.try_clone()?;
        thread::spawn(move || serve(&listener));
    }
    thread::sleep(length);
    Ok(json!({}))
}

/// Opens one connection after the other, [`AT_ONCE`] side by side.
pub(crate) fn connect(to: SocketAddrV4, length: Duration) -> io::Result<Value> {
    let start = Instant::now();
    let threads: Vec<_> = (0..AT_ONCE).map(|_| thread::spawn(move || drive(to, start + length))).collect();
    let (mut done, mut failed) = (0, 0);
    for thread in threads {
        let (worked, did_not) = thread.join().map_err(|_| io::Error::other("a thread panicked"))?;
        done += worked;
        failed += did_not;
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(json!({ "connections": done, "failed": failed, "seconds": seconds, "rate": rate(done, seconds) }))
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn serve(listener: &TcpListener) {
    let mut byte = [0];
    while let Ok((mut stream, _)) = listener.accept() {
        // A client that gives up is counted at its own end.
        let _ = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.read_exact(&mut byte))
            .and_then(|()| stream.write_all(&byte));
    }
}

/// How many connections worked, and how many did not.
fn drive(to: SocketAddrV4, end: Instant) -> (u64, u64) {
    let (mut done, mut failed) = (0, 0);
    while Instant::now() < end {
        match exchange(to) {
            Ok(()) => done += 1,
            Err(_) => failed += 1,
        }
    }
    (done, failed)
}

fn exchange(to: SocketAddrV4) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_write_timeout(Some(PATIENCE))?; // of connect, too
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&to.into())?;
    let mut stream = TcpStream::from(socket);
    let mut byte = [b'x'];
    stream.write_all(&byte)?;
    stream.read_exact(&mut byte)?;
    match stream.read(&mut byte)? {
        0 => Ok(()),
        _ => Err(io::Error::other("more than was sent came back")),
    }
}
