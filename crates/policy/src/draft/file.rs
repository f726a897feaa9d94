//! The tables of a configuration file, as written: one list of keys gives the reader and the JSON Schema.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use palisade_packet::MacAddr;
use schemars::{Schema, SchemaGenerator};

use super::entry::AclLine;
use super::flow_log::FlowLogTable;
use super::mirror_rule::{MirrorLine, NetworkService};
use super::rule::GroupRuleLine;
use super::scalar::{
    Account, Description, DeviceName, Family, Id, NetnsName, Path, Region, SocketPath, Time,
};
use super::table::{Named, table};
use super::value::{At, Item, List, Number, Read, Text};
use crate::diagnostics::Report;
use crate::ids::IdKind;
use crate::model::{Latency, Profile, Revocation};

table! {
    /// A VPC and everything in it. Names stand for ids wherever an id is asked for.
    File {
        /// The VPC itself.
        required vpc: VpcTable,
        /// Subnets by name.
        optional subnet: Named<SubnetTable>,
        /// Network ACLs by name; the table `default` replaces entries of the VPC's default ACL.
        optional network_acl: Named<AclTable>,
        /// Prefix lists by name; rules refer to them as `pl:NAME`.
        optional prefix_list: Named<PrefixListTable>,
        /// Security groups by name; rules refer to them as `sg:NAME`. The table `default` replaces rules of the VPC's default group.
        optional security_group: Named<GroupTable>,
        /// Instances by name: ENIs that share one tracking allowance.
        optional instance: Named<InstanceTable>,
        /// Elastic network interfaces by name.
        optional eni: Named<EniTable>,
        /// Services by name: devices that answer on reserved addresses; no ACL and no group filters their traffic.
        optional service: Named<ServiceTable>,
        /// Mirror targets by name: where copies of packets go.
        optional mirror_target: Named<MirrorTargetTable>,
        /// Mirror filters by name: which packets are copied.
        optional mirror_filter: Named<MirrorFilterTable>,
        /// Mirror sessions by name: whose packets are copied.
        optional mirror_session: Named<MirrorSessionTable>,
        /// Flow logs by name.
        optional flow_log: Named<FlowLogTable>,
        /// Quotas; AWS's defaults where absent.
        optional quotas: QuotaTable,
        /// Settings of the daemon; none of them changes a verdict.
        optional daemon: DaemonTable,
    }
}

table! {
    /// The VPC itself.
    VpcTable {
        /// `vpc-…`; absent: derived from account, Region and primary IPv4 block.
        optional id: Id<{ IdKind::Vpc as usize }>,
        /// AWS Region; absent: us-east-1.
        optional region: Region,
        /// AWS account, twelve digits; absent: 000000000000.
        optional account: Account,
        /// IPv4 blocks, /16 to /28, the primary one first (RT-70).
        required cidr_blocks: List<At<Ipv4Net>>,
        /// IPv6 block, /44 to /60 in steps of 4; AWS gives a /56 (RT-70).
        optional ipv6_cidr_block: At<Ipv6Net>,
        /// Further IPv6 blocks.
        optional ipv6_cidr_blocks: List<At<Ipv6Net>>,
        /// What becomes of tracked connections that a change of rules no longer admits: `aws`, they live on (CT-20), or `strict`, they are cut; absent: aws.
        optional revocation: At<Revocation>,
    }
}

table! {
    /// A subnet.
    SubnetTable {
        /// `subnet-…`; absent: derived from the name.
        optional id: Id<{ IdKind::Subnet as usize }>,
        /// IPv4 block inside the VPC's, /16 to /28.
        required cidr: At<Ipv4Net>,
        /// IPv6 block inside the VPC's, /44 to /64 in steps of 4; usually a /64.
        optional ipv6_cidr: At<Ipv6Net>,
        /// Its network ACL; absent: the VPC's default ACL.
        optional network_acl: Text,
    }
}

table! {
    /// A network ACL. Without entries it denies everything (NACL-7).
    AclTable {
        /// `acl-…`; absent: derived from the name.
        optional id: Id<{ IdKind::NetworkAcl as usize }>,
        /// Entries for packets entering the subnet, such as `100 allow tcp 443 from 0.0.0.0/0`.
        optional ingress: List<AclLine<false>>,
        /// Entries for packets leaving the subnet, such as `100 allow all to 0.0.0.0/0`.
        optional egress: List<AclLine<true>>,
    }
}

table! {
    /// A prefix list: CIDR blocks of one family.
    PrefixListTable {
        /// `pl-…`; absent: derived from the name.
        optional id: Id<{ IdKind::PrefixList as usize }>,
        /// Family of the blocks; absent: that of the first one.
        optional address_family: At<Family>,
        /// Of a customer-managed list: the most entries it may have, and what it counts in the quota of a group that refers to it (SG-41); absent: as many as it has entries.
        optional max_entries: At<Number<1, 1_000_000>>,
        /// Of an AWS-managed list, instead of `max_entries`: what it counts in that quota: 1 for S3 and `DynamoDB`, 5 for Ground Station, 10 for VPC Lattice, 55 for `CloudFront` (SG-41).
        optional weight: At<Number<1, 1_000>>,
        /// The blocks; may be empty if `address_family` is there.
        required entries: List<At<IpNet>>,
    }
}

