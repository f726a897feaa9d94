//! What first fragments said, so that later ones are judged as if they carried their ports (CT-60, CT-62, CT-63).
//!
//! Kept per ENI and direction (CT-60): what the sender's side made of a datagram says nothing about what reached the
//! receiver's. Fragments are rare and never served from a cache, so one lock for all workers costs nothing that matters.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use palisade_conntrack::Instant;
use palisade_packet::{Direction, Fragment, IpPacket, Transport};
use palisade_policy::EniKey;

use crate::intake::Judged;
use crate::reason::DropReason;

/// How long a datagram is remembered after its last fragment, and a given-up one after it was marked (CT-62, CT-63).
const REMEMBERED: Duration = Duration::from_secs(30);
/// Datagrams remembered at once, all ENIs together; beyond it new ones are orphans from the start.
const MOST_DATAGRAMS: usize = 16_384;
/// Fragments remembered at once, all datagrams together: some 16 MiB.
const MOST_FRAGMENTS: usize = 262_144;

/// Fragmented datagrams under way.
#[derive(Debug, Default)]
pub(crate) struct Fragments(Mutex<Datagrams>);

#[derive(Debug, Default)]
struct Datagrams {
    by_identity: HashMap<Identity, Datagram, foldhash::fast::RandomState>,
    /// Fragments of all of them.
    fragments: usize,
}

/// CT-60: what fragments of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Identity {
    eni: EniKey,
    direction: Direction,
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
    /// By offset; no two overlap.
    seen: BTreeMap<u16, Fragment>,
    /// Bytes of all of them.
    bytes: u32,
    /// Where the datagram ends, once its last fragment was seen.
    end: Option<u32>,
    /// Given up (CT-63): everything of it is dropped until it expires.
    invalid: bool,
}

impl Fragments {
    /// Turns a packet that passes an ENI into what policy judges there. `remember` is false while explaining, which
    /// changes nothing.
    pub(crate) fn join(
        &self,
        eni: EniKey,
        direction: Direction,
        ip: IpPacket,
        now: Instant,
        remember: bool,
    ) -> Result<Judged, DropReason> {
        let Some(fragment) = ip.fragment else { return Ok(Judged::whole(ip)) };
        let identity = Identity::of(eni, direction, &ip, fragment);
        let mut datagrams = self.lock();
        if remember {
            datagrams.join(identity, ip, fragment, now)
        } else {
            datagrams.peek(&identity, ip, fragment, now)
        }
    }

    /// Gives up the datagram of a fragment that is not sound (CT-63). Does nothing to a whole packet.
    pub(crate) fn condemn(&self, eni: EniKey, direction: Direction, ip: &IpPacket, now: Instant) {
        if let Some(fragment) = ip.fragment {
            self.lock().condemn(Identity::of(eni, direction, ip, fragment), now);
        }
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
    fn of(eni: EniKey, direction: Direction, ip: &IpPacket, fragment: Fragment) -> Self {
        let protocol = if ip.is_ipv4() { ip.protocol } else { 0 };
        let (source, destination) = (ip.source, ip.destination);
        Self { eni, direction, source, destination, identification: fragment.identification, protocol }
    }
}

impl Datagrams {
    fn peek(
        &self,
        identity: &Identity,
        ip: IpPacket,
        fragment: Fragment,
        now: Instant,
    ) -> Result<Judged, DropReason> {
        match self.by_identity.get(identity).filter(|known| !known.is_over(now, fragment)) {
            Some(known) if known.refuses(fragment, &ip) => Err(DropReason::FragmentInvalid),
            Some(known) => known.judged(ip, fragment),
            None if fragment.is_first() => Ok(Judged::whole(ip)),
            None => Err(DropReason::FragmentOrphan),
        }
    }

    fn join(
        &mut self,
        identity: Identity,
        ip: IpPacket,
        fragment: Fragment,
        now: Instant,
    ) -> Result<Judged, DropReason> {
        if self.by_identity.get(&identity).is_some_and(|known| known.is_over(now, fragment)) {
            self.forget(&identity);
        }
        if !fragment.is_first() && !self.by_identity.contains_key(&identity) {
            return Err(DropReason::FragmentOrphan);
        }
        self.make_room(&identity, now)?;
        let datagram = self.by_identity.entry(identity).or_insert_with(|| Datagram::new(now));
        if datagram.invalid {
            return Err(DropReason::FragmentInvalid);
        }
        datagram.expires = now + REMEMBERED;
        if datagram.refuses(fragment, &ip) {
            datagram.invalid = true;
            return Err(DropReason::FragmentInvalid);
        }
        self.fragments += usize::from(datagram.add(fragment, &ip));
        datagram.judged(ip, fragment)
    }

    fn condemn(&mut self, identity: Identity, now: Instant) {
        if self.by_identity.get(&identity).is_some_and(|known| known.expires <= now) {
            self.forget(&identity);
        }
        if self.make_room(&identity, now).is_err() {
            return; // without a first fragment everything of it is an orphan
        }
        let datagram = self.by_identity.entry(identity).or_insert_with(|| Datagram::new(now));
        if !datagram.invalid {
            datagram.invalid = true;
            datagram.expires = now + REMEMBERED;
        }
    }

