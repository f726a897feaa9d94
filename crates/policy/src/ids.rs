//! EC2 ids: their form, and those derived from names so that they are the same at every start.

use palisade_packet::MacAddr;
use sha2::{Digest, Sha256};

/// Kinds of object that have an id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IdKind {
    /// A VPC, `vpc-…`.
    Vpc,
    /// A subnet, `subnet-…`.
    Subnet,
    /// A network ACL, `acl-…`.
    NetworkAcl,
    /// A security group, `sg-…`.
    SecurityGroup,
    /// A security group's rule, `sgr-…`.
    GroupRule,
    /// A prefix list, `pl-…`.
    PrefixList,
    /// A network interface, `eni-…`.
    Eni,
    /// An instance, `i-…`.
    Instance,
    /// A mirror target, `tmt-…`.
    MirrorTarget,
    /// A mirror filter, `tmf-…`.
    MirrorFilter,
    /// A rule of a mirror filter, `tmfr-…`.
    MirrorRule,
    /// A mirror session, `tms-…`.
    MirrorSession,
    /// A flow log, `fl-…`.
    FlowLog,
}

impl IdKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 13] = [
        Self::Vpc,
        Self::Subnet,
        Self::NetworkAcl,
        Self::SecurityGroup,
        Self::GroupRule,
        Self::PrefixList,
        Self::Eni,
        Self::Instance,
        Self::MirrorTarget,
        Self::MirrorFilter,
        Self::MirrorRule,
        Self::MirrorSession,
        Self::FlowLog,
    ];

    /// What its ids begin with, before the hyphen.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Subnet => "subnet",
            Self::NetworkAcl => "acl",
            Self::SecurityGroup => "sg",
            Self::GroupRule => "sgr",
            Self::PrefixList => "pl",
            Self::Eni => "eni",
            Self::Instance => "i",
            Self::MirrorTarget => "tmt",
            Self::MirrorFilter => "tmf",
            Self::MirrorRule => "tmfr",
            Self::MirrorSession => "tms",
            Self::FlowLog => "fl",
        }
    }

    /// What a person calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vpc => "VPC",
            Self::Subnet => "subnet",
            Self::NetworkAcl => "network ACL",
            Self::SecurityGroup => "security group",
            Self::GroupRule => "security group rule",
            Self::PrefixList => "prefix list",
            Self::Eni => "ENI",
            Self::Instance => "instance",
            Self::MirrorTarget => "mirror target",
            Self::MirrorFilter => "mirror filter",
            Self::MirrorRule => "mirror filter rule",
            Self::MirrorSession => "mirror session",
            Self::FlowLog => "flow log",
        }
    }

    /// Whether `text` is an id of this kind: the prefix, a hyphen and 17 (older ids: 8) lower-case hexadecimal digits.
    #[must_use]
    pub fn is_id(self, text: &str) -> bool {
        let digits = text.strip_prefix(self.prefix()).and_then(|rest| rest.strip_prefix('-'));
        digits.is_some_and(|digits| matches!(digits.len(), 8 | 17) && digits.bytes().all(is_digit))
    }

    /// The id of an object that was given none: 17 digits of a hash over its kind, the id of what it belongs to and
    /// its name.
    #[must_use]
    pub fn derive(self, scope: &str, name: &str) -> String {
        let digits = hash(&["id", self.prefix(), scope, name]) >> (128 - 17 * 4);
        format!("{}-{digits:017x}", self.prefix())
    }
}

/// MAC address of an ENI that was given none: locally administered, unicast, derived from its id.
#[must_use]
pub fn eni_mac(id: &str) -> MacAddr {
    derived_mac("eni", id)
}

/// MAC address of a service: locally administered, unicast, derived from the VPC's id and its name.
#[must_use]
pub fn service_mac(vpc_id: &str, name: &str) -> MacAddr {
    derived_mac("service", &format!("{vpc_id} {name}"))
}

/// MAC address of a subnet's implicit router: locally administered, unicast, derived from the subnet's id.
#[must_use]
pub fn router_mac(subnet_id: &str) -> MacAddr {
    derived_mac("router", subnet_id)
}

/// VXLAN network identifier of a mirror session that was given none, derived from its id. AWS draws one at random (TM-5).
#[must_use]
pub fn vni(session_id: &str) -> u32 {
    let [.., first, second, third] = hash(&["vni", session_id]).to_be_bytes();
    u32::from_be_bytes([0, first, second, third])
}

fn derived_mac(kind: &str, text: &str) -> MacAddr {
    let [.., first, second, third, fourth, fifth, sixth] = hash(&["mac", kind, text]).to_be_bytes();
    MacAddr([(first | 0b10) & !0b1, second, third, fourth, fifth, sixth])
}

/// The first 128 bits of SHA-256 over the parts, each with its length, so that no two lists of parts give the same text.
fn hash(parts: &[&str]) -> u128 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    digest.iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_have_the_form_and_never_change() {
        let id = IdKind::Eni.derive("vpc-0123456789abcdef0", "web-1");
        assert!(IdKind::Eni.is_id(&id), "{id}");
        assert_eq!(id, IdKind::Eni.derive("vpc-0123456789abcdef0", "web-1"));
        assert_ne!(id, IdKind::Eni.derive("vpc-0123456789abcdef0", "web-2"));
        assert_ne!(id, IdKind::Eni.derive("vpc-0123456789abcdef1", "web-1"));
        assert_ne!(id[4..], IdKind::Subnet.derive("vpc-0123456789abcdef0", "web-1")[7..]);
    }

    #[test]
    fn form_of_ids() {
        for good in ["sg-0123abcd", "sg-0123456789abcdef0"] {
            assert!(IdKind::SecurityGroup.is_id(good), "{good}");
        }
        for bad in
            ["sg-", "sg-0123", "sg-0123ABCD", "sgr-0123abcd", "sg0123abcd", "sg-0123456789abcdefg", "é"]
        {
            assert!(!IdKind::SecurityGroup.is_id(bad), "{bad}");
        }
    }

    #[test]
    fn derived_macs_are_local_and_unicast() {
        for name in 0..200 {
            for mac in [eni_mac(&format!("eni-{name}")), service_mac("vpc-1", &name.to_string())] {
                assert_eq!(mac.0[0] & 0b11, 0b10, "{mac}");
            }
        }
        assert_ne!(eni_mac("x"), service_mac("", "x"));
    }
}