table! {
    /// A security group.
    GroupTable {
        /// `sg-…`; absent: derived from the name.
        optional id: Id<{ IdKind::SecurityGroup as usize }>,
        /// What it is for; absent: its name.
        optional description: Description,
        /// Inbound rules, such as `tcp 443 from 0.0.0.0/0`; absent: none (SG-5).
        optional ingress: List<GroupRuleLine<false>>,
        /// Outbound rules, such as `all to 0.0.0.0/0`; absent: everything to everywhere (SG-5).
        optional egress: List<GroupRuleLine<true>>,
    }
}

table! {
    /// An instance.
    InstanceTable {
        /// `i-…`; absent: derived from the name.
        optional id: Id<{ IdKind::Instance as usize }>,
        /// Its ENIs.
        required enis: List<Text>,
        /// Most tracked connections, its ENIs together (CT-70); absent: 65536.
        optional max_tracked: At<Number<1, { u32::MAX }>>,
        /// Hardware profile, which decides the default time-out of established TCP (CT-30); absent: nitro.
        optional profile: At<Profile>,
    }
}

table! {
    /// An elastic network interface.
    EniTable {
        /// `eni-…`; absent: derived from the name.
        optional id: Id<{ IdKind::Eni as usize }>,
        /// Its subnet.
        required subnet: Text,
        /// Primary private IPv4 address.
        required address: At<Ipv4Addr>,
        /// Secondary private IPv4 addresses.
        optional secondary_addresses: List<At<Ipv4Addr>>,
        /// IPv6 address; the subnet must have an IPv6 block.
        optional ipv6_address: At<Ipv6Addr>,
        /// Further IPv6 addresses.
        optional ipv6_addresses: List<At<Ipv6Addr>>,
        /// MAC address; absent: derived from the id.
        optional mac: At<MacAddr>,
        /// Security groups; absent: the VPC's default group (SG-7).
        optional groups: List<Text>,
        /// Whether it may send and receive only with its own addresses (RES-42); absent: true.
        optional source_dest_check: At<bool>,
        /// Largest IP packet in bytes, 1280 at least with IPv6; absent: 9001.
        optional mtu: At<Number<68, 9001>>,
        /// Idle time-outs of tracked connections.
        optional connection_tracking: TrackingTable,
        /// The device it is attached to.
        required attach: At<AttachTable>,
    }
}

table! {
    /// Idle time-outs of tracked connections.
    TrackingTable {
        /// Established TCP, 60s to 432000s; absent: 432000s, with profile nitro-v6 350s (CT-30).
        optional tcp_established: At<Time<60, 432_000>>,
        /// UDP with one request and answer at most, 30s to 60s; absent: 30s (CT-31).
        optional udp: At<Time<30, 60>>,
        /// UDP after the second request and answer, 60s to 180s; absent: 180s (CT-32).
        optional udp_stream: At<Time<60, 180>>,
    }
}

table! {
    /// A device: either a TAP that the daemon makes, or an existing interface that a packet socket takes over.
    AttachTable {
        /// Name of the TAP device to make.
        optional tap: DeviceName,
        /// Network namespace to make the TAP in; absent: the daemon's.
        optional netns: NetnsName,
        /// Whether to set addresses, default route and MTU in that namespace; absent: false.
        optional configure: At<bool>,
        /// Name of an existing interface to take over.
        optional packet: DeviceName,
        /// Whether the device takes segmentation-offload frames and partial checksums; absent: true.
        optional offload: At<bool>,
        /// Number of the worker that receives from it, from 0; absent: the one with the fewest ports.
        optional worker: At<Number<0, 255>>,
    }
}

impl Read for At<AttachTable> {
    const NAME: &'static str = "Attachment";

    /// Its place is that of its key, where to point if no device is named.
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        AttachTable::read(item, report).map(|value| Self { value, span: item.owner })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = AttachTable::schema(generator);
        schema.insert(
            "oneOf".to_owned(),
            serde_json::json!([{ "required": ["tap"] }, { "required": ["packet"] }]),
        );
        schema
    }
}

table! {
    /// A service attachment.
    ServiceTable {
        /// Reserved addresses it answers on.
        required addresses: List<At<IpAddr>>,
        /// The device it is attached to.
        required attach: At<AttachTable>,
    }
}

table! {
    /// A mirror target: an ENI, or a collector behind a service attachment.
    MirrorTargetTable {
        /// `tmt-…`; absent: derived from the name.
        optional id: Id<{ IdKind::MirrorTarget as usize }>,
        /// The ENI that gets the copies; its groups must admit UDP 4789 from the source (TM-43).
        optional eni: Text,
        /// Instead: the service whose device gets them; they are addressed to its first IPv4 address.
        optional service: Text,
    }
}

