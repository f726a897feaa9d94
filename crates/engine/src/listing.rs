//! The first of many connections, in an order in which people find what they look for.
//!
//! A table may hold millions of entries; a list of them all would take as much memory as the table. So they are counted
//! as they go by, and of those seen so far the first are kept.

use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;

use foldhash::fast::RandomState;
use palisade_conntrack::{ConnView, Ids};
use palisade_policy::{EniKey, Snapshot};

/// Some connections.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// How many there are.
    pub total: usize,
    /// The first of them: by the names of their ENIs, by protocol, addresses and ports or identifier. Those of ENIs that the
    /// policy does not have come last.
    pub first: Vec<ConnView>,
}

/// Takes connections as they come.
pub(crate) struct Lister {
    ranks: HashMap<EniKey, u32, RandomState>,
    limit: usize,
    total: usize,
    /// The last of the first on top.
    first: BinaryHeap<Placed>,
}

/// A connection and its place in the order.
struct Placed(Place, ConnView);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    rank: u32,
    zone: u32,
    protocol: u8,
    local: IpAddr,
    remote: IpAddr,
    ids: [u16; 3],
}

impl Lister {
    /// Keeps at most so many.
    pub(crate) fn new(snapshot: &Snapshot, limit: usize) -> Self {
        let vpc = snapshot.vpc();
        let name = |eni: &palisade_policy::CompiledEni| (vpc[eni.index].name.as_str(), eni.key);
        let mut names: Vec<_> = snapshot.enis().iter().map(name).collect();
        names.sort_unstable();
        let ranks = (0..).zip(names).map(|(rank, (_, eni))| (eni, rank)).collect();
        Self { ranks, limit, total: 0, first: BinaryHeap::new() }
    }

    pub(crate) fn take(&mut self, entry: &ConnView) {
        self.total += 1;
        let place = self.place(entry);
        if self.first.len() < self.limit {
            self.first.push(Placed(place, *entry));
        } else if let Some(mut last) = self.first.peek_mut()
            && place < last.0
        {
            *last = Placed(place, *entry);
        }
    }

    pub(crate) fn finish(self) -> Listing {
        let first = self.first.into_sorted_vec().into_iter().map(|Placed(_, entry)| entry).collect();
        Listing { total: self.total, first }
    }

    fn place(&self, entry: &ConnView) -> Place {
        let ids = match entry.ids {
            Ids::Ports { local, remote } => [local, remote, 0],
            Ids::Query { local_type, remote_type, identifier } => {
                [identifier, local_type.into(), remote_type.into()]
            }
            Ids::None => [0; 3],
        };
        let rank = self.ranks.get(&EniKey(entry.zone.0)).copied().unwrap_or(u32::MAX);
        let ConnView { zone, protocol, local, remote, .. } = *entry;
        Place { rank, zone: zone.0, protocol, local, remote, ids }
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Placed {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use palisade_conntrack::{Consult, Instant, Owner, TimeOuts, Zone};
    use palisade_packet::{Direction, IpPacket, Transport};
    use palisade_policy::draft;

    use super::*;
    use crate::{Engine, Now, Selection};

    const WORLD: &str = "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n[subnet.a]\ncidr = \"10.0.1.0/24\"\n\
        [security_group.a]\ningress = []\n\
        [eni.z]\nsubnet = \"a\"\naddress = \"10.0.1.10\"\ngroups = [\"a\"]\nattach = { tap = \"z\" }\n\
        [eni.b]\nsubnet = \"a\"\naddress = \"10.0.1.11\"\ngroups = [\"a\"]\nattach = { tap = \"b\" }\n";

    fn open(engine: &Engine, eni: EniKey, port: u16, now: Instant) {
        let packet = IpPacket {
            source: [10, 0, 1, 10].into(),
            destination: [10, 0, 2, 20].into(),
            protocol: 17,
            hop_limit: 64,
            dont_fragment: false,
            ip_len: 100,
            network_offset: 14,
            transport_offset: 34,
            fragment: None,
            transport: Transport::Udp { source: port, destination: 53 },
        };
        let (zone, table) = (Zone(eni.0), engine.connections());
        let owner = Owner { zone, instance: 1, max_tracked: 100, time_outs: TimeOuts::default() };
        match table.consult(zone, Direction::Egress, &packet, now) {
            Consult::New(plan) => table.commit(plan, &owner, &packet, now).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The local ports of the listed, each behind the name of its ENI.
    fn names(listing: &Listing, snapshot: &Snapshot) -> Vec<String> {
        let name = |entry: &ConnView| {
            let eni = snapshot.eni(EniKey(entry.zone.0)).map(|eni| snapshot.vpc()[eni.index].name.clone());
            let Ids::Ports { local, .. } = entry.ids else { panic!("UDP has ports") };
            format!("{}{local}", eni.unwrap_or_default())
        };
        listing.first.iter().map(name).collect()
    }

    #[test]
    fn the_first_are_listed_and_all_are_counted() {
        let snapshot = Snapshot::compile(draft::load("test", WORLD).unwrap(), None);
        let (engine, now) = (Engine::new(100), Instant::from_secs(9));
        let [z, b] = ["z", "b"].map(|name| snapshot.eni_named(name).unwrap().key);
        for (eni, port) in [(z, 7), (b, 3), (EniKey(4_000), 1), (b, 1), (z, 8)] {
            open(&engine, eni, port, now);
        }
        let now = Now { monotonic: now, unix: Duration::ZERO };
        let list = |limit| engine.select(&Selection::default(), &snapshot, now, limit);
        let all = ["b1", "b3", "z7", "z8", "1"];
        for limit in 0..=6 {
            let listing = list(limit);
            assert_eq!(
                (listing.total, names(&listing, &snapshot)),
                (5, all[..limit.min(5)].iter().map(|name| (*name).to_owned()).collect())
            );
        }
        let of_z = Selection::parse(["eni=z"], &snapshot).unwrap();
        let ended = engine.kill(&of_z, &snapshot, now, 1);
        assert_eq!((ended.total, names(&ended, &snapshot)), (2, vec!["z7".to_owned()]));
        assert_eq!(names(&list(9), &snapshot), ["b1", "b3", "1"]);
    }
}
