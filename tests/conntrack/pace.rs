//! One second of the router's stands for many of Palisade's: how many, and what that makes of the time-outs.

use std::time::Duration;

use palisade_policy::model::ConnectionTracking;

/// A packet may be sent so much later than planned, in real time. Later than that, and the trace is played again.
pub(crate) const LATEST: Duration = Duration::from_millis(300);

/// No packet of a trace is planned nearer to the end of an entry than this, in real time. The time between two packets is
/// wrong by [`LATEST`] at most, and the kernel's clock ticks every 4 ms or so: neither can turn a verdict.
pub(crate) const MARGIN: Duration = Duration::from_millis(400);

/// Virtual seconds per real second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pace(pub(crate) u32);

/// Time-outs that cannot be configured (CT-33..36) and their names behind `nf_conntrack_` in `/proc/sys/net/netfilter`.
const FIXED: [(&str, u64); 20] = [
    ("tcp_timeout_syn_sent", 120),
    ("tcp_timeout_syn_recv", 60),
    ("tcp_timeout_fin_wait", 120),
    ("tcp_timeout_close_wait", 60),
    ("tcp_timeout_last_ack", 30),
    ("tcp_timeout_time_wait", 120),
    ("tcp_timeout_close", 10),
    ("icmp_timeout", 30),
    ("icmpv6_timeout", 30),
    ("generic_timeout", 600),
    ("gre_timeout", 600),
    ("gre_timeout_stream", 600),
    ("sctp_timeout_closed", 600),
    ("sctp_timeout_cookie_wait", 600),
    ("sctp_timeout_cookie_echoed", 600),
    ("sctp_timeout_established", 600),
    ("sctp_timeout_shutdown_sent", 600),
    ("sctp_timeout_shutdown_recd", 600),
    ("sctp_timeout_shutdown_ack_sent", 600),
    ("sctp_timeout_heartbeat_sent", 600),
];

/// Time-outs that Palisade has no counterpart of, at the kernel's own values.
const KERNELS_OWN: [(&str, u64); 2] = [("tcp_timeout_max_retrans", 300), ("tcp_timeout_unacknowledged", 300)];

impl Pace {
    /// When something is to happen, in real time since the start.
    pub(crate) fn real(self, at: Duration) -> Duration {
        at / self.0
    }

    /// [`MARGIN`] in virtual time.
    pub(crate) fn margin(self) -> Duration {
        MARGIN * self.0
    }

    /// Whether the kernel, which counts whole seconds, can have this time-out.
    pub(crate) fn divides(self, time_out: Duration) -> bool {
        time_out.subsec_nanos() == 0 && time_out.as_secs().is_multiple_of(u64::from(self.0))
    }

    /// The kernel's time-outs and their names. Those that cannot be had are rounded up.
    pub(crate) fn time_outs(self, configured: &ConnectionTracking) -> Vec<(String, u64)> {
        let own = [
            ("tcp_timeout_established", configured.tcp_established.as_secs()),
            ("udp_timeout", configured.udp.as_secs()),
            ("udp_timeout_stream", configured.udp_stream.as_secs()),
        ];
        let all = own.into_iter().chain(FIXED).chain(KERNELS_OWN);
        all.map(|(name, seconds)| (name.to_owned(), seconds.div_ceil(u64::from(self.0)))).collect()
    }
}
