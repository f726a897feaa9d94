//! Why a packet was accepted or rejected at an ENI.

use palisade_packet::Direction::{self, Egress, Ingress};

/// What a record says of its packets (FL-30).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Action {
    /// They passed the ENI's groups and its subnet's ACL.
    Accept,
    /// One of the two refused them, or they could not be tracked (FL-31).
    Reject,
}

impl Action {
    /// `ACCEPT` or `REJECT`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Reject => "REJECT",
        }
    }
}

/// Why packets were accepted or rejected at one ENI; what happens to them elsewhere is nothing to its records (FL-32).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ground {
    /// Accepted: a rule of one of the groups matches.
    Rule,
    /// Accepted: an entry of the connection table covers them (CT-3).
    Tracked,
    /// Accepted: ICMP errors about a flow of the connection table.
    Related,
    /// Rejected: no rule of any group matches (SG-20).
    NoRule,
    /// Rejected by an entry of the network ACL (NACL-21).
    AclEntry,
    /// Rejected: no entry of the network ACL matches (NACL-5).
    AclDefault,
    /// Rejected: the instance has as many tracked connections as it may have (CT-70, CT-72).
    Allowance,
    /// Rejected: the connection table is full.
    TableFull,
}

impl Ground {
    /// Every ground.
    pub const ALL: [Self; 8] = [
        Self::Rule,
        Self::Tracked,
        Self::Related,
        Self::NoRule,
        Self::AclEntry,
        Self::AclDefault,
        Self::Allowance,
        Self::TableFull,
    ];

    /// What records with this ground say.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Rule | Self::Tracked | Self::Related => Action::Accept,
            Self::NoRule | Self::AclEntry | Self::AclDefault | Self::Allowance | Self::TableFull => {
                Action::Reject
            }
        }
    }

    /// Whether no rule or entry matched, which records call the rule `default`.
    #[must_use]
    pub const fn is_default(self) -> bool {
        matches!(self, Self::NoRule | Self::AclDefault)
    }

    /// The stage of the walk that decided, as `palisade explain` calls it.
    #[must_use]
    pub const fn stage(self) -> &'static str {
        match self {
            Self::Rule | Self::Tracked | Self::Related | Self::NoRule => "security-group",
            Self::AclEntry | Self::AclDefault => "network-acl",
            Self::Allowance | Self::TableFull => "commit",
        }
    }

    /// Its name in records. Rejections are called what the drop counters call them.
    #[must_use]
    pub const fn as_str(self, direction: Direction) -> &'static str {
        match (self, direction) {
            (Self::Rule, _) => "rule",
            (Self::Tracked, _) => "tracked",
            (Self::Related, _) => "related",
            (Self::NoRule, Egress) => "group-egress",
            (Self::NoRule, Ingress) => "group-ingress",
            (Self::AclEntry, Egress) => "acl-egress-entry",
            (Self::AclEntry, Ingress) => "acl-ingress-entry",
            (Self::AclDefault, Egress) => "acl-egress-default",
            (Self::AclDefault, Ingress) => "acl-ingress-default",
            (Self::Allowance, Egress) => "allowance-egress",
            (Self::Allowance, Ingress) => "allowance-ingress",
            (Self::TableFull, _) => "table-full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_engine::{DropReason, Stage};

    /// FL-31: what is refused by rules, lists or a full table has a record, and is called the same everywhere.
    #[test]
    fn rejections_are_called_what_the_engine_calls_them() {
        for ground in Ground::ALL {
            for direction in [Ingress, Egress] {
                let reason = DropReason::named(ground.as_str(direction));
                assert_eq!(reason.is_some(), ground.action() == Action::Reject, "{ground:?}");
                let stage = Stage::named(ground.stage());
                assert!(stage.is_some(), "{ground:?}");
                assert!(reason.is_none_or(|reason| Some(reason.stage()) == stage), "{ground:?}");
            }
        }
    }
}
