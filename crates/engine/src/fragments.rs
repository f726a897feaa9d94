//! What first fragments said, so that later ones are judged as if they carried their ports (CT-60, CT-62, CT-63).
//!
//! Fragments are rare and never served from a cache, so one lock for all workers costs nothing that matters.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use palisade_conntrack::Instant;
use palisade_packet::{Fragment, IpPacket, Transport};
use palisade_policy::EniKey;

use crate::intake::Judged;
use crate::reason::DropReason;

/// How long a datagram is remembered after its last fragment (CT-62).
const REMEMBERED: Duration = Duration::from_secs(30);
/// Datagrams remembered at once, all ENIs together; beyond it new ones are orphans from the start.
const MOST_DATAGRAMS: usize = 16_384;
/// Fragments of one datagram; the smallest useful fragment of 65,535 bytes makes more, no honest sender does.
const MOST_FRAGMENTS: usize = 128;

/// Fragmented datagrams under way.
#[derive(Debug, Default)]
pub(crate) struct Fragments(Mutex<Datagrams>);

#[derive(Debug, Default)]
struct Datagrams {
    by_identity: HashMap<Identity, Datagram, foldhash::fast::RandomState>,
}

/// CT-60: what fragments of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Identity {
    eni: EniKey,
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    /// Zero in IPv6, whose later fragments may name another protocol.
    protocol: u8,
}

#[derive(Debug)]
struct Datagram {
    expires: Instant,
    /// Upper-layer protocol and header of the first fragment, once seen.
    first: Option<(u8, Transport)>,
    seen: Vec<Fragment>,
    /// Given up (CT-63): everything of it is dropped until it expires.
    invalid: bool,
}

impl Fragments {
    /// Turns a packet into what policy judges. `remember` is false while explaining.
    pub(crate) fn join(
        &self,
        eni: EniKey,
        ip: IpPacket,
        now: Instant,
        remember: bool,
    ) -> Result<Judged, DropReason> {
        let Some(fragment) = ip.fragment else { return Ok(Judged::whole(ip)) };
        self.lock().join(Identity::of(eni, &ip, fragment), ip, fragment, now, remember)
    }

    /// Forgets datagrams whose time is over.
    pub(crate) fn expire(&self, now: Instant) {
        self.lock().expire(now);
    }

    fn lock(&self) -> MutexGuard<'_, Datagrams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identity {
    fn of(eni: EniKey, ip: &IpPacket, fragment: Fragment) -> Self {
        let protocol = if ip.is_ipv4() { ip.protocol } else { 0 };
        let Fragment { identification, .. } = fragment;
        Self { eni, source: ip.source, destination: ip.destination, identification, protocol }
    }
}

impl Datagrams {
    fn join(
        &mut self,
        identity: Identity,
        ip: IpPacket,
        fragment: Fragment,
        now: Instant,
        remember: bool,
    ) -> Result<Judged, DropReason> {
        if self.by_identity.get(&identity).is_some_and(|known| known.is_over(now, fragment)) {
            self.by_identity.remove(&identity);
        }
        if !self.by_identity.contains_key(&identity) {
            if !fragment.is_first() {
                return Err(DropReason::FragmentOrphan);
            }
            if !remember {
                return Ok(Judged::whole(ip));
            }
            self.open(identity, now)?;
        }
        let datagram = self.by_identity.get_mut(&identity).ok_or(DropReason::FragmentOrphan)?;
        if remember {
            datagram.add(fragment, now)?;
        } else if datagram.refuses(fragment) {
            return Err(DropReason::FragmentInvalid);
        }
        if fragment.is_first() {
            datagram.first = Some((ip.protocol, ip.transport));
            return Ok(Judged::whole(ip));
        }
        let (protocol, transport) = datagram.first.ok_or(DropReason::FragmentOrphan)?;
        Ok(Judged::later(ip, protocol, transport))
    }

    fn open(&mut self, identity: Identity, now: Instant) -> Result<(), DropReason> {
        if self.by_identity.len() >= MOST_DATAGRAMS {
            self.expire(now);
        }
        if self.by_identity.len() >= MOST_DATAGRAMS {
            return Err(DropReason::FragmentOrphan);
        }
        let datagram = Datagram { expires: now + REMEMBERED, first: None, seen: Vec::new(), invalid: false };
        self.by_identity.insert(identity, datagram);
        Ok(())
    }

    fn expire(&mut self, now: Instant) {
        self.by_identity.retain(|_, datagram| datagram.expires > now);
    }
}

impl Datagram {
    /// Whether a fragment belongs to a new datagram with the same identification: this one has expired, or is
    /// complete and would be overlapped (CT-62).
    fn is_over(&self, now: Instant, fragment: Fragment) -> bool {
        self.expires <= now || (!self.invalid && self.is_complete() && self.overlaps(fragment))
    }

