//! What flows between the same two guests share: the action, and what of policy it rests on at either side.
//!
//! A million flows take a few hundred different paths, so each is kept once, counted, and forgotten with its last flow. What
//! has to be shown of policy for one flow is thereby shown for all of them: a path adopts a new generation once.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use palisade_flow as flow;
use palisade_packet::Direction::{self, Egress, Ingress};
use palisade_policy::{CompiledEni, EniKey, RuleSlot, Snapshot};

use super::key::Way;
use super::notes::{AclNote, SideNote};
use crate::counters::Counters;
use crate::ledger::{Why, refusal};
use crate::mirroring::Taps;
use crate::outcome::Link;
use crate::reason::DropReason;

/// What becomes of a packet: plain values, for whoever carries it out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Action {
    /// Out by the port of an ENI with new MAC addresses, if it is not larger than `mtu`.
    Deliver { to: EniKey, link: Link, mtu: u16 },
    /// Dropped, if it is not larger than `mtu`: the path is looked at before the receiver's side (RT-63).
    Drop { reason: DropReason, mtu: u16 },
}

/// What flows of one kind have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Path {
    pub(super) way: Way,
    pub(super) action: Action,
    /// Without the source port of copies, which is the flow's own.
    pub(super) taps: Taps,
    pub(super) a: Side,
    pub(super) b: Option<Side>,
}

/// One side of a path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Side {
    pub(super) eni: EniKey,
    /// Every filter of the side passed, so that packets act on its entry.
    pub(super) committed: bool,
    pub(super) group: Group,
    pub(super) acl: Option<AclNote>,
}

/// What the side's groups count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Group {
    /// Nothing: an entry let the packet pass, or they were not asked.
    Nothing,
    Rule(RuleSlot),
    Denied,
}

/// A path with those that take it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: Path,
    /// The newest generation for which the results of its flows are known to hold.
    pub(super) generation: u64,
    /// Packets act on the entries of both sides, if there are any.
    pub(super) passes: bool,
    /// Where the ENIs stand in the snapshot of that generation.
    places: [usize; 2],
    flows: u32,
}

/// Which path a flow takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PathId(u32);

/// All paths of one worker's flows.
#[derive(Debug, Default)]
pub(super) struct Paths {
    all: Vec<Shared>,
    free: Vec<PathId>,
    /// Those that hold in the generation in which they were last asked for.
    index: HashTable<PathId>,
    hasher: RandomState,
}

impl Paths {
    #[inline]
    pub(super) fn get(&self, id: PathId) -> Option<&Shared> {
        self.all.get(id.at())
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: PathId) -> Option<&mut Shared> {
        self.all.get_mut(id.at())
    }

    /// The place of a path, for one flow more; `None` if it speaks of an ENI that there is not.
    ///
    /// An equal path of an earlier generation is shared only if it holds in this one. Otherwise the flows that take it must
    /// not be taken for valid, and it is left to them.
    pub(super) fn take(&mut self, path: &Path, snapshot: &Snapshot) -> Option<PathId> {
        let hash = self.hasher.hash_one(path);
        let known = self.index.find(hash, |id| self.all[id.at()].path == *path).copied();
        if let Some(shared) = known.and_then(|id| self.get_mut(id))
            && shared.is_current(snapshot)
        {
            shared.flows += 1;
            return known;
        }
        let id = self.put(Shared::new(*path, snapshot)?);
        let Self { all, index, hasher, .. } = self;
        match index.find_mut(hash, |listed| Some(*listed) == known) {
            Some(stale) => *stale = id,
            None => drop(index.insert_unique(hash, id, |id| hasher.hash_one(all[id.at()].path))),
        }
        Some(id)
    }

