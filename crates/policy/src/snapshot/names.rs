//! Rules by name, and the hit counters that belong to them.

use std::fmt;
use std::sync::Arc;

use crate::model::Direction;

/// Index of a rule's hit counter. The same rule keeps it over generations; that of a rule which has gone is not given
/// to another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleSlot(pub u32);

/// What a rule is called.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RuleName {
    /// An entry of a network ACL.
    AclEntry {
        /// `acl-…`.
        acl: String,
        /// The list it stands in.
        direction: Direction,
        /// Its number.
        number: u16,
    },
    /// One of the `*` entries that end a list (NACL-5).
    AclDefault {
        /// `acl-…`.
        acl: String,
        /// The list it ends.
        direction: Direction,
        /// Whether it is the one for IPv6.
        ipv6: bool,
    },
    /// A rule of a security group.
    GroupRule {
        /// `sg-…`.
        group: String,
        /// `sgr-…`.
        rule: String,
        /// Inbound or outbound.
        direction: Direction,
    },
}

impl fmt::Display for RuleName {
    /// `acl-… egress 120`, `acl-… egress *`, `sgr-… of sg-…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AclEntry { acl, direction, number } => write!(f, "{acl} {} {number}", direction.as_str()),
            Self::AclDefault { acl, direction, .. } => write!(f, "{acl} {} *", direction.as_str()),
            Self::GroupRule { group, rule, .. } => write!(f, "{rule} of {group}"),
        }
    }
}

/// The names of one generation, by slot.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Option<Arc<RuleName>>>);

impl Names {
    /// Names for a generation that follows this one: as many slots, none of them in use yet.
    pub(super) fn successor(&self) -> Self {
        Self(vec![None; self.0.len()])
    }

    /// Goes on using a slot of `previous`.
    pub(super) fn keep(&mut self, previous: &Self, slot: RuleSlot) -> RuleSlot {
        let at = slot.0 as usize;
        self.0[at].clone_from(&previous.0[at]);
        slot
    }

    /// A slot that no rule has ever had.
    pub(super) fn assign(&mut self, name: RuleName) -> RuleSlot {
        let slot = u32::try_from(self.0.len()).expect("four billion names do not fit into memory");
        self.0.push(Some(Arc::new(name)));
        RuleSlot(slot)
    }

    pub(super) fn get(&self, slot: RuleSlot) -> Option<&RuleName> {
        self.0.get(slot.0 as usize)?.as_deref()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
