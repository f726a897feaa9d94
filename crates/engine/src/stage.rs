//! The stages of the walk, as people are told of them, and which of them a packet dropped for a reason ended at.

use crate::reason::{DropReason, reasons};

reasons! {
    /// A stage of the walk: what `explain` reports, and where a scenario expects a packet to end.
    Stage {
        /// What a port may send at all: framing, addresses, link scope, spoof rules, header sanity (RES-43).
        Admission = "admission",
        /// Between one ENI and one service, unfiltered (RES-1, RES-3).
        ServicePath = "service-path",
        /// What is known of the datagram that a fragment belongs to (CT-60).
        Fragments = "fragments",
        /// The rules of all groups of an ENI, or an entry of its connection table (SG-20, CT-3).
        SecurityGroup = "security-group",
        /// To an ENI of the same subnet, or to the implicit router (RT-5).
        HandOver = "hand-over",
        /// The list of a subnet whose boundary the packet crosses (NACL-20).
        NetworkAcl = "network-acl",
        /// The side's connection entry is opened or refreshed (CT-7, CT-70).
        Commit = "commit",
        /// The mirror sessions of the ENI (TM-24).
        Mirror = "mirror",
        /// The route table of the sender's subnet (RT-12).
        Route = "route",
        /// The size that the path or the receiver takes (RT-60, RT-4).
        Mtu = "mtu",
        /// The destination is one of the receiver's addresses (RT-3).
        DestinationCheck = "destination-check",
        /// The receiver's device.
        Outlet = "outlet",
    }
}

impl DropReason {
    /// The stage at which a packet dropped for this reason ends. Every reason belongs to one.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self {
            Self::ServicePath => Stage::ServicePath,
            Self::FragmentOrphan | Self::FragmentInvalid => Stage::Fragments,
            Self::GroupEgress | Self::GroupIngress => Stage::SecurityGroup,
            Self::AclEgressEntry
            | Self::AclEgressDefault
            | Self::AclIngressEntry
            | Self::AclIngressDefault => Stage::NetworkAcl,
            Self::AllowanceEgress | Self::AllowanceIngress | Self::TableFull => Stage::Commit,
            Self::NoRoute | Self::UnownedAddress => Stage::Route,
            Self::Mtu | Self::ReceiverMtu => Stage::Mtu,
            Self::DestinationCheck => Stage::DestinationCheck,
            Self::MirrorQueue | Self::PortFull | Self::PortDown | Self::PortMissing | Self::PortRefused => {
                Stage::Outlet
            }
            Self::Truncated
            | Self::FrameTooShort
            | Self::VlanTag
            | Self::ForeignEthertype
            | Self::MalformedArp
            | Self::MalformedIp
            | Self::TruncatedTransport
            | Self::MalformedTransport
            | Self::ExtensionHeaders
            | Self::TcpFlags
            | Self::BadOffload
            | Self::SourceMac
            | Self::ArpSpoof
            | Self::NdpSpoof
            | Self::NdpInvalid
            | Self::DhcpServer
            | Self::Multicast
            | Self::DestinationMac
            | Self::Unserved
            | Self::ReservedSource
            | Self::SourceCheck
            | Self::OwnAddress => Stage::Admission,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for stage in Stage::ALL {
            assert_eq!(Stage::named(stage.as_str()), Some(stage));
        }
        for reason in DropReason::ALL {
            assert_eq!(DropReason::named(reason.as_str()), Some(reason));
        }
    }
}
