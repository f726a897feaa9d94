//! The resolved VPC as `palisade check --output json` shows it: names and ids side by side, rules as text.
//!
//! Scripts build topologies from it, so its keys are a promise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use palisade_packet::MacAddr;
use palisade_policy::flow_log::{Destination, FlowLog};
use palisade_policy::model::{
    Attachment, Direction, Eni, Instance, ListSize, NetworkAcl, PrefixList, Profile, SecurityGroup, Service,
    Subnet, Vpc,
};
use serde::Serialize;

use palisade_policy::rule_text;

/// A VPC with every default filled in.
#[derive(Debug, Serialize)]
pub(crate) struct VpcView<'a> {
    pub(crate) vpc: VpcHead<'a>,
    pub(crate) subnets: Vec<SubnetView<'a>>,
    pub(crate) network_acls: Vec<AclView<'a>>,
    pub(crate) prefix_lists: Vec<PrefixListView<'a>>,
    pub(crate) security_groups: Vec<GroupView<'a>>,
    pub(crate) instances: Vec<InstanceView<'a>>,
    pub(crate) enis: Vec<EniView<'a>>,
    pub(crate) services: Vec<ServiceView<'a>>,
    pub(crate) flow_logs: Vec<FlowLogView<'a>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct VpcHead<'a> {
    pub(crate) id: &'a str,
    pub(crate) region: &'a str,
    pub(crate) account: &'a str,
    pub(crate) cidr_blocks: &'a [Ipv4Net],
    pub(crate) ipv6_cidr_blocks: &'a [Ipv6Net],
    pub(crate) revocation: &'static str,
}

/// An object that others refer to.
#[derive(Debug, Serialize)]
pub(crate) struct Named<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
}

#[derive(Debug, Serialize)]
pub(crate) struct SubnetView<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) cidr: Ipv4Net,
    pub(crate) ipv6_cidr: Option<Ipv6Net>,
    pub(crate) network_acl: Named<'a>,
}

#[derive(Debug, Serialize)]
pub(crate) struct AclView<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) default: bool,
    pub(crate) ingress: Vec<AclEntryView>,
    pub(crate) egress: Vec<AclEntryView>,
}

#[derive(Debug, Serialize)]
pub(crate) struct AclEntryView {
    pub(crate) number: u16,
    pub(crate) entry: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct PrefixListView<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    /// `IPv4` or `IPv6`.
    pub(crate) address_family: &'static str,
    /// Of a customer-managed list.
    pub(crate) max_entries: Option<u32>,
    /// What it counts in the quota of a group that refers to it (SG-41).
    pub(crate) weight: u32,
    pub(crate) entries: &'a [palisade_policy::model::Cidr],
}

#[derive(Debug, Serialize)]
pub(crate) struct GroupView<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    pub(crate) ingress: Vec<GroupRuleView<'a>>,
    pub(crate) egress: Vec<GroupRuleView<'a>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct GroupRuleView<'a> {
    pub(crate) id: &'a str,
    pub(crate) rule: String,
    pub(crate) description: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub(crate) struct InstanceView<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) max_tracked: u32,
    pub(crate) profile: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct EniView<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) subnet: EniSubnet<'a>,
    pub(crate) instance: Named<'a>,
    pub(crate) mac: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) secondary: &'a [Ipv4Addr],
    pub(crate) ipv6: &'a [Ipv6Addr],
    /// All of them, the primary one first.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) groups: Vec<Named<'a>>,
    pub(crate) source_dest_check: bool,
    pub(crate) mtu: u16,
    pub(crate) connection_tracking: TimeOutsView,
    pub(crate) attachment: AttachmentView<'a>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EniSubnet<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) cidr: Ipv4Net,
    pub(crate) ipv6_cidr: Option<Ipv6Net>,
}

/// Idle time-outs in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct TimeOutsView {
    pub(crate) tcp_established: u64,
    pub(crate) udp: u64,
    pub(crate) udp_stream: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct AttachmentView<'a> {
    pub(crate) kind: &'static str,
    pub(crate) device: &'a str,
    pub(crate) netns: Option<&'a str>,
    pub(crate) configure: bool,
    pub(crate) offload: bool,
    /// The worker that is to receive from it, if one is named.
    pub(crate) worker: Option<usize>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ServiceView<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: String,
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) attachment: AttachmentView<'a>,
}

#[derive(Debug, Serialize)]
pub(crate) struct FlowLogView<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    /// The id of the VPC, subnet or ENI that it watches.
    pub(crate) resource_id: &'a str,
    pub(crate) traffic_type: &'static str,
    /// In seconds.
    pub(crate) max_aggregation_interval: u32,
    pub(crate) log_format: String,
    pub(crate) log_destination_type: &'static str,
    pub(crate) destination: &'a Destination,
}

impl<'a> VpcView<'a> {
    pub(crate) fn new(vpc: &'a Vpc) -> Self {
        Self {
            vpc: VpcHead {
                id: &vpc.id,
                region: &vpc.region,
                account: &vpc.account,
                cidr_blocks: &vpc.cidr_blocks,
                ipv6_cidr_blocks: &vpc.ipv6_cidr_blocks,
                revocation: vpc.revocation.as_str(),
            },
            subnets: vpc.subnets.iter().map(|subnet| subnet_view(vpc, subnet)).collect(),
            network_acls: vpc.network_acls.iter().map(acl_view).collect(),
            prefix_lists: vpc.prefix_lists.iter().map(prefix_list_view).collect(),
            security_groups: vpc.security_groups.iter().map(|group| group_view(vpc, group)).collect(),
            instances: vpc.instances.iter().map(instance_view).collect(),
            enis: vpc.enis.iter().map(|eni| eni_view(vpc, eni)).collect(),
            services: vpc.services.iter().map(service_view).collect(),
            flow_logs: vpc.flow_logs.iter().map(|log| flow_log_view(vpc, log)).collect(),
        }
    }
}

