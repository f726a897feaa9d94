//! Who an ENI key and a rule slot were at the time of a packet.
//!
//! The newest snapshot knows those that are there. What it no longer knows is remembered from the one before, for as long
//! as a record may speak of it and within a bound. Owned by the flow-log thread.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use palisade_policy::{EniKey, RuleName, RuleSlot, Snapshot};

use crate::description::Description;

/// How long what has gone is remembered, in seconds: the longest interval, the minute that workers count by, and the time to
/// write a window's records, twice over.
const MEMORY: u32 = 2 * (600 + 60 + 60);

/// How many ENIs and rules that have gone are remembered, each; the oldest are forgotten first.
const MOST_GONE: usize = 65_536;

/// ENIs and rules, of the present and the recent past.
#[derive(Debug, Default)]
pub struct Directory {
    snapshot: Option<Arc<Snapshot>>,
    enis: HashMap<EniKey, Arc<Description>>,
    /// By key, in the order of generations: what an ENI was before the generation beside it.
    former: HashMap<EniKey, Vec<(u64, Arc<Description>)>>,
    former_order: VecDeque<(u32, EniKey)>,
    rules: HashMap<RuleSlot, Arc<str>>,
    rule_order: VecDeque<(u32, RuleSlot)>,
}

impl Directory {
    /// A directory that knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a new generation at a Unix second, before any worker judges by it. Generations come in order.
    ///
    /// Returns the ENIs that have gone with it.
    pub fn learn(&mut self, snapshot: Arc<Snapshot>, now: u32) -> Vec<EniKey> {
        let present: HashMap<_, _> = snapshot.enis().iter().map(|eni| (eni.key, eni.index)).collect();
        let mut gone = Vec::new();
        for (key, old) in std::mem::take(&mut self.enis) {
            match present.get(&key).map(|index| Description::of(snapshot.vpc(), *index)) {
                Some(new) if new == *old => {
                    self.enis.insert(key, old);
                }
                Some(new) => {
                    self.enis.insert(key, Arc::new(new));
                    self.remember_eni(key, snapshot.generation(), old, now);
                }
                None => {
                    gone.push(key);
                    self.remember_eni(key, snapshot.generation(), old, now);
                }
            }
        }
        for (key, index) in present {
            self.enis.entry(key).or_insert_with(|| Arc::new(Description::of(snapshot.vpc(), index)));
        }
        self.remember_rules(&snapshot, now);
        self.snapshot = Some(snapshot);
        gone.sort_unstable();
        gone
    }

    /// Forgets what no record of a window that is open at a Unix second can speak of.
    pub fn forget(&mut self, now: u32) {
        let is_old = |then: u32| now.saturating_sub(then) > MEMORY;
        while let Some((then, key)) = self.former_order.front().copied() {
            if !is_old(then) && self.former_order.len() <= MOST_GONE {
                break;
            }
            self.former_order.pop_front();
            self.forget_eni(key);
        }
        while let Some((then, slot)) = self.rule_order.front().copied() {
            if !is_old(then) && self.rule_order.len() <= MOST_GONE {
                break;
            }
            self.rule_order.pop_front();
            self.rules.remove(&slot);
        }
    }

    /// An ENI as it was in a generation; as it is, if that is forgotten; `None` if it was never known or is forgotten wholly.
    #[must_use]
    pub fn eni(&self, key: EniKey, generation: u64) -> Option<&Arc<Description>> {
        let former = self.former.get(&key);
        let then = former.and_then(|list| list.iter().find(|(until, _)| generation < *until));
        then.map(|(_, description)| description)
            .or_else(|| self.enis.get(&key))
            .or_else(|| former.and_then(|list| list.last()).map(|(_, description)| description))
    }

    /// Whether an ENI is part of the newest generation.
    #[must_use]
    pub fn is_present(&self, key: EniKey) -> bool {
        self.enis.contains_key(&key)
    }

    /// What `palisade-rule` prints for a rule or entry; `None` if it was never known or is forgotten.
    #[must_use]
    pub fn rule(&self, slot: RuleSlot) -> Option<Arc<str>> {
        let present = self.snapshot.as_ref().and_then(|snapshot| snapshot.rule(slot)).map(printed);
        present.or_else(|| self.rules.get(&slot).cloned())
    }