    /// One flow of it less.
    pub(super) fn leave(&mut self, id: PathId) {
        let Some(shared) = self.all.get_mut(id.at()) else { return };
        shared.flows -= 1;
        if shared.flows == 0 {
            let hash = self.hasher.hash_one(shared.path);
            if let Ok(entry) = self.index.find_entry(hash, |listed| *listed == id) {
                entry.remove();
            }
            self.free.push(id);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    fn put(&mut self, shared: Shared) -> PathId {
        if let Some(id) = self.free.pop() {
            self.all[id.at()] = shared;
            return id;
        }
        self.all.push(shared);
        PathId(u32::try_from(self.all.len() - 1).expect("no more paths than flows, which are 2^23"))
    }
}

impl PathId {
    const fn at(self) -> usize {
        self.0 as usize
    }
}

impl Shared {
    fn new(path: Path, snapshot: &Snapshot) -> Option<Self> {
        let place = |side: Side| Some(snapshot.eni(side.eni)?.index.0);
        let places = [place(path.a)?, path.b.map_or(Some(0), place)?];
        let passes = path.sides().all(|(side, _)| side.committed);
        Some(Self { path, generation: snapshot.generation(), passes, places, flows: 1 })
    }

    /// Whether the path holds in the present generation, which it then adopts.
    #[inline]
    pub(super) fn is_current(&mut self, snapshot: &Snapshot) -> bool {
        self.generation == snapshot.generation() || self.adopts(snapshot)
    }

    /// Whether nothing has changed since that the path rests on.
    #[cold]
    fn adopts(&mut self, snapshot: &Snapshot) -> bool {
        let Self { path: Path { a, b, .. }, generation, .. } = *self;
        let place = |side: Side| {
            let eni = snapshot.eni(side.eni).filter(|eni| eni.stamp <= generation)?;
            Some(eni.index.0)
        };
        let other = match b {
            Some(b) => place(b),
            None => (snapshot.ownership_stamp() <= generation).then_some(0),
        };
        let Some(places) = place(a).zip(other) else { return false };
        (self.generation, self.places) = (snapshot.generation(), places.into());
        true
    }

    /// The ENI of a side, in the present generation.
    #[inline]
    pub(super) fn eni<'s>(&self, direction: Direction, snapshot: &'s Snapshot) -> Option<&'s CompiledEni> {
        let [a, b] = self.places;
        snapshot.enis().get(if direction == Egress { a } else { b })
    }
}

impl Path {
    /// Whether the sender's side refuses the packet, and no entry has a say: then SYN, FIN and RST get what others get.
    pub(super) const fn stays_outside(&self) -> bool {
        self.b.is_none() && !self.a.committed && !matches!(self.a.group, Group::Nothing)
    }

    pub(super) fn sides(&self) -> impl Iterator<Item = (&Side, Direction)> {
        std::iter::once((&self.a, Egress)).chain(self.b.as_ref().map(|b| (b, Ingress)))
    }

    /// Whom the packets went to, or came from.
    pub(super) fn hop(&self, direction: Direction) -> flow::Hop {
        match direction {
            Egress => self.b.as_ref().map_or(flow::Hop::None, |b| flow::Hop::Eni(b.eni)),
            Ingress => flow::Hop::Eni(self.a.eni),
        }
    }
}

impl Side {
    pub(super) fn of(eni: EniKey, note: &SideNote, group: Group) -> Self {
        Self { eni, committed: note.committed, group, acl: note.acl }
    }

    /// Why the side accepted or refused, in the words of records.
    pub(super) fn why(&self, action: Action) -> Why {
        let acl = self.acl.map(|acl| acl.slot);
        let refused = match action {
            Action::Drop { reason, .. } if !self.committed => refusal(reason, acl),
            _ => None,
        };
        let accepted = match self.group {
            Group::Rule(slot) => (flow::Ground::Rule, Some(slot)),
            _ => (flow::Ground::Tracked, None),
        };
        refused.unwrap_or(accepted)
    }

    pub(super) fn count(&self, counters: &Counters, direction: Direction, packets: u32) {
        match self.group {
            Group::Rule(slot) => counters.group(direction, Some(slot), packets),
            Group::Denied => counters.group(direction, None, packets),
            Group::Nothing => {}
        }
        if let Some(acl) = self.acl {
            counters.acl(direction, acl.slot, acl.by_default, packets);
        }
    }
}

#[cfg(test)]
mod tests {
    use palisade_packet::{Body, parse};
    use palisade_policy::draft;