    fn is_complete(&self) -> bool {
        let end = self.seen.iter().find(|seen| !seen.more).map(end);
        let have: u32 = self.seen.iter().map(|seen| u32::from(seen.len)).sum();
        end == Some(have)
    }

    fn overlaps(&self, fragment: Fragment) -> bool {
        let start = u32::from(fragment.offset);
        self.seen.iter().any(|seen| start < end(seen) && u32::from(seen.offset) < end(&fragment))
    }

    /// An exact repetition is not an overlap (CT-63).
    fn refuses(&self, fragment: Fragment) -> bool {
        self.invalid || (self.overlaps(fragment) && !self.seen.contains(&fragment))
    }

    fn add(&mut self, fragment: Fragment, now: Instant) -> Result<(), DropReason> {
        if self.invalid {
            return Err(DropReason::FragmentInvalid);
        }
        self.expires = now + REMEMBERED;
        if self.refuses(fragment) || self.seen.len() >= MOST_FRAGMENTS {
            self.invalid = true;
            return Err(DropReason::FragmentInvalid);
        }
        if !self.seen.contains(&fragment) {
            self.seen.push(fragment);
        }
        Ok(())
    }
}

fn end(fragment: &Fragment) -> u32 {
    u32::from(fragment.offset) + u32::from(fragment.len)
}

#[cfg(test)]
mod tests {
    use palisade_packet::Transport;

    use super::*;

    const FIRST: Fragment = Fragment { identification: 7, offset: 0, len: 1000, more: true };
    const LAST: Fragment = Fragment { identification: 7, offset: 1000, len: 500, more: false };

    fn packet(fragment: Fragment) -> IpPacket {
        let transport = match fragment.offset {
            0 => Transport::Udp { source: 1000, destination: 2000 },
            _ => Transport::LaterFragment,
        };
        IpPacket {
            source: IpAddr::from([10, 0, 1, 10]),
            destination: IpAddr::from([10, 0, 2, 10]),
            protocol: 17,
            hop_limit: 64,
            dont_fragment: false,
            ip_len: 20 + u32::from(fragment.len),
            network_offset: 14,
            transport_offset: 34,
            fragment: Some(fragment),
            transport,
        }
    }

    fn join(fragments: &Fragments, fragment: Fragment, seconds: u64) -> Result<Judged, DropReason> {
        fragments.join(EniKey(1), packet(fragment), Instant::from_secs(seconds), true)
    }

    #[test]
    fn later_fragments_take_the_first_ones_ports() {
        let fragments = Fragments::default();
        assert!(!join(&fragments, FIRST, 0).unwrap().later_fragment);
        let later = join(&fragments, LAST, 1).unwrap();
        assert!(later.later_fragment);
        assert_eq!(later.ip.transport, Transport::Udp { source: 1000, destination: 2000 });
    }

    #[test]
    fn ct_61_a_later_fragment_without_its_first_is_an_orphan() {
        assert_eq!(join(&Fragments::default(), LAST, 0).unwrap_err(), DropReason::FragmentOrphan);
    }

    #[test]
    fn ct_62_the_first_is_forgotten_30_s_after_the_last_fragment() {
        let fragments = Fragments::default();
        join(&fragments, FIRST, 0).unwrap();
        assert!(join(&fragments, LAST, 29).is_ok());
        assert_eq!(join(&fragments, LAST, 59).unwrap_err(), DropReason::FragmentOrphan);
    }

    #[test]
    fn ct_63_an_overlap_drops_the_whole_datagram() {
        let fragments = Fragments::default();
        join(&fragments, FIRST, 0).unwrap();
        let overlapping = Fragment { offset: 992, len: 8, ..LAST };
        assert_eq!(join(&fragments, overlapping, 0).unwrap_err(), DropReason::FragmentInvalid);
        assert_eq!(join(&fragments, LAST, 1).unwrap_err(), DropReason::FragmentInvalid);
        assert_eq!(
            join(&fragments, LAST, 30).unwrap_err(),
            DropReason::FragmentOrphan,
            "30 s after it was marked"
        );
    }

    #[test]
    fn ct_63_a_repetition_is_not_an_overlap() {
        let fragments = Fragments::default();
        join(&fragments, FIRST, 0).unwrap();
        assert!(join(&fragments, FIRST, 1).is_ok());
    }

    #[test]
    fn ct_62_a_complete_datagram_gives_way_to_a_new_one() {
        let fragments = Fragments::default();
        join(&fragments, FIRST, 0).unwrap();
        join(&fragments, LAST, 0).unwrap();
        assert!(join(&fragments, FIRST, 1).is_ok());
        assert!(join(&fragments, LAST, 1).is_ok());
    }

    #[test]
    fn explaining_remembers_nothing() {
        let fragments = Fragments::default();
        assert!(fragments.join(EniKey(1), packet(FIRST), Instant::from_secs(0), false).is_ok());
        assert_eq!(join(&fragments, LAST, 0).unwrap_err(), DropReason::FragmentOrphan);
    }
}
