//! Kinds of fault.

use serde::Serialize;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident => $text:literal,)*) => {
        /// What kind of fault a diagnostic tells of; written in kebab case.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        impl Code {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name, as in JSON output.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

codes! {
    /// Not TOML.
    Syntax => "syntax",
    /// A key that stands twice in a table.
    DuplicateKey => "duplicate-key",
    /// A key that means nothing where it stands.
    UnknownKey => "unknown-key",
    /// A value of another type than the key takes.
    WrongType => "wrong-type",
    /// A key that must be there is not.
    MissingKey => "missing-key",
    /// Keys that exclude each other.
    ConflictingKeys => "conflicting-keys",
    /// A number or duration beyond its range.
    OutOfRange => "out-of-range",
    /// Text that does not have the form asked for: a Region, an account, a duration, a path.
    BadForm => "bad-form",
    /// A name that is not allowed (SG-3, SG-4).
    BadName => "bad-name",
    /// A description that is too long or has forbidden characters (SG-3, SG-9).
    BadDescription => "bad-description",
    /// An id without the form of its kind.
    BadId => "bad-id",
    /// One id or name for two objects.
    DuplicateId => "duplicate-id",
    /// Text that is no CIDR block, or has no prefix length (SG-18).
    BadCidr => "bad-cidr",
    /// A CIDR block with bits set behind its prefix.
    HostBits => "host-bits",
    /// A block larger or smaller than allowed (RT-70, RES-46).
    BlockSize => "block-size",
    /// A block in a range that no VPC can use.
    ForbiddenRange => "forbidden-range",
    /// Blocks that overlap.
    Overlap => "overlap",
    /// A subnet outside the VPC.
    OutsideVpc => "outside-vpc",
    /// Text that is no IP address.
    BadAddress => "bad-address",
    /// An address outside its subnet.
    OutsideSubnet => "outside-subnet",
    /// An address that the subnet reserves (RES-10b, RES-21v6).
    ReservedAddress => "reserved-address",
    /// A service's address that is not a reserved one (RES-1).
    NotReserved => "not-reserved",
    /// One address for two ENIs or services (RES-45).
    DuplicateAddress => "duplicate-address",
    /// IPv6 where the VPC or the subnet has none.
    NoIpv6 => "no-ipv6",
    /// Text that is no usable MAC address.
    BadMac => "bad-mac",
    /// One MAC address for two devices.
    DuplicateMac => "duplicate-mac",
    /// A rule or entry that does not follow the grammar.
    BadRule => "bad-rule",
    /// No such protocol (SG-11).
    BadProtocol => "bad-protocol",
    /// A port or range of ports that is not one (SG-13).
    BadPorts => "bad-ports",
    /// An ICMP type or code that is not one (SG-14).
    BadIcmp => "bad-icmp",
    /// An ACL entry's number out of 1 to 32766 (NACL-4).
    BadRuleNumber => "bad-rule-number",
    /// Two entries of one direction with one number (NACL-3).
    DuplicateRuleNumber => "duplicate-rule-number",
    /// Two equal rules in one direction of a group (SG-60).
    DuplicateRule => "duplicate-rule",
    /// A reference to nothing.
    UnknownReference => "unknown-reference",
    /// A reference written as stale to a group that is there (SG-38).
    NotStale => "not-stale",
    /// The same thing named twice in a list.
    Repeated => "repeated",
    /// A list that must have something in it.
    EmptyList => "empty-list",
    /// A prefix list with both families (SG-40).
    MixedFamilies => "mixed-families",
    /// More than a quota allows.
    Quota => "quota",
    /// Quotas whose product is too large (SG-53).
    QuotaProduct => "quota-product",
    /// An ENI in two instances.
    TwoInstances => "two-instances",
    /// A device or namespace name that Linux does not take.
    BadDevice => "bad-device",
    /// One device for two attachments.
    DuplicateDevice => "duplicate-device",
    /// An MTU too small for IPv6.
    BadMtu => "bad-mtu",
    /// A format of flow-log records that names no field, an unknown one, or one twice (FL-50).
    BadLogFormat => "bad-log-format",
    /// A flow log that writes what another one writes (FL-6).
    DuplicateFlowLog => "duplicate-flow-log",
}
