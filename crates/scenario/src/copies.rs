//! Mirror copies: what a scenario expects of them, and what arrived (TM-30..37).

use std::fmt;
use std::str::FromStr;

use palisade_packet::{Body, ETHERNET_LEN, IpPacket, MacAddr, Transport, VnetHeader, checksum, parse};
use palisade_policy::model::MirrorSession;
use palisade_policy::{MirrorTo, PortKey, Snapshot};

use crate::answer;
use crate::notation::Frame;
use crate::stage::Arrival;

/// UDP port that copies are sent to.
const PORT: u16 = 4789;
/// Offset of the VXLAN header in a copy, and of the copied frame.
const VXLAN: usize = ETHERNET_LEN + 20 + 8;
const INNER: usize = VXLAN + 8;

/// A copy that must arrive: `SESSION > PORT [WORD …]`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Copy {
    /// Name of the session.
    session: String,
    /// Who gets it: the name of an ENI, or `service` and the name of a service.
    to: String,
    /// `vni N`.
    vni: Option<u32>,
    /// `outer ADDRESS ADDRESS`: source and destination.
    outer: Option<(String, String)>,
    /// `outer-link FROM TO`: MAC addresses.
    outer_link: Option<(String, String)>,
    /// `link FROM TO`: MAC addresses of the copied frame.
    link: Option<(String, String)>,
    /// `len N`: bytes of the copied frame.
    len: Option<usize>,
    /// `same`, or `first N`: the first bytes of the frame that was sent, MAC addresses aside, and no more.
    first: Option<usize>,
}

/// A copy that arrived.
pub(crate) struct Opened<'a> {
    session: String,
    to: String,
    vni: u32,
    outer: (String, String),
    outer_link: (String, String),
    link: (String, String),
    inner: &'a [u8],
    /// What is wrong with its envelope.
    fault: Option<&'static str>,
}

/// Whether a frame that arrived is the copy of a mirror session, rather than a packet that somebody has sent.
#[must_use]
pub fn is_copy(snapshot: &Snapshot, arrival: &Arrival) -> bool {
    Opened::of(snapshot, arrival).is_some()
}

impl<'a> Opened<'a> {
    /// Reads a copy; `None`: it is none of a session's.
    pub(crate) fn of(snapshot: &Snapshot, arrival: &'a Arrival) -> Option<Self> {
        let bytes = &*arrival.bytes;
        let Body::Ip(ip) = parse(bytes).ok()?.body else { return None };
        let Transport::Udp { source: port, destination: PORT } = ip.transport else { return None };
        let (header, inner) = (bytes.get(VXLAN..INNER)?, bytes.get(INNER..)?);
        let vni = u32::from_be_bytes([0, header[4], header[5], header[6]]);
        let session = session(snapshot, arrival.port, &ip, vni)?;
        Some(Self {
            session: session.name.clone(),
            to: name(snapshot, arrival.port),
            vni,
            outer: (ip.source.to_string(), ip.destination.to_string()),
            outer_link: link(snapshot, bytes),
            link: link(snapshot, inner),
            inner,
            fault: fault(arrival, &ip, port),
        })
    }

    /// What is not as it must be of every copy of a frame.
    pub(crate) fn fault(&self, sent: &Frame) -> Option<&'static str> {
        let left_to_others = sent.vnet.flags & VnetHeader::NEEDS_CSUM != 0;
        let valid = || {
            let Ok(Body::Ip(ip)) = parse(self.inner).map(|summary| summary.body) else { return true };
            checksum::transport_is_valid(self.inner, &ip) && checksum::header_is_valid(self.inner, &ip)
        };
        self.fault.or_else(|| (left_to_others && !valid()).then_some("a wrong checksum in the copied frame"))
    }

    /// The copy in the words that an expectation has, as far as the other one uses them.
    pub(crate) fn tell(&self, wanted: Option<&Copy>, sent: &Frame) -> Copy {
        let asked = |word: fn(&Copy) -> bool| wanted.is_none_or(word);
        let pair = |pair: &(String, String)| pair.clone();
        let kept = self.inner.len();
        let is_beginning = sent.bytes.get(12..kept).is_some_and(|bytes| self.inner.get(12..) == Some(bytes))
            || (kept < 12 && kept <= sent.bytes.len());
        Copy {
            session: self.session.clone(),
            to: self.to.clone(),
            vni: asked(|copy| copy.vni.is_some()).then_some(self.vni),
            outer: asked(|copy| copy.outer.is_some()).then(|| pair(&self.outer)),
            outer_link: asked(|copy| copy.outer_link.is_some()).then(|| pair(&self.outer_link)),
            link: asked(|copy| copy.link.is_some()).then(|| pair(&self.link)),
            len: asked(|copy| copy.len.is_some()).then_some(kept),
            first: (asked(|copy| copy.first.is_some()) && is_beginning)
                .then_some(if kept == sent.bytes.len() { usize::MAX } else { kept }),
        }
    }

    pub(crate) fn to(&self) -> &str {
        &self.to
    }
}

