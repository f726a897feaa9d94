//! Small datagrams: a sender that never waits, and a receiver that counts.
//!
//! Both go by batches, because one system call per datagram would make the ends the slowest part.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt, sockopt};
use serde_json::{Value, json};

const BATCH: usize = 64;
/// Payload of a datagram in bytes; the first eight are its number.
const SIZE: usize = 64;
/// Room for what arrives while the receiver does not run, in bytes of kernel memory.
const RECEIVE_BUFFER: usize = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(6);
const SILENCE: Duration = Duration::from_millis(300);

/// Counts datagrams until none has come for [`SILENCE`]. The rate is that between the first and the last of them.
pub(crate) fn sink(port: u16) -> io::Result<Value> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
    let mut buffers = [[0; SIZE]; BATCH];
    let (mut received, mut late, mut newest) = (0_u64, 0_u64, 0_u64);
    let mut span: Option<(Instant, Instant)> = None;
    loop {
        let count = match receive(&socket, &mut headers, &mut buffers) {
            Ok(count) => count,
            Err(Errno::EAGAIN) => break,
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        if span.is_none() {
            socket.set_read_timeout(Some(SILENCE))?;
        }
        span = Some((span.map_or(now, |(first, _)| first), now));
        received += count as u64;
        for buffer in &buffers[..count] {
            let number = number_of(buffer);
            late += u64::from(number < newest);
            newest = newest.max(number);
        }
    }
    let seconds = span.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    Ok(json!({ "datagrams": received, "late": late, "seconds": seconds, "rate": rate(received, seconds) }))
}

/// Sends for so long, numbering the datagrams.
pub(crate) fn blast(to: SocketAddrV4, length: Duration) -> io::Result<Value> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
    let mut buffers = [[0; SIZE]; BATCH];
    let (start, mut sent) = (Instant::now(), 0_u64);
    while start.elapsed() < length {
        for (number, buffer) in (sent..).zip(&mut buffers) {
            buffer[..8].copy_from_slice(&number.to_be_bytes());
        }
        let slices = buffers.each_ref().map(|buffer| [IoSlice::new(buffer)]);
        match sendmmsg(socket.as_raw_fd(), &mut headers, &slices, [None; BATCH], [], MsgFlags::empty()) {
            Ok(results) => sent += results.count() as u64,
            // What the path refuses is lost, as with any other sender; the next batch tries again.
            Err(Errno::ECONNREFUSED | Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(json!({ "datagrams": sent, "seconds": seconds, "rate": rate(sent, seconds) }))
}

fn receive(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<()>,
    buffers: &mut [[u8; SIZE]; BATCH],
) -> Result<usize, Errno> {
    let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
    Ok(recvmmsg(socket.as_raw_fd(), headers, &mut slices, MsgFlags::MSG_WAITFORONE, None)?.count())
}

fn number_of(buffer: &[u8; SIZE]) -> u64 {
    buffer.first_chunk().map_or(0, |number| u64::from_be_bytes(*number))
}

#[allow(clippy::cast_precision_loss)] // fewer than 2^52 of them
pub(crate) fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
