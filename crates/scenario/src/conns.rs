//! Connections as a scenario file writes them: `b1 tcp 10.0.1.10:40000 > 10.0.2.10:22 syn-recv 60s`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use palisade_conntrack::{ConnView, Ids};
use palisade_packet::Direction;
use palisade_policy::Snapshot;

/// A connection entry: `ENI PROTOCOL OPENER > OTHER [id N] STATE LEFT`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conn {
    /// Name of the ENI.
    eni: String,
    /// Protocol number.
    protocol: u8,
    opener: End,
    other: End,
    /// Identifier of an ICMP query; a text may leave it out.
    identifier: Option<u16>,
    /// Name of the state.
    state: String,
    /// Time until it ends if no packet comes.
    left: Duration,
}

/// An address, and a port where there are some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Address(IpAddr),
    Port(SocketAddr),
}

/// Names of the states, as the table tells them.
const STATES: [&str; 13] = [
    "syn-sent",
    "syn-sent2",
    "syn-recv",
    "established",
    "fin-wait",
    "close-wait",
    "last-ack",
    "time-wait",
    "close",
    "udp-single",
    "udp-stream",
    "icmp",
    "other",
];
const NAMED: [(&str, u8); 4] = [("icmp", 1), ("tcp", 6), ("udp", 17), ("icmpv6", 58)];

impl Conn {
    /// An entry of the table, seen from whoever opened it.
    pub(crate) fn of(snapshot: &Snapshot, conn: &ConnView) -> Self {
        let eni = snapshot.enis().iter().find(|eni| eni.key.0 == conn.zone.0);
        let eni = eni.map_or("?", |eni| snapshot.vpc()[eni.index].name.as_str()).to_owned();
        let (local, remote, identifier) = match conn.ids {
            Ids::Ports { local, remote } => {
                let end = |address, port| End::Port(SocketAddr::new(address, port));
                (end(conn.local, local), end(conn.remote, remote), None)
            }
            Ids::Query { identifier, .. } => {
                (End::Address(conn.local), End::Address(conn.remote), Some(identifier))
            }
            Ids::None => (End::Address(conn.local), End::Address(conn.remote), None),
        };
        let (opener, other) = match conn.origin {
            Direction::Egress => (local, remote),
            Direction::Ingress => (remote, local),
        };
        let (protocol, state, left) = (conn.protocol, conn.state.to_owned(), conn.left);
        Self { eni, protocol, opener, other, identifier, state, left }
    }

    /// Whether an entry that is seen is the one that is written.
    pub(crate) fn is(&self, seen: &Self) -> bool {
        let identifier = self.identifier.or(seen.identifier);
        Self { identifier, ..self.clone() } == *seen
    }
}

const FORM: &str = "`ENI PROTOCOL OPENER > OTHER [id N] STATE LEFT`, such as \
                    `b1 tcp 10.0.1.10:40000 > 10.0.2.10:22 established 5days`";

impl FromStr for Conn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not a connection, {FORM}");
        let (flow, rest) = text.split_once(" > ").ok_or_else(form)?;
        let [eni, protocol @ .., opener] = &*flow.split_whitespace().collect::<Vec<_>>() else {
            return Err(form());
        };
        let mut rest = rest.split_whitespace();
        let mut next = || rest.next().ok_or_else(form);
        let (other, mut state, mut identifier) = (next()?, next()?, None);
        if state == "id" {
            identifier = Some(next()?.parse().map_err(|_| form())?);
            state = next()?;
        }
        if !STATES.contains(&state) {
            return Err(format!("`{state}` is not a state; one of: {}", STATES.join(", ")));
        }
        let left: Vec<&str> = rest.collect();
        Ok(Self {
            eni: (*eni).to_owned(),
            protocol: protocol_number(protocol).ok_or_else(form)?,
            opener: opener.parse().map_err(|()| form())?,
            other: other.parse().map_err(|()| form())?,
            identifier,
            state: state.to_owned(),
            left: humantime::parse_duration(&left.join(" ")).map_err(|_| form())?,
        })
    }
}

fn protocol_number(words: &[&str]) -> Option<u8> {
    match words {
        ["proto", number] => number.parse().ok(),
        [name] => NAMED.iter().find(|(known, _)| known == name).map(|(_, number)| *number),
        _ => None,
    }
}

impl FromStr for End {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let address = text.parse().map(Self::Address);
        address.or_else(|_| text.parse().map(Self::Port)).map_err(|_| ())
    }
}

impl fmt::Display for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { eni, protocol, opener, other, identifier, state, left } = self;
        match NAMED.iter().find(|(_, number)| number == protocol) {
            Some((name, _)) => write!(f, "{eni} {name} ")?,
            None => write!(f, "{eni} proto {protocol} ")?,
        }
        write!(f, "{opener} > {other} ")?;
        identifier.iter().try_for_each(|identifier| write!(f, "id {identifier} "))?;
        write!(f, "{state} {}", humantime::format_duration(*left))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Port(end) => end.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(text: &str) -> Conn {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in [
            "b1 tcp 10.0.1.10:40000 > 10.0.2.10:22 syn-recv 1m",
            "b1 udp [2001:db8::1]:1 > [2001:db8::2]:53 udp-stream 3m",
            "a1 proto 47 10.0.1.10 > 10.0.2.10 other 10m",
            "a1 icmp 10.0.1.10 > 10.0.2.10 id 7 icmp 30s",
        ] {
            assert_eq!(conn(text).to_string(), text);
        }
    }

    #[test]
    fn the_same_is_the_same_however_it_is_written() {
        let same = conn("b1 tcp [2001:db8:0:0::1]:1 > [2001:db8::2]:2 established 432000s");
        assert!(same.is(&conn("b1 tcp [2001:db8::1]:1 > [2001:db8::2]:2 established 5days")));
        let query = conn("a1 icmp 10.0.1.10 > 10.0.2.10 icmp 30s");
        assert!(query.is(&conn("a1 icmp 10.0.1.10 > 10.0.2.10 id 7 icmp 30s")));
        let other = conn("a1 icmp 10.0.1.10 > 10.0.2.10 id 8 icmp 30s");
        assert!(!other.is(&conn("a1 icmp 10.0.1.10 > 10.0.2.10 id 7 icmp 30s")));
        assert!(!query.is(&conn("a1 icmp 10.0.2.10 > 10.0.1.10 id 7 icmp 30s")));
    }

    #[test]
    fn what_is_no_connection_is_refused() {
        for (text, why) in [
            ("b1 tcp 10.0.1.10:1 > 10.0.2.10:22 established", "is not a connection, `ENI PROTOCOL"),
            ("b1 tcp 10.0.1.10:1 > 10.0.2.10:22 alive 5s", "is not a state; one of: syn-sent"),
            ("b1 tpc 10.0.1.10:1 > 10.0.2.10:22 established 5s", "is not a connection"),
            ("tcp 10.0.1.10:1 > 10.0.2.10:22 established 5s", "is not a connection"),
            ("b1 tcp 10.0.1.10:1 10.0.2.10:22 established 5s", "is not a connection"),
            ("b1 tcp 10.0.1.10:1 > 10.0.2.10:22 established soon", "is not a connection"),
        ] {
            let error = text.parse::<Conn>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