    /// At the limits of memory a fragment is dropped, but its datagram is not given up.
    fn make_room(&mut self, identity: &Identity, now: Instant) -> Result<(), DropReason> {
        let full = |datagrams: &Self| {
            let known = datagrams.by_identity.contains_key(identity);
            datagrams.fragments >= MOST_FRAGMENTS || (!known && datagrams.by_identity.len() >= MOST_DATAGRAMS)
        };
        if full(self) {
            self.expire(now);
        }
        if full(self) { Err(DropReason::FragmentOrphan) } else { Ok(()) }
    }

    fn forget(&mut self, identity: &Identity) {
        if let Some(datagram) = self.by_identity.remove(identity) {
            self.fragments -= datagram.seen.len();
        }
    }

    fn expire(&mut self, now: Instant) {
        let fragments = &mut self.fragments;
        self.by_identity.retain(|_, datagram| {
            let stays = datagram.expires > now;
            *fragments -= if stays { 0 } else { datagram.seen.len() };
            stays
        });
    }
}

impl Datagram {
    fn new(now: Instant) -> Self {
        let expires = now + REMEMBERED;
        Self { expires, first: None, seen: BTreeMap::new(), bytes: 0, end: None, invalid: false }
    }

    /// Whether a fragment belongs to a new datagram with the same identification: this one has expired, or is
    /// complete and would be overlapped (CT-62).
    fn is_over(&self, now: Instant, fragment: Fragment) -> bool {
        self.expires <= now || (!self.invalid && self.end == Some(self.bytes) && self.overlaps(fragment))
    }

    fn overlaps(&self, fragment: Fragment) -> bool {
        let before = self.seen.range(..=fragment.offset).next_back();
        let after = self.seen.range(fragment.offset..).next();
        before.is_some_and(|(_, seen)| end(seen) > fragment.offset.into())
            || after.is_some_and(|(offset, _)| u32::from(*offset) < end(&fragment))
    }

    /// An exact repetition is not an overlap (CT-63), unless its header says something else than the first copy's.
    fn refuses(&self, fragment: Fragment, ip: &IpPacket) -> bool {
        let repeats = self.seen.get(&fragment.offset) == Some(&fragment);
        let alike = !fragment.is_first() || self.first == Some((ip.protocol, ip.transport));
        self.invalid || (self.overlaps(fragment) && !(repeats && alike))
    }

    /// Whether there is one fragment more to remember.
    fn add(&mut self, fragment: Fragment, ip: &IpPacket) -> bool {
        if fragment.len == 0 || self.seen.insert(fragment.offset, fragment).is_some() {
            return false;
        }
        self.bytes += u32::from(fragment.len);
        if !fragment.more {
            self.end = Some(end(&fragment));
        }
        if fragment.is_first() {
            self.first = Some((ip.protocol, ip.transport));
        }
        true
    }

    fn judged(&self, ip: IpPacket, fragment: Fragment) -> Result<Judged, DropReason> {
        if fragment.is_first() {
            return Ok(Judged::whole(ip));
        }
        let (protocol, transport) = self.first.ok_or(DropReason::FragmentOrphan)?;
        Ok(Judged::later(ip, protocol, transport))
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
        fragments.join(EniKey(1), Direction::Egress, packet(fragment), Instant::from_secs(seconds), true)
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
    fn ct_63_an_unsound_fragment_condemns_its_datagram() {
        let fragments = Fragments::default();
        fragments.condemn(EniKey(1), Direction::Egress, &packet(LAST), Instant::from_secs(0));
        assert_eq!(join(&fragments, FIRST, 29).unwrap_err(), DropReason::FragmentInvalid);
        assert!(join(&fragments, FIRST, 30).is_ok(), "30 s after it was marked");
    }

    #[test]
    fn ct_63_a_repeated_first_fragment_cannot_change_the_ports() {
        let fragments = Fragments::default();
        join(&fragments, FIRST, 0).unwrap();
        let other = IpPacket { transport: Transport::Udp { source: 1000, destination: 53 }, ..packet(FIRST) };
        let now = Instant::from_secs(1);
        assert!(fragments.join(EniKey(1), Direction::Egress, other, now, true).is_err());
    }

    #[test]
    fn as_many_fragments_as_a_datagram_can_have() {
        let fragments = Fragments::default();
        for at in 0..8191 {
            let fragment = Fragment { identification: 7, offset: at * 8, len: 8, more: true };
            assert!(join(&fragments, fragment, 0).is_ok(), "{at}");
        }
        assert_eq!(fragments.lock().fragments, 8191);
        fragments.expire(Instant::from_secs(31));
        assert_eq!(fragments.lock().fragments, 0);
    }

    #[test]
    fn explaining_remembers_nothing() {
        let fragments = Fragments::default();
        assert!(
            fragments.join(EniKey(1), Direction::Egress, packet(FIRST), Instant::from_secs(0), false).is_ok()
        );
        assert_eq!(join(&fragments, LAST, 0).unwrap_err(), DropReason::FragmentOrphan);
    }
}