table! {
    /// A mirror filter. A direction without rules is not copied (TM-21).
    MirrorFilterTable {
        /// `tmf-…`; absent: derived from the name.
        optional id: Id<{ IdKind::MirrorFilter as usize }>,
        /// Services whose traffic is copied whatever the rules: `amazon-dns` (TM-26); absent: none.
        optional network_services: List<At<NetworkService>>,
        /// Rules for packets delivered to the source, such as `100 accept tcp from 0.0.0.0/0 to 0.0.0.0/0 443`.
        optional ingress: List<MirrorLine>,
        /// Rules for packets sent by the source.
        optional egress: List<MirrorLine>,
    }
}

table! {
    /// A mirror session.
    MirrorSessionTable {
        /// `tms-…`; absent: derived from the name.
        optional id: Id<{ IdKind::MirrorSession as usize }>,
        /// The ENI whose packets are copied.
        required source: Text,
        /// Where the copies go.
        required target: Text,
        /// Which packets are copied.
        required filter: Text,
        /// Place among the sessions of the source: the first whose filter accepts a packet copies it (TM-24).
        required number: At<Number<1, 32_766>>,
        /// VXLAN network identifier; absent: derived from the id (TM-5).
        optional virtual_network_id: At<Number<0, 16_777_215>>,
        /// Bytes copied of each packet, Ethernet header included (TM-36); absent: all of it.
        optional packet_length: At<Number<1, 8_500>>,
    }
}

table! {
    /// Quotas. Raising them is the operator's right.
    QuotaTable {
        /// Entries per ACL, direction and family, the `*` entry included; absent: 20 (NACL-17).
        optional network_acl_entries: At<Number<1, 32_767>>,
        /// Network ACLs; absent: 200 (NACL-17).
        optional network_acls: At<Number<1, 1_000_000>>,
        /// Rules per group, direction and family; absent: 60 (SG-51).
        optional security_group_rules: At<Number<1, 1_000_000>>,
        /// Groups per ENI; absent: 5 (SG-52).
        optional groups_per_eni: At<Number<1, 16>>,
        /// Upper limit of the product of the two before; absent: 1000 (SG-53).
        optional rules_per_eni: At<Number<1, 16_000_000>>,
        /// Security groups; absent: 2500 (SG-50).
        optional security_groups: At<Number<1, 1_000_000>>,
        /// IPv4 blocks of the VPC, and IPv6 blocks; absent: 5 (RT-70).
        optional cidr_blocks: At<Number<1, 1_000>>,
        /// Subnets; absent: 200.
        optional subnets: At<Number<1, 1_000_000>>,
        /// Mirror sessions per source ENI; absent: 3 (TM-6).
        optional mirror_sessions_per_eni: At<Number<1, 32_766>>,
        /// Mirror sessions per target; absent: 10 (TM-6).
        optional mirror_sessions_per_target: At<Number<1, 1_000_000>>,
        /// Rules per mirror filter, both directions together; absent: 10 (TM-4).
        optional mirror_filter_rules: At<Number<1, 65_532>>,
    }
}

table! {
    /// Settings of the daemon.
    DaemonTable {
        /// Worker threads; absent: one for each of `worker_cpus`, or two as the load has it, if there are two CPUs.
        optional workers: At<Number<1, 256>>,
        /// The CPU that each worker is bound to, in their order; absent: none is bound.
        optional worker_cpus: List<At<Number<0, 1_023>>>,
        /// What workers do while nothing arrives: poll for milliseconds after traffic (low), for a moment while nobody else wants the CPU (balanced), or sleep at once (efficient); absent: balanced.
        optional latency: At<Latency>,
        /// Where the control socket is made; absent: /run/palisade/VPC-ID.sock.
        optional control_socket: SocketPath,
        /// Capacity of the connection table, all ENIs together; absent: 262144.
        optional max_connections: At<Number<1, 100_000_000>>,
        /// Flows whose verdict each worker keeps; 0: none, every packet takes the whole walk; absent: 65536.
        optional flow_cache: At<Number<0, 8_388_608>>,
        /// Consecutive TCP segments or UDP datagrams of a flow leave as one segmentation-offload frame where the port takes it; absent: true.
        optional gro: At<bool>,
        /// Directory in which records of flow logs wait for delivery; absent: /var/lib/palisade/VPC-ID/flow-logs.
        optional flow_log_spool: Path,
        /// Mebibytes of records that each flow log may have waiting there; what comes beyond is lost, and told as SKIPDATA; absent: 256.
        optional flow_log_spool_limit: At<Number<1, 1_048_576>>,
        /// Records of open aggregation windows, all flow logs together, 110 to 220 bytes each; beyond that, records are written early (FL-12); absent: 1048576.
        optional flow_log_records: At<Number<1, 100_000_000>>,
        /// File of credentials for AWS services, in the form of AWS's SDKs; absent: what `AWS_SHARED_CREDENTIALS_FILE` says, or ~/.aws/credentials.
        optional credentials_file: Path,
    }
}
