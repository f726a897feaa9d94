//! The fields of a record: their names, versions and types (section 4 of the specification).

use std::fmt;

/// How the values of a field are typed, in Parquet and in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Text.
    Text,
    /// A number of 32 bits.
    Int32,
    /// A number of 64 bits.
    Int64,
}

/// When a field has a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    /// Also in NODATA and SKIPDATA records (FL-48).
    Always,
    /// In records of a flow only.
    Flow,
    /// It prints the value of a tag (FL-51).
    Tag,
}

macro_rules! fields {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $version:literal, $kind:ident, $scope:ident;)*) => {
        /// A field that a format can name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Field { $($(#[doc = $doc])+ $variant,)* }

        impl Field {
            /// Every field, AWS's first.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in formats, in headers and here.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it says, for people.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)* }
            }

            /// The version of the record format that it came with; 2 to 11, and 0 of Palisade's own fields.
            #[must_use]
            pub const fn version(self) -> u8 {
                match self { $(Self::$variant => $version,)* }
            }

            /// The type of its values.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }

            const fn scope(self) -> Scope {
                match self { $(Self::$variant => Scope::$scope,)* }
            }
        }
    };
}

fields! {
    /// The highest version among the fields of the format.
    Version = "version", 2, Int32, Always;
    /// The account that owns the ENI.
    AccountId = "account-id", 2, Text, Always;
    /// The ENI.
    InterfaceId = "interface-id", 2, Text, Always;
    /// Source address; the ENI's own side is its primary address.
    SrcAddr = "srcaddr", 2, Text, Flow;
    /// Destination address; the ENI's own side is its primary address.
    DstAddr = "dstaddr", 2, Text, Flow;
    /// Source port, 0 without ports.
    SrcPort = "srcport", 2, Int32, Flow;
    /// Destination port, 0 without ports.
    DstPort = "dstport", 2, Int32, Flow;
    /// IANA number of the protocol.
    Protocol = "protocol", 2, Int32, Flow;
    /// Packets on the wire.
    Packets = "packets", 2, Int64, Flow;
    /// Their IP lengths.
    Bytes = "bytes", 2, Int64, Flow;
    /// Unix second of the first packet.
    Start = "start", 2, Int64, Always;
    /// Unix second of the last packet.
    End = "end", 2, Int64, Always;
    /// ACCEPT or REJECT.
    Action = "action", 2, Text, Flow;
    /// OK, NODATA or SKIPDATA.
    LogStatus = "log-status", 2, Text, Always;
    /// The VPC.
    VpcId = "vpc-id", 3, Text, Always;
    /// The ENI's subnet.
    SubnetId = "subnet-id", 3, Text, Always;
    /// The ENI's instance.
    InstanceId = "instance-id", 3, Text, Always;
    /// FIN 1, SYN 2, RST 4, SYN with ACK 18, of all packets together.
    TcpFlags = "tcp-flags", 3, Int32, Flow;
    /// IPv4 or IPv6.
    Type = "type", 3, Text, Flow;
    /// Source address in the packets.
    PktSrcAddr = "pkt-srcaddr", 3, Text, Flow;
    /// Destination address in the packets.
    PktDstAddr = "pkt-dstaddr", 3, Text, Flow;
    /// The Region.
    Region = "region", 4, Text, Always;
    /// The Availability Zone; there are none here.
    AzId = "az-id", 4, Text, Always;
    /// The kind of sublocation; there are none here.
    SublocationType = "sublocation-type", 4, Text, Flow;
    /// The sublocation; there are none here.
    SublocationId = "sublocation-id", 4, Text, Flow;
    /// The AWS service of the source address; nothing here knows AWS's ranges.
    PktSrcAwsService = "pkt-src-aws-service", 5, Text, Flow;
    /// The AWS service of the destination address; nothing here knows AWS's ranges.
    PktDstAwsService = "pkt-dst-aws-service", 5, Text, Flow;
    /// ingress or egress.
    FlowDirection = "flow-direction", 5, Text, Flow;
    /// Which way packets left: 1 inside the VPC, 8 internet gateway.
    TrafficPath = "traffic-path", 5, Int32, Flow;
    /// Of ECS; there is none here.
    EcsClusterArn = "ecs-cluster-arn", 7, Text, Flow;
    /// Of ECS; there is none here.
    EcsClusterName = "ecs-cluster-name", 7, Text, Flow;
    /// Of ECS; there is none here.
    EcsContainerInstanceArn = "ecs-container-instance-arn", 7, Text, Flow;
    /// Of ECS; there is none here.
    EcsContainerInstanceId = "ecs-container-instance-id", 7, Text, Flow;
    /// Of ECS; there is none here.
    EcsContainerId = "ecs-container-id", 7, Text, Flow;
    /// Of ECS; there is none here.
    EcsSecondContainerId = "ecs-second-container-id", 7, Text, Flow;
    /// Of ECS; there is none here.
    EcsServiceName = "ecs-service-name", 7, Text, Flow;
    /// Of ECS; there is none here.
    EcsTaskDefinitionArn = "ecs-task-definition-arn", 7, Text, Flow;
    /// Of ECS; there is none here.
    EcsTaskArn = "ecs-task-arn", 7, Text, Flow;
    /// Of ECS; there is none here.
    EcsTaskId = "ecs-task-id", 7, Text, Flow;
    /// BPA where public access is blocked, which nothing here does.
    RejectReason = "reject-reason", 8, Text, Flow;
    /// The resource of traffic that no single ENI carries; there is none here.
    ResourceId = "resource-id", 9, Text, Flow;
    /// Whether the traffic was encrypted; nothing here knows.
    EncryptionStatus = "encryption-status", 10, Int32, Flow;
    /// Value of the first chosen tag of the instance.
    InstanceTag = "instance-tag", 11, Text, Tag;
    /// Value of the second chosen tag of the instance.
    InstanceTag2 = "instance-tag-2", 11, Text, Tag;
    /// Value of the first chosen tag of the ENI.
    InterfaceTag = "interface-tag", 11, Text, Tag;
    /// Value of the second chosen tag of the ENI.
    InterfaceTag2 = "interface-tag-2", 11, Text, Tag;
    /// Value of the first chosen tag of the Auto Scaling group.
    AsgTag = "asg-tag", 11, Text, Tag;
    /// Value of the second chosen tag of the Auto Scaling group.
    AsgTag2 = "asg-tag-2", 11, Text, Tag;
    /// The kind of an ENI that a service owns; there are none here.
    InterfaceType = "interface-type", 11, Text, Flow;
    /// The ENI that received, or sent, the packets.
    NextHopInterfaceId = "next-hop-interface-id", 11, Text, Flow;
    /// That one's subnet.
    NextHopSubnetId = "next-hop-subnet-id", 11, Text, Flow;
    /// That one's Availability Zone; there are none here.
    NextHopAzId = "next-hop-az-id", 11, Text, Flow;
    /// That one's VPC.
    NextHopVpcId = "next-hop-vpc-id", 11, Text, Flow;
    /// That one's kind, if a service owns it; there are none here.
    NextHopInterfaceType = "next-hop-interface-type", 11, Text, Flow;
    /// Palisade's own: the stage of the walk that decided, security-group, network-acl or commit.
    PalisadeStage = "palisade-stage", 0, Text, Flow;
    /// Palisade's own: the rule that decided, sgr-… or acl-…/120, or default where nothing matched.
    PalisadeRule = "palisade-rule", 0, Text, Flow;
    /// Palisade's own: why, as the drop counters call it; rule, tracked or related of accepted packets.
    PalisadeReason = "palisade-reason", 0, Text, Flow;
    /// Palisade's own: the generation of the policy that judged.
    PalisadeGeneration = "palisade-generation", 0, Int64, Flow;
}

impl Field {
    /// The one of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.as_str() == name)
    }

    /// Whether it has a value in NODATA and SKIPDATA records too (FL-48).
    #[must_use]
    pub const fn is_static(self) -> bool {
        matches!(self.scope(), Scope::Always)
    }

    /// Whether it prints the value of a tag, for which tag keys must have been chosen (FL-51).
    #[must_use]
    pub const fn is_tag(self) -> bool {
        matches!(self.scope(), Scope::Tag)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_are_unique() {
        for field in Field::ALL {
            assert_eq!(Field::named(field.as_str()), Some(*field));
            assert!(field.describe().ends_with('.'), "{field}");
        }
        assert_eq!(Field::named("palisade"), None);
    }

    /// FL-48: which fields records without a flow fill in.
    #[test]
    fn fl_48_static_fields() {
        let fixed: Vec<_> =
            Field::ALL.iter().filter(|field| field.is_static()).map(|it| it.as_str()).collect();
        assert_eq!(
            fixed.join(" "),
            "version account-id interface-id start end log-status vpc-id subnet-id instance-id region az-id"
        );
    }
}