fn subnet_view<'a>(vpc: &'a Vpc, subnet: &'a Subnet) -> SubnetView<'a> {
    let Subnet { id, name, cidr, ipv6_cidr, network_acl } = subnet;
    let NetworkAcl { id: acl, name: acl_name, .. } = &vpc[*network_acl];
    SubnetView {
        id,
        name,
        cidr: *cidr,
        ipv6_cidr: *ipv6_cidr,
        network_acl: Named { id: acl, name: acl_name },
    }
}

fn acl_view(acl: &NetworkAcl) -> AclView<'_> {
    let list = |direction| {
        let entries = acl.list(direction).iter();
        entries
            .map(|entry| AclEntryView {
                number: entry.number.get(),
                entry: rule_text::acl_entry(entry, direction),
            })
            .collect()
    };
    AclView {
        id: &acl.id,
        name: &acl.name,
        default: acl.is_default,
        ingress: list(Direction::Ingress),
        egress: list(Direction::Egress),
    }
}

fn prefix_list_view(list: &PrefixList) -> PrefixListView<'_> {
    let max_entries = match list.size {
        ListSize::MaxEntries(count) => Some(count),
        ListSize::Weight(_) => None,
    };
    PrefixListView {
        id: &list.id,
        name: &list.name,
        address_family: family(list),
        max_entries,
        weight: list.weight(),
        entries: &list.entries,
    }
}

/// What the EC2 API calls the family of a list.
pub(crate) fn family(list: &PrefixList) -> &'static str {
    if list.ipv6 { "IPv6" } else { "IPv4" }
}

fn group_view<'a>(vpc: &'a Vpc, group: &'a SecurityGroup) -> GroupView<'a> {
    let rules = |direction| {
        let rules = group.rules(direction).iter();
        rules
            .map(|rule| GroupRuleView {
                id: &rule.id,
                rule: rule_text::group_rule(vpc, rule, direction),
                description: rule.description.as_deref(),
            })
            .collect()
    };
    GroupView {
        id: &group.id,
        name: &group.name,
        description: &group.description,
        ingress: rules(Direction::Ingress),
        egress: rules(Direction::Egress),
    }
}

fn instance_view(instance: &Instance) -> InstanceView<'_> {
    let profile = match instance.profile {
        Profile::Nitro => "nitro",
        Profile::NitroV6 => "nitro-v6",
    };
    InstanceView { id: &instance.id, name: &instance.name, max_tracked: instance.max_tracked, profile }
}

fn eni_view<'a>(vpc: &'a Vpc, eni: &'a Eni) -> EniView<'a> {
    let (subnet, instance) = (&vpc[eni.subnet], &vpc[eni.instance]);
    let group = |index: &palisade_policy::model::GroupIndex| {
        let group = &vpc[*index];
        Named { id: &group.id, name: &group.name }
    };
    EniView {
        id: &eni.id,
        name: &eni.name,
        subnet: EniSubnet {
            id: &subnet.id,
            name: &subnet.name,
            cidr: subnet.cidr,
            ipv6_cidr: subnet.ipv6_cidr,
        },
        instance: Named { id: &instance.id, name: &instance.name },
        mac: mac(eni.mac),
        address: eni.address,
        secondary: &eni.secondary_addresses,
        ipv6: &eni.ipv6_addresses,
        addresses: eni.addresses().collect(),
        groups: eni.groups.iter().map(group).collect(),
        source_dest_check: eni.source_dest_check,
        mtu: eni.mtu,
        connection_tracking: TimeOutsView {
            tcp_established: eni.connection_tracking.tcp_established.as_secs(),
            udp: eni.connection_tracking.udp.as_secs(),
            udp_stream: eni.connection_tracking.udp_stream.as_secs(),
        },
        attachment: attachment_view(&eni.attachment, eni.worker),
    }
}

fn service_view(service: &Service) -> ServiceView<'_> {
    ServiceView {
        name: &service.name,
        mac: mac(service.mac),
        addresses: &service.addresses,
        attachment: attachment_view(&service.attachment, service.worker),
    }
}

fn flow_log_view<'a>(vpc: &'a Vpc, log: &'a FlowLog) -> FlowLogView<'a> {
    FlowLogView {
        id: &log.id,
        name: &log.name,
        resource_id: log.resource.id(vpc),
        traffic_type: log.traffic.as_str(),
        max_aggregation_interval: log.interval.seconds(),
        log_format: log.format.to_string(),
        log_destination_type: log.destination.kind(),
        destination: &log.destination,
    }
}

fn attachment_view(attachment: &Attachment, worker: Option<usize>) -> AttachmentView<'_> {
    let (kind, configure, offload) = match attachment {
        Attachment::Tap { configure, offload, .. } => ("tap", *configure, *offload),
        Attachment::Packet { offload, .. } => ("packet", false, *offload),
    };
    AttachmentView {
        kind,
        device: attachment.device(),
        netns: attachment.netns(),
        configure,
        offload,
        worker,
    }
}

fn mac(mac: MacAddr) -> String {
    mac.to_string()
}