impl Copy {
    pub(crate) fn to(&self) -> &str {
        &self.to
    }
}

/// The session whose copies look so and arrive there.
fn session<'s>(snapshot: &'s Snapshot, at: PortKey, ip: &IpPacket, vni: u32) -> Option<&'s MirrorSession> {
    let plans = snapshot.enis().iter().filter_map(|eni| eni.mirror.as_ref());
    let mut sessions = plans.flat_map(|plan| plan.sessions());
    let (_, index) = sessions.find(|(session, _)| {
        let to = match session.to {
            MirrorTo::Eni(key) => PortKey::Eni(key),
            MirrorTo::Service(key) => PortKey::Service(key),
        };
        (session.vni, to) == (vni, at)
            && ip.source == std::net::IpAddr::V4(session.source)
            && ip.destination == std::net::IpAddr::V4(session.destination)
    })?;
    Some(&snapshot.vpc()[index])
}

/// TM-32, TM-33, TM-34.
fn fault(arrival: &Arrival, ip: &IpPacket, port: u16) -> Option<&'static str> {
    let bytes = &*arrival.bytes;
    let udp = bytes.get(VXLAN - 8..VXLAN).unwrap_or_default();
    let vxlan = bytes.get(VXLAN..INNER).unwrap_or_default();
    let faults = [
        (arrival.vnet.gso_type != 0, "copies in one segmentation-offload frame"),
        (bytes.len() != ETHERNET_LEN + ip.ip_len as usize, "a copy with something behind it"),
        (!checksum::header_is_valid(bytes, ip), "a wrong checksum of the outer header"),
        (ip.dont_fragment || ip.hop_limit != 64 || bytes.get(15) != Some(&0), "DF, TTL or DSCP (TM-34)"),
        (port < 49_152, "a source port below 49152 (TM-32)"),
        (udp.get(6..8) != Some(&[0, 0]), "a UDP checksum (TM-32)"),
        (vxlan.get(..4) != Some(&[8, 0, 0, 0]) || vxlan.get(7) != Some(&0), "flags of VXLAN (TM-33)"),
    ];
    faults.iter().find(|(found, _)| *found).map(|(_, what)| *what)
}

fn link(snapshot: &Snapshot, frame: &[u8]) -> (String, String) {
    let mac = |at: usize| {
        let octets = frame.get(at..at + 6).and_then(|octets| octets.try_into().ok());
        octets.map_or_else(|| "nobody".to_owned(), |octets| answer::owner(snapshot, MacAddr(octets)))
    };
    (mac(6), mac(0))
}

fn name(snapshot: &Snapshot, port: PortKey) -> String {
    crate::judge::name(snapshot, port)
}

impl FromStr for Copy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "`SESSION > PORT [vni N] [outer ADDRESS ADDRESS] [outer-link FROM TO] [link FROM TO] [len N] [same] [first N]`";
        let mut words = text.split_whitespace();
        let mut read = || {
            let session = words.next()?.to_owned();
            (words.next()? == ">").then_some(())?;
            let to = match words.next()? {
                "service" => format!("service {}", words.next()?),
                eni => eni.to_owned(),
            };
            let mut copy = Self { session, to, ..Self::default() };
            while let Some(word) = words.next() {
                let mut pair = || Some((words.next()?.to_owned(), words.next()?.to_owned()));
                match word {
                    "vni" => copy.vni = Some(words.next()?.parse().ok()?),
                    "outer" => copy.outer = Some(pair()?),
                    "outer-link" => copy.outer_link = Some(pair()?),
                    "link" => copy.link = Some(pair()?),
                    "len" => copy.len = Some(words.next()?.parse().ok()?),
                    "same" => copy.first = Some(usize::MAX),
                    "first" => copy.first = Some(words.next()?.parse().ok()?),
                    _ => return None,
                }
            }
            Some(copy)
        };
        read().ok_or_else(|| format!("`{text}` is not a copy, {FORM}"))
    }
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, to, vni, outer, outer_link, link, len, first } = self;
        write!(f, "{session} > {to}")?;
        vni.iter().try_for_each(|vni| write!(f, " vni {vni}"))?;
        for (word, pair) in [("outer", outer), ("outer-link", outer_link), ("link", link)] {
            pair.iter().try_for_each(|(from, to)| write!(f, " {word} {from} {to}"))?;
        }
        len.iter().try_for_each(|len| write!(f, " len {len}"))?;
        match first {
            None => Ok(()),
            Some(usize::MAX) => f.write_str(" same"),
            Some(first) => write!(f, " first {first}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in [
            "s1 > ids",
            "s1 > service collector vni 7 outer 10.0.1.10 10.0.1.20 outer-link router ids link a1 b1 len 74 same",
            "s1 > ids first 100",
        ] {
            assert_eq!(text.parse::<Copy>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "s1", "s1 ids", "s1 > ids vni x", "s1 > ids link a", "s1 > ids whole"] {
            assert!(text.parse::<Copy>().unwrap_err().contains("is not a copy, `SESSION > PORT"), "{text}");
        }
    }
}
