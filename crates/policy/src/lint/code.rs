//! Kinds of finding.

use serde::Serialize;

/// How much a finding weighs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; often meant so.
    Note,
    /// Probably a mistake: something that is written has no effect, or not the one that it seems to have.
    Warning,
}

impl Severity {
    /// `note` or `warning`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $severity:ident $name:ident => $text:literal,)*) => {
        /// What kind of finding; written in kebab case. A kind keeps its name and its severity.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        impl Code {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name, as it is printed and as options take it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// How much it weighs.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity),* }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim()),* }
            }
        }
    };
}

codes! {
    /// An ACL's entry that never decides: earlier entries match all that it matches.
    Warning ShadowedEntry => "shadowed-entry",
    /// An ACL's entry that changes nothing: later entries decide alike.
    Warning RedundantEntry => "redundant-entry",
    /// A denial at the end of an ACL that only repeats what its `*` entry does.
    Note RepeatsDefault => "repeats-default",
    /// An ACL's entry for addresses inside the only subnet that has the ACL: traffic inside a subnet never meets it.
    Warning EntryInsideSubnet => "entry-inside-subnet",
    /// A group's rule that changes nothing: other rules of its group match all that it matches.
    Warning RedundantRule => "redundant-rule",
    /// A group's rule that changes nothing, because its group is only where other groups match the same.
    Note RedundantAcrossGroups => "redundant-across-groups",
    /// A group's rule that changes nothing as long as groups have their present members and prefix lists their present entries.
    Note RedundantForNow => "redundant-for-now",
    /// A rule whose group no longer exists.
    Warning StaleReference => "stale-reference",
    /// A rule whose group is on no network interface that it could match.
    Warning ReferenceWithoutMembers => "reference-without-members",
    /// A rule whose prefix list has no entry.
    Warning EmptyPrefixList => "empty-prefix-list",
    /// `icmp` with IPv6 addresses, or `icmpv6` with IPv4 addresses.
    Warning IcmpOtherFamily => "icmp-other-family",
    /// IPv6 in a VPC without IPv6.
    Warning Ipv6InIpv4Vpc => "ipv6-in-ipv4-vpc",
    /// Addresses whose packets never meet a rule: exempt, link-local or multicast.
    Warning UnseenAddress => "unseen-address",
    /// Ports of a protocol whose ports rules do not look at: all of it is matched.
    Warning IgnoredPorts => "ignored-ports",
    /// A group on no network interface.
    Warning UnusedGroup => "unused-group",
    /// An ACL on no subnet.
    Warning UnusedAcl => "unused-acl",
    /// A prefix list that no rule refers to.
    Warning UnusedPrefixList => "unused-prefix-list",
    /// A group's rule of which the ACLs of all its subnets deny everything.
    Warning DeniedByAcl => "denied-by-acl",
    /// A group's rule of which the ACL of one of its subnets denies everything.
    Note DeniedInSubnet => "denied-in-subnet",
    /// A group and an ACL let connections through whose answers the ACL denies.
    Warning NoReturnPath => "no-return-path",
    /// The same of a rule and an entry that name no port: perhaps nobody opens such connections.
    Note NoReturnForWideRule => "no-return-for-wide-rule",
    /// Answers pass to some clients only: those of one system, but not all of 1024-65535.
    Note NarrowReturnPath => "narrow-return-path",
    /// A rule that makes its connections untracked: a change of rules cuts them at once.
    Note UntrackedFlows => "untracked-flows",
}
