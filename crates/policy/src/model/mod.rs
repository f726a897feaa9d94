//! The validated VPC: every reference resolved to an index, every number in range, AWS's defaults filled in.
//!
//! A [`Vpc`] is made by [`crate::draft`] from a configuration file and compiled into a [`crate::Snapshot`]; nothing
//! downstream checks it again.

mod acl;
mod eni;
mod group;
mod mirror;

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};

pub use crate::flow_log::FlowLog;
pub use acl::{AclAction, AclEntry, AclList, NetworkAcl, RuleNumber};
pub use eni::{Attachment, ConnectionTracking, Eni, Instance, Profile, Service};
pub use mirror::{MirrorAction, MirrorFilter, MirrorRule, MirrorSession, MirrorTarget, MirrorTargetAt};
pub use palisade_packet::Direction;

pub use group::{GroupRule, ListSize, Peer, PrefixList, Protocol, SecurityGroup, StaleGroup};

macro_rules! index {
    ($($(#[$doc:meta])* $name:ident => $list:ident: $item:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub usize);

        impl std::ops::Index<$name> for Vpc {
            type Output = $item;

            fn index(&self, index: $name) -> &$item {
                &self.$list[index.0]
            }
        }
    )*};
}

index! {
    /// Position of a subnet in [`Vpc::subnets`].
    SubnetIndex => subnets: Subnet;
    /// Position of a network ACL in [`Vpc::network_acls`].
    AclIndex => network_acls: NetworkAcl;
    /// Position of a security group in [`Vpc::security_groups`].
    GroupIndex => security_groups: SecurityGroup;
    /// Position of a prefix list in [`Vpc::prefix_lists`].
    PrefixListIndex => prefix_lists: PrefixList;
    /// Position of an instance in [`Vpc::instances`].
    InstanceIndex => instances: Instance;
    /// Position of an ENI in [`Vpc::enis`].
    EniIndex => enis: Eni;
    /// Position of a mirror target in [`Vpc::mirror_targets`].
    MirrorTargetIndex => mirror_targets: MirrorTarget;
    /// Position of a mirror filter in [`Vpc::mirror_filters`].
    MirrorFilterIndex => mirror_filters: MirrorFilter;
    /// Position of a mirror session in [`Vpc::mirror_sessions`].
    MirrorSessionIndex => mirror_sessions: MirrorSession;
}

/// An IPv4 or IPv6 CIDR block in canonical form.
pub type Cidr = ipnet::IpNet;

/// A virtual private cloud.
#[derive(Clone, PartialEq, Debug)]
pub struct Vpc {
    /// `vpc-…`.
    pub id: String,
    /// AWS Region name, such as `us-east-1`.
    pub region: String,
    /// Twelve-digit account id.
    pub account: String,
    /// IPv4 blocks, the primary one first; one to five (RT-70).
    pub cidr_blocks: Vec<Ipv4Net>,
    /// IPv6 blocks.
    pub ipv6_cidr_blocks: Vec<Ipv6Net>,
    /// What becomes of tracked connections that the rules no longer admit.
    pub revocation: Revocation,
    /// Subnets, disjoint.
    pub subnets: Vec<Subnet>,
    /// Network ACLs; one has `is_default`.
    pub network_acls: Vec<NetworkAcl>,
    /// Security groups; one is named `default` (SG-6).
    pub security_groups: Vec<SecurityGroup>,
    /// Prefix lists.
    pub prefix_lists: Vec<PrefixList>,
    /// Instances: every ENI belongs to exactly one.
    pub instances: Vec<Instance>,
    /// Network interfaces.
    pub enis: Vec<Eni>,
    /// Service attachments.
    pub services: Vec<Service>,
    /// Mirror targets.
    pub mirror_targets: Vec<MirrorTarget>,
    /// Mirror filters.
    pub mirror_filters: Vec<MirrorFilter>,
    /// Mirror sessions.
    pub mirror_sessions: Vec<MirrorSession>,
    /// Flow logs; they see verdicts and change none.
    pub flow_logs: Vec<FlowLog>,
    /// Quotas in force.
    pub quotas: Quotas,
    /// Settings of the daemon that runs this VPC.
    pub daemon: Daemon,
}

impl Vpc {
    /// Whether the VPC has an IPv6 block.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        !self.ipv6_cidr_blocks.is_empty()
    }

    /// Every CIDR block, IPv4 first.
    pub fn blocks(&self) -> impl Iterator<Item = Cidr> + '_ {
        let v4 = self.cidr_blocks.iter().copied().map(Cidr::V4);
        v4.chain(self.ipv6_cidr_blocks.iter().copied().map(Cidr::V6))
    }

    /// The Amazon DNS address: base of the primary IPv4 block + 2 (RES-1 (c)).
    #[must_use]
    pub fn dns_address(&self) -> Option<IpAddr> {
        let base = self.cidr_blocks.first()?.network();
        Some(IpAddr::V4(std::net::Ipv4Addr::from_bits(base.to_bits() + 2)))
    }

    /// Positions of all ENIs that have a group (SG-30).
    pub fn members(&self, group: GroupIndex) -> impl Iterator<Item = EniIndex> + '_ {
        let has_group = move |eni: &Eni| eni.groups.contains(&group);
        self.enis.iter().enumerate().filter(move |(_, eni)| has_group(eni)).map(|(at, _)| EniIndex(at))
    }
}

