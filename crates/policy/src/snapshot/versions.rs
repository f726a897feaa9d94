//! Versions of prefix lists: the number counts changes of entries, from one generation to the next (SG-40).

use std::collections::HashMap;

use crate::model::{Cidr, PrefixList, PrefixListIndex, Vpc};

/// Version of every prefix list, in the order of the VPC's. A list that was not there before begins with 1.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions(Box<[u64]>);

impl Versions {
    pub(super) fn assign(vpc: &Vpc, previous: Option<(&Vpc, &Self)>) -> Self {
        let known: HashMap<&str, (&PrefixList, u64)> = previous
            .into_iter()
            .flat_map(|(vpc, versions)| vpc.prefix_lists.iter().zip(&versions.0))
            .map(|(list, &version)| (list.id.as_str(), (list, version)))
            .collect();
        let version = |list: &PrefixList| match known.get(list.id.as_str()) {
            None => 1,
            Some((old, version)) if sorted(old) == sorted(list) => *version,
            Some((_, version)) => version + 1,
        };
        Self(vpc.prefix_lists.iter().map(version).collect())
    }

    pub(super) fn of(&self, list: PrefixListIndex) -> u64 {
        self.0[list.0]
    }
}

/// The order of entries means nothing.
fn sorted(list: &PrefixList) -> Vec<Cidr> {
    let mut entries = list.entries.clone();
    entries.sort_unstable();
    entries
}
