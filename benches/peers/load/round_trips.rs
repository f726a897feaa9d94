//! Round trips: one byte there and back, one at a time.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(2);

/// Sends back what comes on one connection, until it ends.
pub(crate) fn echo(port: u16) -> io::Result<Value> {
    let (mut stream, _) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?.accept()?;
    stream.set_nodelay(true)?;
    let (mut byte, mut echoed) = ([0], 0_u64);
    while stream.read(&mut byte)? == 1 {
        stream.write_all(&byte)?;
        echoed += 1;
    }
    Ok(json!({ "echoed": echoed }))
}

/// Measures for so long; microseconds.
pub(crate) fn ask(to: SocketAddrV4, length: Duration) -> io::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&to.into(), PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut trips: Vec<Duration> = Vec::with_capacity(1 << 20);
    let (mut byte, start) = ([b'x'], Instant::now());
    let mut sent = start;
    while sent - start < length {
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        let came = Instant::now();
        trips.push(came - sent);
        sent = came;
    }
    trips.sort_unstable();
    let percentile = |per_cent: usize| {
        trips
            .get((trips.len() * per_cent / 100).min(trips.len().saturating_sub(1)))
            .map_or(0.0, |trip| trip.as_secs_f64() * 1e6)
    };
    Ok(json!({ "trips": trips.len(), "p50": percentile(50), "p90": percentile(90), "p99": percentile(99),
               "max": percentile(100) }))
}
