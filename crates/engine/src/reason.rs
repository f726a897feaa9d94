//! Why a journey ended elsewhere than at a port: flat enums, each with a counter by construction.

use palisade_packet::{Direction, InvalidTransport};

macro_rules! reasons {
    ($(#[$outer:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)* }

        impl $name {
            /// Every variant, in the order of their indices.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = [$($text,)*].len();

            /// The one of a name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|known| known.as_str() == name)
            }

            /// The name used in tables, logs and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// A sentence for people.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)* }
            }

            /// Place in an array of counters.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use reasons;

reasons! {
    /// Why a packet was dropped. The variant's doc comment is the text that people are shown.
    DropReason {
        /// The frame was longer than the receive buffer and arrived cut off.
        Truncated = "truncated",
        /// The frame is shorter than an Ethernet header and the headers it announces.
        FrameTooShort = "frame-too-short",
        /// The frame carries a VLAN tag; a VPC has none.
        VlanTag = "vlan-tag",
        /// The frame carries neither ARP, IPv4 nor IPv6.
        ForeignEthertype = "foreign-ethertype",
        /// The ARP packet is malformed.
        MalformedArp = "malformed-arp",
        /// The IP header contradicts itself or the length of the frame.
        MalformedIp = "malformed-ip",
        /// The TCP, UDP or ICMP header is not whole (CT-48).
        TruncatedTransport = "truncated-transport",
        /// The TCP or UDP header announces an impossible length.
        MalformedTransport = "malformed-transport",
        /// Too many IPv6 extension headers, or in an order that RFC 8200 forbids (SG-27).
        ExtensionHeaders = "extension-headers",
        /// A TCP flag combination that no TCP sends (CT-40).
        TcpFlags = "tcp-flags",
        /// The virtio-net header asks for an offload that does not fit the packet.
        BadOffload = "bad-offload",
        /// The source MAC address is not the sender's own (RES-41).
        SourceMac = "source-mac",
        /// ARP with a sender address that is not the ENI's (RES-40).
        ArpSpoof = "arp-spoof",
        /// Neighbour discovery with a source or link-layer option that is not the ENI's (RES-40b).
        NdpSpoof = "ndp-spoof",
        /// Neighbour discovery that is malformed or has a hop limit other than 255 (RES-24v6).
        NdpInvalid = "ndp-invalid",
        /// The guest acts as a DHCP server (RES-31).
        DhcpServer = "dhcp-server",
        /// Broadcast or multicast, which a VPC does not carry (SG-74).
        Multicast = "multicast",
        /// The destination MAC address is neither the router's nor that of another ENI of the subnet (RT-5).
        DestinationMac = "destination-mac",
        /// A reserved or link-local address behind which no service answers (RES-5).
        Unserved = "unserved",
        /// The source is an address that no guest may use (RES-4).
        ReservedSource = "reserved-source",
        /// The source is not one of the ENI's addresses (RES-42).
        SourceCheck = "source-check",
        /// The destination is the sending ENI's own address (SG-72).
        OwnAddress = "own-address",
        /// A service sent from an address that it does not own, or to something that is not an ENI (RES-3).
        ServicePath = "service-path",
        /// No outbound rule of the sender's security groups matches (SG-20).
        GroupEgress = "group-egress",
        /// No inbound rule of the receiver's security groups matches (SG-20).
        GroupIngress = "group-ingress",
        /// An entry of the sender's subnet's network ACL denies it outbound (NACL-21).
        AclEgressEntry = "acl-egress-entry",
        /// No outbound entry of the sender's subnet's network ACL matches (NACL-5).
        AclEgressDefault = "acl-egress-default",
        /// An entry of the receiver's subnet's network ACL denies it inbound (NACL-21).
        AclIngressEntry = "acl-ingress-entry",
        /// No inbound entry of the receiver's subnet's network ACL matches (NACL-5).
        AclIngressDefault = "acl-ingress-default",
        /// The sender's instance has as many tracked connections as it may have (CT-70).
        AllowanceEgress = "allowance-egress",
        /// The receiver's instance has as many tracked connections as it may have (CT-70).
        AllowanceIngress = "allowance-ingress",
        /// The connection table is full.
        TableFull = "table-full",
        /// No route leads to the destination (RT-12).
        NoRoute = "no-route",
        /// The destination is inside the VPC but no ENI owns it (RT-5, RES-8).
        UnownedAddress = "unowned-address",
        /// Larger than the path carries; the sender was told, unless RT-64 forbids it (RT-61, RT-62).
        Mtu = "mtu",
        /// Larger than the receiver's MTU inside one subnet, where no router could tell the sender (RT-4).
        ReceiverMtu = "receiver-mtu",
        /// The destination is not one of the receiving ENI's addresses (RT-3).
        DestinationCheck = "destination-check",
        /// A later fragment whose first fragment did not come in time, or for which there was no room to wait (CT-61).
        FragmentOrphan = "fragment-orphan",
        /// A fragment that overlaps another, or of a datagram that was given up (CT-63).
        FragmentInvalid = "fragment-invalid",
        /// More copies were owed at once than one burst may make: production packets go first (TM-45).
        MirrorQueue = "mirror-queue",
        /// The receiver's device took no more frames.
        PortFull = "port-full",
        /// The receiver's device is down or gone.
        PortDown = "port-down",
        /// The receiver has no device, or the sender is gone.
        PortMissing = "port-missing",
        /// The receiver's device refused the frame.
        PortRefused = "port-refused",
    }
}

impl DropReason {
    /// The reason of a denial by a group without a matching rule.
    pub(crate) const fn group(direction: Direction) -> Self {
        match direction {
            Direction::Ingress => Self::GroupIngress,
            Direction::Egress => Self::GroupEgress,
        }
    }

    /// The reason of a denial by an ACL, by an entry or because nothing matched: different facts, different values.
    pub(crate) const fn acl(direction: Direction, by_entry: bool) -> Self {
        match (direction, by_entry) {
            (Direction::Ingress, true) => Self::AclIngressEntry,
            (Direction::Ingress, false) => Self::AclIngressDefault,
            (Direction::Egress, true) => Self::AclEgressEntry,
            (Direction::Egress, false) => Self::AclEgressDefault,
        }
    }

    /// The reason of a refusal by the tracking allowance.
    pub(crate) const fn allowance(direction: Direction) -> Self {
        match direction {
            Direction::Ingress => Self::AllowanceIngress,
            Direction::Egress => Self::AllowanceEgress,
        }
    }
}

impl From<InvalidTransport> for DropReason {
    fn from(why: InvalidTransport) -> Self {
        match why {
            InvalidTransport::Truncated => Self::TruncatedTransport,
            InvalidTransport::Length => Self::MalformedTransport,
            InvalidTransport::ExtensionHeaders => Self::ExtensionHeaders,
            InvalidTransport::Fragment => Self::FragmentInvalid,
        }
    }
}

reasons! {
    /// What the fabric took for itself.
    Consumed {
        /// An ARP packet, answered or not (RES-40).
        Arp = "arp",
        /// Neighbour or router discovery (RES-40b, RES-23v6).
        Neighbour = "neighbour-discovery",
        /// Multicast listener discovery (RES-23v6).
        Multicast = "multicast-listener",
        /// DHCP of either version from a guest; nothing of it reaches another guest (RES-31).
        Dhcp = "dhcp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_indices_dense() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
        for (at, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), at);
            assert!(reason.describe().ends_with('.'), "{reason}");
        }
    }
}
