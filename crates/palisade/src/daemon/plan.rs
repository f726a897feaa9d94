//! From the ports that are attached to the ports that a new policy wants: what to open, in what order, and the way back.

use std::collections::BTreeMap;

use palisade_policy::PortKey;

use super::ports::{Attached, PortPlan};

/// What a change of ports consists of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct PortChange {
    /// Devices to open while the old ports are served.
    pub(crate) open: Vec<PortPlan>,
    /// Ports in the way of those wanted, by their device or their key: to be closed first.
    pub(crate) displaced: Vec<PortKey>,
    /// Devices that can be opened only then.
    pub(crate) reopen: Vec<PortPlan>,
    /// Ports that nobody wants: to be closed when the new policy is in force.
    pub(crate) close: Vec<PortKey>,
    /// Ports that stay although other addresses belong on them.
    pub(crate) readdressed: Vec<PortPlan>,
    /// Ports that stay with another worker named for them.
    pub(crate) moved: Vec<PortPlan>,
}

impl PortChange {
    /// Works out the change.
    pub(crate) fn new(attached: &BTreeMap<PortKey, Attached>, wanted: Vec<PortPlan>) -> Self {
        let mut change = Self::default();
        let stays = |plan: &PortPlan| {
            attached.get(&plan.key).is_some_and(|port| port.plan.spec.same_device(&plan.spec))
        };
        let (kept, fresh): (Vec<_>, Vec<_>) = wanted.into_iter().partition(stays);
        let leaving = attached.iter().filter(|(key, _)| !kept.iter().any(|plan| plan.key == **key));
        for (key, port) in leaving.clone() {
            let in_the_way =
                |plan: &PortPlan| plan.key == *key || plan.spec.place() == port.plan.spec.place();
            let list = if fresh.iter().any(in_the_way) { &mut change.displaced } else { &mut change.close };
            list.push(*key);
        }
        for plan in fresh {
            let taken = leaving.clone().any(|(_, port)| port.plan.spec.place() == plan.spec.place());
            if taken { change.reopen.push(plan) } else { change.open.push(plan) }
        }
        let was = |plan: &PortPlan| &attached[&plan.key].plan;
        change.moved = kept.iter().filter(|plan| was(plan).worker != plan.worker).cloned().collect();
        change.readdressed = kept.into_iter().filter(|plan| was(plan).spec != plan.spec).collect();
        change
    }
}

#[cfg(test)]
mod tests {
    use super::super::ports::{PortSpec, tests::tap};
    use super::*;
    use palisade_packet::MacAddr;
    use palisade_policy::EniKey;

    fn attached(plans: &[PortPlan]) -> BTreeMap<PortKey, Attached> {
        let attach = |plan: &PortPlan| Attached {
            plan: plan.clone(),
            takeover: None,
            mac: MacAddr::default(),
            mtu: 1500,
        };
        plans.iter().map(|plan| (plan.key, attach(plan))).collect()
    }

    fn key(key: u32) -> PortKey {
        PortKey::Eni(EniKey(key))
    }

    #[test]
    fn ports_that_stay_are_not_touched() {
        let plans = [tap(1, "a", "tap-a"), tap(2, "b", "tap-b")];
        assert_eq!(PortChange::new(&attached(&plans), plans.to_vec()), PortChange::default());
    }

    #[test]
    fn new_devices_are_opened_before_old_ones_are_closed() {
        let old = [tap(1, "a", "tap-a"), tap(2, "b", "tap-b")];
        let change = PortChange::new(&attached(&old), vec![tap(1, "a", "tap-a"), tap(3, "c", "tap-c")]);
        let expected =
            PortChange { open: vec![tap(3, "c", "tap-c")], close: vec![key(2)], ..PortChange::default() };
        assert_eq!(change, expected);
    }

    #[test]
    fn a_device_that_changes_owner_is_closed_first() {
        let change = PortChange::new(&attached(&[tap(1, "a", "tap-a")]), vec![tap(2, "b", "tap-a")]);
        let expected = PortChange {
            displaced: vec![key(1)],
            reopen: vec![tap(2, "b", "tap-a")],
            ..PortChange::default()
        };
        assert_eq!(change, expected);
    }

    #[test]
    fn two_owners_can_swap_their_devices() {
        let old = [tap(1, "a", "tap-a"), tap(2, "b", "tap-b")];
        let new = vec![tap(1, "a", "tap-b"), tap(2, "b", "tap-a")];
        let change = PortChange::new(&attached(&old), new.clone());
        assert_eq!(
            change,
            PortChange { displaced: vec![key(1), key(2)], reopen: new, ..PortChange::default() }
        );
    }

    #[test]
    fn an_owner_that_changes_device_keeps_the_old_one_until_the_new_one_is_open() {
        let change = PortChange::new(&attached(&[tap(1, "a", "tap-a")]), vec![tap(1, "a", "tap-z")]);
        let expected =
            PortChange { open: vec![tap(1, "a", "tap-z")], displaced: vec![key(1)], ..PortChange::default() };
        assert_eq!(change, expected);
    }

    #[test]
    fn a_port_for_another_worker_stays_and_moves() {
        let moved = PortPlan { worker: Some(1), ..tap(1, "a", "tap-a") };
        let change = PortChange::new(&attached(&[tap(1, "a", "tap-a")]), vec![moved.clone()]);
        assert_eq!(change, PortChange { moved: vec![moved], ..PortChange::default() });
    }

    #[test]
    fn a_device_with_another_mtu_is_made_anew() {
        let mut new = tap(1, "a", "tap-a");
        let PortSpec::Tap(spec) = &mut new.spec else { panic!("it is a TAP") };
        spec.mtu = 1400;
        let change = PortChange::new(&attached(&[tap(1, "a", "tap-a")]), vec![new.clone()]);
        assert_eq!(
            change,
            PortChange { displaced: vec![key(1)], reopen: vec![new], ..PortChange::default() }
        );
    }
}