    fn remember_eni(&mut self, key: EniKey, until: u64, description: Arc<Description>, now: u32) {
        self.former.entry(key).or_default().push((until, description));
        self.former_order.push_back((now, key));
    }

    fn forget_eni(&mut self, key: EniKey) {
        let Some(list) = self.former.get_mut(&key) else { return };
        list.remove(0);
        if list.is_empty() {
            self.former.remove(&key);
        }
    }

    /// Slots are never given to another rule, so whatever a slot was called stays right.
    fn remember_rules(&mut self, snapshot: &Snapshot, now: u32) {
        let Some(before) = self.snapshot.take() else { return };
        for slot in (0..before.rule_slots()).filter_map(|at| u32::try_from(at).ok()).map(RuleSlot) {
            if let Some(name) = before.rule(slot)
                && snapshot.rule(slot).is_none()
            {
                self.rules.insert(slot, printed(name));
                self.rule_order.push_back((now, slot));
            }
        }
    }
}

fn printed(name: &RuleName) -> Arc<str> {
    match name {
        RuleName::AclEntry { acl, number, .. } => format!("{acl}/{number}").into(),
        RuleName::AclDefault { .. } => "default".into(),
        RuleName::GroupRule { rule, .. } => rule.as_str().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WORLD, key_of, snapshot, snapshot_after};

    fn rule_slot(snapshot: &Snapshot, rule: &str) -> RuleSlot {
        let slots = (0..u32::try_from(snapshot.rule_slots()).unwrap()).map(RuleSlot);
        let named = |slot: &RuleSlot| snapshot.rule(*slot).is_some_and(|name| &*printed(name) == rule);
        slots.into_iter().find(named).unwrap()
    }

    #[test]
    fn an_eni_is_described_as_it_was_at_the_time_of_the_packet() {
        let mut directory = Directory::new();
        let first = snapshot(WORLD);
        let web = key_of(&first, "web-1");
        assert_eq!(directory.learn(Arc::clone(&first), 0), []);
        let moved = WORLD.replace("10.0.1.10", "10.0.1.20");
        let second = snapshot_after(&first, &moved);
        assert_eq!(directory.learn(Arc::clone(&second), 10), []);
        assert_eq!(directory.eni(web, 1).unwrap().address.to_string(), "10.0.1.10");
        assert_eq!(directory.eni(web, 2).unwrap().address.to_string(), "10.0.1.20");
        directory.forget(10 + MEMORY);
        assert_eq!(directory.eni(web, 1).unwrap().address.to_string(), "10.0.1.10");
        directory.forget(11 + MEMORY);
        assert_eq!(directory.eni(web, 1).unwrap().address.to_string(), "10.0.1.20", "the best that is known");
    }

    #[test]
    fn what_has_gone_is_known_for_a_while() {
        let mut directory = Directory::new();
        let first = snapshot(WORLD);
        let (db, slot) = (key_of(&first, "db-1"), rule_slot(&first, "sgr-00000001"));
        directory.learn(Arc::clone(&first), 0);
        assert_eq!(directory.rule(slot).as_deref(), Some("sgr-00000001"));
        let cut = WORLD.split("[eni.db-1]").next().unwrap();
        let second = snapshot_after(&first, &cut.replace("sgr-00000001", "sgr-0000000a"));
        assert_eq!(directory.learn(second, 100), [db]);
        assert_eq!(directory.eni(db, 1).unwrap().eni, directory.eni(db, 9).unwrap().eni);
        assert_eq!(directory.rule(slot).as_deref(), Some("sgr-00000001"));
        directory.forget(101 + MEMORY);
        assert_eq!((directory.eni(db, 1), directory.rule(slot)), (None, None));
    }

    #[test]
    fn entries_are_named_by_their_list_and_number() {
        let entry = |number| RuleName::AclEntry {
            acl: "acl-1".into(),
            direction: palisade_packet::Direction::Ingress,
            number,
        };
        assert_eq!(&*printed(&entry(120)), "acl-1/120");
    }
}