    use super::super::key::FlowKey;
    use super::*;

    /// `a` and `b` are of one group, which lets everything out to `out`, `c` is of another one.
    fn world(out: &str, others: &str, previous: Option<&Snapshot>) -> Snapshot {
        let mut text = format!(
            r#"
            [vpc]
            cidr_blocks = ["10.0.0.0/16"]
            [subnet.one]
            cidr = "10.0.1.0/24"
            [security_group.one]
            egress = ["all to {out}"]
            [security_group.two]
            egress = ["all to {others}"]
            "#
        );
        for (at, (name, group)) in [("a", "one"), ("b", "one"), ("c", "two")].iter().enumerate() {
            let place = "subnet = \"one\"\naddress = \"10.0.1.1";
            let attach = format!("attach = {{ tap = \"pal-{name}\" }}");
            text.extend(["[eni.", name, "]\n", place, ["0", "1", "2"][at], "\"\n"]);
            text.extend(["groups = [\"", group, "\"]\n", &attach, "\n"]);
        }
        Snapshot::compile(draft::load("test", &text).unwrap(), previous)
    }

    /// From `a` to `b`, from a source MAC address that ends so.
    fn path(snapshot: &Snapshot, mac: u8) -> Path {
        let [a, b] = ["a", "b"].map(|name| snapshot.eni_named(name).unwrap());
        let mut frame = [0; 54];
        frame[11..24].copy_from_slice(&[mac, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6]);
        frame[46] = 0x50;
        let summary = parse(&frame).unwrap();
        let Body::Ip(ip) = &summary.body else { unreachable!("the frame is IPv4") };
        let way = FlowKey::of(a.key, &summary, ip).unwrap().way;
        let side =
            |eni: &CompiledEni| Side { eni: eni.key, committed: true, group: Group::Nothing, acl: None };
        let action =
            Action::Deliver { to: b.key, link: Link { source: None, destination: b.mac }, mtu: 1_500 };
        Path { way, action, taps: Taps::default(), a: side(a), b: Some(side(b)) }
    }

    #[test]
    fn equal_paths_are_kept_once_until_their_last_flow_leaves() {
        let snapshot = world("0.0.0.0/0", "0.0.0.0/0", None);
        let mut paths = Paths::default();
        let take = |paths: &mut Paths, mac| paths.take(&path(&snapshot, mac), &snapshot).unwrap();
        let first = take(&mut paths, 1);
        assert_eq!((take(&mut paths, 1), paths.len()), (first, 1));
        assert_ne!((take(&mut paths, 2), paths.len()), (first, 2));
        paths.leave(first);
        assert_eq!(paths.len(), 2, "one flow still takes it");
        paths.leave(first);
        assert_eq!(paths.len(), 1);
        assert_eq!((take(&mut paths, 3), paths.len()), (first, 2), "the place is used again");
        assert_ne!(take(&mut paths, 1), first, "the place is not its own any more");
    }

    /// A result that is found anew makes nothing valid that was found under other rules.
    #[test]
    fn a_path_of_an_earlier_generation_is_shared_only_if_it_holds() {
        let old = world("0.0.0.0/0", "0.0.0.0/0", None);
        let mut paths = Paths::default();
        let first = paths.take(&path(&old, 1), &old).unwrap();
        let unrelated = world("0.0.0.0/0", "10.0.0.0/8", Some(&old));
        assert_eq!(paths.take(&path(&unrelated, 1), &unrelated), Some(first), "only `c` is concerned");
        let new = world("10.0.0.0/8", "10.0.0.0/8", Some(&unrelated));
        let second = paths.take(&path(&new, 1), &new).unwrap();
        assert_ne!(second, first);
        let holds = |paths: &mut Paths, id| paths.get_mut(id).unwrap().is_current(&new);
        assert!(!holds(&mut paths, first) && holds(&mut paths, second));
        assert_eq!(paths.take(&path(&new, 1), &new), Some(second), "the new one is listed");
        paths.leave(first);
        paths.leave(first);
        assert_eq!(paths.take(&path(&new, 1), &new), Some(second), "and stays so");
    }
}
