//! Keys: the names by which workers, tables and ports know objects, from one generation to the next.

use std::collections::HashMap;

use crate::model::Vpc;

/// An ENI. The same ENI, by its id, keeps its key over generations; the key of one that has gone is not used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EniKey(pub u32);

/// An instance; as stable as an [`EniKey`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InstanceKey(pub u32);

/// A service attachment, known by its name; as stable as an [`EniKey`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServiceKey(pub u32);

/// A mirror session, known by its id; as stable as an [`EniKey`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MirrorKey(pub u32);

/// Whoever has a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PortKey {
    /// An ENI.
    Eni(EniKey),
    /// A service attachment.
    Service(ServiceKey),
}

/// The keys of one generation, each list in the order of the VPC's.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    enis: KeyList,
    instances: KeyList,
    services: KeyList,
    mirror_sessions: KeyList,
}

impl Keys {
    pub(super) fn assign(vpc: &Vpc, previous: Option<(&Vpc, &Self)>) -> Self {
        let list = |names: fn(&Vpc) -> Vec<&str>, keys: fn(&Self) -> &KeyList| {
            let previous = previous.map(|(vpc, previous)| (names(vpc), keys(previous)));
            KeyList::assign(&names(vpc), previous)
        };
        Self {
            enis: list(|vpc| vpc.enis.iter().map(|eni| eni.id.as_str()).collect(), |keys| &keys.enis),
            instances: list(
                |vpc| vpc.instances.iter().map(|it| it.id.as_str()).collect(),
                |keys| &keys.instances,
            ),
            services: list(
                |vpc| vpc.services.iter().map(|it| it.name.as_str()).collect(),
                |keys| &keys.services,
            ),
            mirror_sessions: list(
                |vpc| vpc.mirror_sessions.iter().map(|it| it.id.as_str()).collect(),
                |keys| &keys.mirror_sessions,
            ),
        }
    }

    pub(super) fn eni(&self, at: usize) -> EniKey {
        EniKey(self.enis.keys[at])
    }

    pub(super) fn instance(&self, at: usize) -> InstanceKey {
        InstanceKey(self.instances.keys[at])
    }

    pub(super) fn service(&self, at: usize) -> ServiceKey {
        ServiceKey(self.services.keys[at])
    }

    pub(super) fn mirror_session(&self, at: usize) -> MirrorKey {
        MirrorKey(self.mirror_sessions.keys[at])
    }
}

#[derive(Clone, Debug, Default)]
struct KeyList {
    keys: Vec<u32>,
    /// The lowest key that was never given; four billion are more than a daemon's life needs.
    next: u32,
}

impl KeyList {
    fn assign(names: &[&str], previous: Option<(Vec<&str>, &Self)>) -> Self {
        let mut next = previous.as_ref().map_or(0, |(_, list)| list.next);
        let known: HashMap<&str, u32> = previous
            .into_iter()
            .flat_map(|(names, list)| names.into_iter().zip(list.keys.iter().copied()))
            .collect();
        let mut fresh = || {
            next += 1;
            next - 1
        };
        let key = |name: &&str| known.get(name).copied().unwrap_or_else(&mut fresh);
        let keys = names.iter().map(key).collect();
        Self { keys, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_and_never_given_twice() {
        let first = KeyList::assign(&["a", "b", "c"], None);
        assert_eq!(first.keys, [0, 1, 2]);
        let second = KeyList::assign(&["d", "c", "a"], Some((vec!["a", "b", "c"], &first)));
        assert_eq!(second.keys, [3, 2, 0]);
        let third = KeyList::assign(&["b", "a"], Some((vec!["d", "c", "a"], &second)));
        assert_eq!(third.keys, [4, 0], "a name that comes back is a new object");
    }
}
