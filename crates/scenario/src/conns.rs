//! Connections as a scenario file writes them.

use std::net::IpAddr;
use std::time::Duration;

use palisade_conntrack::{ConnView, Ids};
use palisade_packet::Direction;

use crate::notation;

/// A connection as the file writes it: `b1 tcp 10.0.1.10:40000 > 10.0.2.10:22 syn-recv 60s`.
#[derive(PartialEq, Eq)]
pub(crate) struct Seen {
    /// `ENI PROTOCOL OPENER > OTHER STATE`.
    pub(crate) flow: String,
    /// Time left; a text without one has none.
    pub(crate) left: Option<Duration>,
}

impl Seen {
    /// The time left is whatever stands at the end and reads as a time, so that `60s` and `1m` are the same.
    pub(crate) fn parse(text: &str) -> Self {
        let mut starts = text.match_indices(' ').map(|(at, _)| at);
        let split = starts.find_map(|at| Some((at, humantime::parse_duration(&text[at..]).ok()?)));
        match split {
            Some((at, left)) => Self { flow: text[..at].to_owned(), left: Some(left) },
            None => Self { flow: text.to_owned(), left: None },
        }
    }

    pub(crate) fn text(&self) -> String {
        let left = humantime::format_duration(self.left.unwrap_or_default());
        format!("[{} {left}]", self.flow)
    }
}

/// `PROTOCOL OPENER > OTHER`, with ports where there are some.
pub(crate) fn flow(conn: &ConnView) -> String {
    let end = |address: IpAddr, port: Option<u16>| match port {
        Some(port) => notation::endpoint(address, port),
        None => address.to_string(),
    };
    let (local, remote) = match conn.ids {
        Ids::Ports { local, remote } => (Some(local), Some(remote)),
        Ids::Query { .. } | Ids::None => (None, None),
    };
    let (local, remote) = (end(conn.local, local), end(conn.remote, remote));
    let protocol = match conn.protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        number => format!("proto {number}"),
    };
    match conn.origin {
        Direction::Egress => format!("{protocol} {local} > {remote}"),
        Direction::Ingress => format!("{protocol} {remote} > {local}"),
    }
}