/// What becomes of a tracked connection when the rules that let it be opened are gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Revocation {
    /// It lives on until it ends by itself, as in a VPC (CT-20).
    #[default]
    Aws,
    /// It is cut: each change of policy judges anew the packet that opened it (CT-27).
    Strict,
}

impl Revocation {
    /// Both, in the order in which they are explained.
    pub const ALL: [Self; 2] = [Self::Aws, Self::Strict];

    /// The word for it in a configuration file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Strict => "strict",
        }
    }
}

/// A subnet: an IPv4 block, an optional IPv6 block and one network ACL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subnet {
    /// `subnet-…`.
    pub id: String,
    /// Name in the configuration file.
    pub name: String,
    /// IPv4 block, /16 to /28, inside one of the VPC's.
    pub cidr: Ipv4Net,
    /// IPv6 block, inside one of the VPC's.
    pub ipv6_cidr: Option<Ipv6Net>,
    /// The one associated ACL (NACL-1).
    pub network_acl: AclIndex,
}

/// Upper limits on objects, AWS's defaults unless raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quotas {
    /// Entries per ACL, direction and family, the `*` entry included (NACL-17). AWS: 20, raisable to 40; here to 32,767.
    pub network_acl_entries: u32,
    /// ACLs per VPC (NACL-17).
    pub network_acls: u32,
    /// Rules per group, direction and family (SG-51).
    pub security_group_rules: u32,
    /// Groups per ENI (SG-52).
    pub groups_per_eni: u32,
    /// Upper limit of the product of the two before (SG-53).
    pub rules_per_eni: u32,
    /// Groups per VPC; AWS counts per Region (SG-50).
    pub security_groups: u32,
    /// IPv4 or IPv6 blocks per VPC (RT-70).
    pub cidr_blocks: u32,
    /// Subnets per VPC.
    pub subnets: u32,
    /// Mirror sessions per source ENI (TM-6).
    pub mirror_sessions_per_eni: u32,
    /// Mirror sessions per target; AWS: 100 on the largest instance size (TM-6).
    pub mirror_sessions_per_target: u32,
    /// Rules per mirror filter, both directions together (TM-4).
    pub mirror_filter_rules: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            network_acl_entries: 20,
            network_acls: 200,
            security_group_rules: 60,
            groups_per_eni: 5,
            rules_per_eni: 1000,
            security_groups: 2500,
            cidr_blocks: 5,
            subnets: 200,
            mirror_sessions_per_eni: 3,
            mirror_sessions_per_target: 10,
            mirror_filter_rules: 10,
        }
    }
}

/// Settings of the daemon; none of them changes a verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Daemon {
    /// Worker threads, 1 to 256; `None`: as many as suit the machine.
    pub workers: Option<usize>,
    /// The CPU that each worker is bound to, in their order; empty: the kernel moves workers as it likes.
    pub worker_cpus: Vec<usize>,
    /// What workers do while nothing arrives.
    pub latency: Latency,
    /// Where the control socket is made; `None`: `/run/palisade/VPC-ID.sock`.
    pub control_socket: Option<PathBuf>,
    /// Capacity of the connection table, all ENIs together; memory for it is taken at start.
    pub max_connections: u32,
    /// Flows whose verdict each worker keeps, 0 to 8,388,608; with 0 every packet takes the whole walk.
    pub flow_cache: u32,
    /// Whether consecutive segments of one TCP flow leave as one segmentation-offload frame where the port takes it.
    pub gro: bool,
    /// Directory in which records of flow logs wait for delivery; `None`: `/var/lib/palisade/VPC-ID/flow-logs`.
    pub flow_log_spool: Option<PathBuf>,
    /// Bytes that each flow log may have waiting there.
    pub flow_log_spool_limit: u64,
    /// Records of open windows, all flow logs together.
    pub flow_log_records: u32,
    /// File of credentials for AWS services, in the form of AWS's SDKs; `None`: the file that they would take.
    pub credentials_file: Option<PathBuf>,
}

impl Daemon {
    /// Where the records of a VPC's flow logs wait for delivery.
    #[must_use]
    pub fn flow_log_spool(&self, vpc_id: &str) -> PathBuf {
        let given = self.flow_log_spool.clone();
        given.unwrap_or_else(|| PathBuf::from(format!("/var/lib/palisade/{vpc_id}/flow-logs")))
    }
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            workers: None,
            worker_cpus: Vec::new(),
            latency: Latency::default(),
            control_socket: None,
            max_connections: 262_144,
            flow_cache: 65_536,
            gro: true,
            flow_log_spool: None,
            flow_log_spool_limit: 256 << 20,
            flow_log_records: 1 << 20,
            credentials_file: None,
        }
    }
}

/// What a worker does when nothing waits: a worker that sleeps must be woken, which costs a round trip more than the packet
/// does; one that polls takes CPU time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Latency {
    /// It polls for some milliseconds after traffic, whoever else wants its CPU: the shortest round trips.
    Low,
    /// It polls for a moment after traffic, as long as nobody else wants its CPU and polling has paid lately.
    #[default]
    Balanced,
    /// It sleeps at once: the least CPU time.
    Efficient,
}

impl Latency {
    /// All of them, in the order in which they are explained.
    pub const ALL: [Self; 3] = [Self::Low, Self::Balanced, Self::Efficient];

    /// The word for it in a configuration file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Balanced => "balanced",
            Self::Efficient => "efficient",
        }
    }
}
