//! What the model checks of this crate share: how to explore, and packets.
//!
//! Each check runs the code of the crate in every interleaving that a few preemptions make. A check that finds nothing
//! proves nothing, so each stands beside deliberately wrong variants of what it checks, and must refute every one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use palisade_packet::{IpPacket, Tcp, TcpFlags, Transport};

use crate::owner::{Owner, TimeOuts, Zone};
use crate::time::Instant;

/// The ENI of the models.
pub(crate) const OWNER: Owner = Owner { zone: Zone(1), instance: 1, max_tracked: 0, time_outs: TIME_OUTS };
pub(crate) const TIME_OUTS: TimeOuts = TimeOuts {
    tcp_established: Duration::from_secs(350),
    udp: Duration::from_secs(30),
    udp_stream: Duration::from_mins(1),
};
pub(crate) const SYN: TcpFlags = TcpFlags(2);
pub(crate) const RST: TcpFlags = TcpFlags(4);
pub(crate) const ACK: TcpFlags = TcpFlags(16);
pub(crate) const SYN_ACK: TcpFlags = TcpFlags(18);
pub(crate) const FIN_ACK: TcpFlags = TcpFlags(17);
/// When models begin.
pub(crate) const START: Instant = Instant::from_secs(1_000);

/// Runs `model` in every interleaving with up to `preemptions` switches away from a thread that could go on.
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Whether a check of something wrong ends with this complaint.
pub(crate) fn finds(complaint: &str, check: impl FnOnce()) -> bool {
    let Err(end) = catch_unwind(AssertUnwindSafe(check)) else {
        return false;
    };
    let text = end.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| end.downcast_ref::<&str>().copied()).unwrap_or_default();
    text.contains(complaint)
}

/// Two things at the same time; returns what came of both.
pub(crate) fn race<A: 'static, B>(one: impl FnOnce() -> A + 'static, other: impl FnOnce() -> B) -> (A, B) {
    let one = loom::thread::spawn(one);
    let other = other();
    (one.join().expect("a panic ends the model"), other)
}

/// Seconds after the start.
pub(crate) fn at(seconds: u64) -> Instant {
    START + Duration::from_secs(seconds)
}

/// A TCP segment that the ENI sends, with these numbers.
pub(crate) fn segment(flags: TcpFlags, sequence: u32, acknowledgement: u32) -> IpPacket {
    packet(6, |source, destination| {
        Transport::Tcp(Tcp {
            source,
            destination,
            flags,
            sequence,
            acknowledgement,
            window: 1_000,
            window_scale: None,
            header_len: 20,
        })
    })
}

/// A UDP packet that the ENI sends.
pub(crate) fn datagram() -> IpPacket {
    datagram_to(443)
}

/// A UDP packet that the ENI sends to this port.
pub(crate) fn datagram_to(port: u16) -> IpPacket {
    packet(17, |source, _| Transport::Udp { source, destination: port })
}

fn packet(protocol: u8, transport: impl FnOnce(u16, u16) -> Transport) -> IpPacket {
    IpPacket {
        source: "10.0.1.10".parse().expect("an address"),
        destination: "10.0.2.20".parse().expect("an address"),
        protocol,
        hop_limit: 64,
        dont_fragment: true,
        ip_len: 100,
        network_offset: 14,
        transport_offset: 34,
        fragment: None,
        transport: transport(40_000, 443),
    }
}
