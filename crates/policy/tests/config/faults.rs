//! Every kind of fault, alone: what is found is that fault and nothing that follows from it.

use std::collections::BTreeSet;

use palisade_policy::diagnostics::Code::{self, *};

use super::kinds;

/// In front of every case; a case goes on in `[vpc]`.
const VPC: &str = "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n";
/// In front of cases that need a subnet and the keys of an ENI; a case goes on in `[eni.a]`.
const ENI: &str = r#"[vpc]
cidr_blocks = ["10.0.0.0/16"]
ipv6_cidr_block = "2001:db8:1::/56"
[subnet.web]
cidr = "10.0.1.0/24"
ipv6_cidr = "2001:db8:1:1::/64"
[subnet.old]
cidr = "10.0.2.0/24"
[eni.b]
subnet = "web"
address = "10.0.1.20"
mac = "02:00:00:00:00:0b"
attach = { tap = "b0", netns = "b" }
[eni.a]
subnet = "web"
"#;

struct Case {
    base: &'static str,
    text: &'static str,
    found: &'static [(Code, &'static str)],
}

const fn vpc(text: &'static str, found: &'static [(Code, &'static str)]) -> Case {
    Case { base: VPC, text, found }
}

const fn eni(text: &'static str, found: &'static [(Code, &'static str)]) -> Case {
    Case { base: ENI, text, found }
}

const fn whole(text: &'static str, found: &'static [(Code, &'static str)]) -> Case {
    Case { base: "", text, found }
}

const OK: &str = "attach = { packet = \"veth-a\" }\naddress = \"10.0.1.10\"\n";

#[rustfmt::skip]
const FILE: &[Case] = &[
    whole("[vpc", &[(Syntax, "")]),
    whole("[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\ncidr_blocks = []\nx = 1",
        &[(DuplicateKey, "cidr_blocks"), (UnknownKey, "x")]),
    whole("", &[(MissingKey, "")]),
    whole("vpc = 5", &[(WrongType, "5")]),
    vpc("x = 1\n\"y z\" = 2\n[subnets.a]\n[quotas]\nsubnet = 1",
        &[(UnknownKey, "x"), (UnknownKey, "y z"), (UnknownKey, "subnets"), (UnknownKey, "subnet")]),
    vpc("[subnet.a]\n", &[(MissingKey, "a")]),
    vpc("region = true\naccount = 1\n[subnet]\na = 5\n[eni]\nb = []\n[daemon]\nworkers = 1.5\n",
        &[(WrongType, "true"), (WrongType, "1"), (WrongType, "5"), (WrongType, "[]"), (WrongType, "1.5")]),
    vpc("region = \"moon\"\naccount = \"123\"\n", &[(BadForm, "moon"), (BadForm, "123")]),
    vpc("id = \"vpc-1\"\n", &[(BadId, "vpc-1")]),
    vpc("revocation = \"strickt\"\n", &[(BadForm, "strickt")]),
    vpc("revocation = true\n", &[(WrongType, "true")]),
    vpc("[daemon]\nflow_cache = 8388609\ngro = 1\n", &[(OutOfRange, "8388609"), (WrongType, "1")]),
    vpc("[daemon]\nlatency = \"lov\"\nworkers = 0\n", &[(BadForm, "lov"), (OutOfRange, "0")]),
    vpc("[daemon]\nworkers = 2\nworker_cpus = [0]\n", &[(OutOfRange, "[0]")]),
    vpc("[daemon]\nworker_cpus = []\n", &[(EmptyList, "[]")]),
    vpc("[daemon]\nworker_cpus = [0, 1024]\n", &[(OutOfRange, "1024")]),
    vpc("[daemon]\nworkers = 0\ncontrol_socket = \"here\"\nmax_connections = 0\n",
        &[(OutOfRange, "0"), (BadForm, "here"), (OutOfRange, "0")]),
    vpc("[quotas]\nnetwork_acl_entries = 32768\ngroups_per_eni = 17\nsubnets = -1\n",
        &[(OutOfRange, "32768"), (OutOfRange, "17"), (OutOfRange, "-1")]),
    // SG-53: rules times groups.
    vpc("[quotas]\nsecurity_group_rules = 201\n", &[(QuotaProduct, "201")]),
    vpc("[quotas]\nsecurity_group_rules = 60\ngroups_per_eni = 16\nrules_per_eni = 900", &[(QuotaProduct, "60")]),
];

#[rustfmt::skip]
const BLOCKS: &[Case] = &[
    whole("[vpc]\ncidr_blocks = []\n", &[(EmptyList, "[]")]),
    // RT-70, RES-46: sizes.
    whole("[vpc]\ncidr_blocks = [\"10.0.0.0/8\", \"11.0.0.0/29\", \"12.0.0.0/16\"]\nipv6_cidr_block = \"2001:db8::/54\"\nipv6_cidr_blocks = [\"2001:db9::/64\"]",
        &[(BlockSize, "10.0.0.0/8"), (BlockSize, "11.0.0.0/29"), (BlockSize, "2001:db8::/54"), (BlockSize, "2001:db9::/64")]),
    // RT-70, RES-46: no overlap, and as many blocks as the quota allows.
    whole("[vpc]\ncidr_blocks = [\"10.0.0.0/16\", \"10.0.3.0/24\"]", &[(Overlap, "10.0.3.0/24")]),
    whole("[vpc]\ncidr_blocks = [\"169.254.1.0/24\"]\nipv6_cidr_block = \"fd00:ec2::/56\"",
        &[(ForbiddenRange, "169.254.1.0/24"), (ForbiddenRange, "fd00:ec2::/56")]),
    whole("[vpc]\ncidr_blocks = [\"10.0.0.1/16\", \"10.1.0.0\", \"ten\", \"2001:db8::/56\", 10]\n[subnet.a]\ncidr = \"10.9.0.0/24\"",
        &[(HostBits, "10.0.0.1/16"), (BadCidr, "10.1.0.0"), (BadCidr, "ten"), (BadCidr, "2001:db8::/56"), (WrongType, "10")]),
    whole("[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\nipv6_cidr_block = \"2001:db8::1/56\"\n[subnet.a]\ncidr = \"10.0.1.0/24\"\nipv6_cidr = \"2001:db8::/64\"",
        &[(HostBits, "2001:db8::1/56")]),
    whole("[vpc]\ncidr_blocks = [\"10.0.0.0/16\", \"10.1.0.0/16\", \"10.2.0.0/16\"]\n[quotas]\ncidr_blocks = 2",
        &[(Quota, "10.2.0.0/16")]),
    vpc("[subnet.a]\ncidr = \"10.0.1.0/29\"", &[(BlockSize, "10.0.1.0/29")]),
    vpc("ipv6_cidr_block = \"2001:db8:1::/56\"\n[subnet.a]\ncidr = \"10.0.1.0/24\"\nipv6_cidr = \"2001:db8:1::/72\"",
        &[(BlockSize, "2001:db8:1::/72")]),
    vpc("[subnet.a]\ncidr = \"10.1.1.0/24\"", &[(OutsideVpc, "10.1.1.0/24")]),
    vpc("ipv6_cidr_block = \"2001:db8:1::/56\"\n[subnet.a]\ncidr = \"10.0.1.0/24\"\nipv6_cidr = \"2001:db8:2::/64\"",
        &[(OutsideVpc, "2001:db8:2::/64")]),
    vpc("[subnet.a]\ncidr = \"10.0.1.0/24\"\nipv6_cidr = \"2001:db8:2::/64\"", &[(NoIpv6, "2001:db8:2::/64")]),
    // The widest stands between its parts.
    vpc("[subnet.a]\ncidr = \"10.0.1.0/25\"\n[subnet.b]\ncidr = \"10.0.0.0/22\"\n[subnet.c]\ncidr = \"10.0.3.0/24\"\n[subnet.d]\ncidr = \"10.0.4.0/24\"",
        &[(Overlap, "10.0.0.0/22"), (Overlap, "10.0.3.0/24")]),
    vpc("[quotas]\nsubnets = 1\n[subnet.a]\ncidr = \"10.0.1.0/24\"\n[subnet.b]\ncidr = \"10.0.2.0/24\"", &[(Quota, "b")]),
    vpc("[subnet.a]\ncidr = \"10.0.1.0/24\"\nnetwork_acl = \"defualt\"", &[(UnknownReference, "defualt")]),
    vpc("[subnet.\"\"]\ncidr = \"10.0.1.0/24\"\n[subnet.subnet-0123abcd]\ncidr = \"10.0.2.0/24\"\n[subnet.\" x\"]\ncidr = \"10.0.3.0/24\"",
        &[(BadName, "\"\""), (BadName, "subnet-0123abcd"), (BadName, " x")]),
    vpc("[subnet.a]\nid = \"subnet-0123abcd\"\ncidr = \"10.0.1.0/24\"\n[subnet.b]\nid = \"subnet-0123abcd\"\ncidr = \"10.0.2.0/24\"",
        &[(DuplicateId, "subnet-0123abcd")]),
    // A fault hides what depends on it; that is no second fault.
    whole("subnet = 5\nsecurity_group = 6\nquotas = 7\n[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n[eni.a]\nsubnet = \"web\"\naddress = \"10.0.1.10\"\ngroups = [\"g\"]\nattach = { tap = \"t\" }",
        &[(WrongType, "5"), (WrongType, "6"), (WrongType, "7")]),
    vpc("ipv6_cidr_block = \"2001:db8:1::/56\"\n[subnet.a]\ncidr = \"10.0.1\"\nipv6_cidr = 6\n[eni.a]\nsubnet = \"a\"\naddress = \"10.7.1.10\"\nipv6_address = \"2001:db8::10\"\nattach = { packet = 1 }\n[service.s]\naddresses = [\"10.0.1.2\"]\nattach = { tap = \"t\" }",
        &[(BadCidr, "10.0.1"), (WrongType, "6"), (WrongType, "1")]),
];

#[rustfmt::skip]
const ACLS: &[Case] = &[
    // NACL-3: a number stands once in a direction, whatever the family.
    vpc("[network_acl.a]\ningress = [\"100 allow tcp 1 from ::/0\", \"100 deny all from 0.0.0.0/0\"]\negress = [\"100 allow all to ::/0\"]",
        &[(DuplicateRuleNumber, "100")]),
    // NACL-4: 32767 is reserved.
    vpc("[network_acl.a]\ningress = [\"0 allow all from ::/0\", \"32767 allow all from ::/0\", \"allow all from ::/0\", \"x deny all from ::/0\", \"\"]",
        &[(BadRuleNumber, "0"), (BadRuleNumber, "32767"), (BadRuleNumber, "allow all from ::/0"), (BadRuleNumber, "x"), (BadRuleNumber, "\"\"")]),
    vpc("[network_acl.a]\ningress = [\"1 permit all from ::/0\", \"2 all from ::/0\", \"3\", \"4 allow\", \"5 allow all to ::/0\"]",
        &[(BadRule, "permit"), (BadRule, "all"), (BadRule, ""), (BadRule, ""), (BadRule, "to")]),
    vpc("[network_acl.a]\negress = [\"1 allow all from ::/0\", \"2 allow all to sg:x\", \"3 allow all to ::/0 ::/0\", \"4 allow to ::/0\"]",
        &[(BadRule, "from"), (BadCidr, "sg:x"), (BadRule, "::/0"), (BadRule, "4 allow to ::/0")]),
    // NACL-13: a type where it is compared.
    vpc("[network_acl.a]\ningress = [\"1 allow icmp from 0.0.0.0/0\", \"2 allow icmpv6 from ::/0\", \"3 allow icmp 8 from 0.0.0.0/0\"]",
        &[(BadIcmp, ""), (BadIcmp, ""), (BadIcmp, "8")]),
    vpc("[network_acl.a]\ningress = [5, { rule = \"1 allow all from ::/0\" }]", &[(WrongType, "5"), (WrongType, "{ rule = \"1 allow all from ::/0\" }")]),
    // NACL-17: the entries of a family, its `*` included.
    vpc("[quotas]\nnetwork_acl_entries = 2\n[network_acl.a]\ningress = [\"1 deny all from ::/0\", \"2 deny all from 10.0.0.0/8\", \"3 deny all from 11.0.0.0/8\"]",
        &[(Quota, "3")]),
    // NACL-14: a block is written as it is stored.
    vpc("[network_acl.a]\ningress = [\"1 allow all from 10.0.0.1/8\", \"2 allow all from 10.0.0.1\"]",
        &[(HostBits, "10.0.0.1/8"), (BadCidr, "10.0.0.1")]),
    vpc("[quotas]\nnetwork_acls = 1\n[network_acl.a]\n", &[(Quota, "a")]),
    vpc("[network_acl.a]\nid = \"acl-0123\"", &[(BadId, "acl-0123")]),
];

#[rustfmt::skip]
const GROUPS: &[Case] = &[
    // SG-3, SG-4: names.
    vpc("[security_group.sg-web]\n[security_group.\"a|b\"]\n[security_group.Default]\n[security_group.Web]\n[security_group.\"web \"]",
        &[(BadName, "sg-web"), (BadName, "a|b"), (BadName, "Default"), (DuplicateId, "web ")]),
    // SG-3, SG-9: descriptions.
    vpc("[security_group.a]\ndescription = \"50 %\"\n[security_group.b]\ndescription = \"\"\n[security_group.c]\ningress = [{ rule = \"all from ::/0\", description = \"é\" }]",
        &[(BadDescription, "50 %"), (BadDescription, "\"\""), (BadDescription, "é")]),
    // SG-10: a rule has one source.
    vpc("[security_group.a]\ningress = [\"tcp 443\", \"tcp 443 from\", \"from ::/0\", \"tcp 1 2 from ::/0\", \"tcp 1 from ::/0 x\", \"tcp 1 from sg:\", \"tcp 2 to ::/0\", \"\"]",
        &[(BadRule, ""), (BadRule, "from"), (BadRule, "from ::/0"), (BadRule, "2"), (BadRule, "x"), (BadRule, "sg:"), (BadRule, "to"), (BadRule, "\"\"")]),
    vpc("[security_group.a]\ningress = [\"tpc 1 from ::/0\", \"256 from ::/0\", \"TCP 1 from ::/0\", \"-2 from ::/0\"]",
        &[(BadProtocol, "tpc"), (BadProtocol, "256"), (BadProtocol, "TCP"), (BadProtocol, "-2")]),
    vpc("[security_group.a]\ningress = [\"tcp from ::/0\", \"udp 65536 from ::/0\", \"tcp 9-8 from ::/0\", \"6 +1 from ::/0\", \"tcp -5 from ::/0\", \"132 x from ::/0\"]",
        &[(BadPorts, ""), (BadPorts, "65536"), (BadPorts, "9-8"), (BadPorts, "+1"), (BadPorts, "-5"), (BadPorts, "x")]),
    vpc("[security_group.a]\ningress = [\"icmp from 0.0.0.0/0\", \"icmp 8 from 0.0.0.0/0\", \"icmp 256/0 from 0.0.0.0/0\", \"icmp any/3 from 0.0.0.0/0\", \"icmpv6 x/0 from ::/0\"]",
        &[(BadIcmp, ""), (BadIcmp, "8"), (BadIcmp, "256/0"), (BadIcmp, "any/3"), (BadIcmp, "x/0")]),
    // Both halves of a rule.
    vpc("[security_group.a]\ningress = [\"tcp 9-8 from sg:b\"]", &[(BadPorts, "9-8"), (UnknownReference, "b")]),
    // SG-39: what a rule refers to is there. SG-17, SG-18: a block is written as it is stored, with its length.
    vpc("[security_group.a]\ningress = [\"all from sg:b\", \"all from pl:b\", \"all from sg-0123abcd\", \"all from 10.0.0.1/8\", \"all from 10.0.0.1\"]",
        &[(UnknownReference, "b"), (UnknownReference, "b"), (UnknownReference, "sg-0123abcd"), (HostBits, "10.0.0.1/8"), (BadCidr, "10.0.0.1")]),
    // SG-38: only a group that is gone is stale, and nothing but its id is left of it.
    vpc("[security_group.a]\nid = \"sg-0123456789abcdef0\"\ningress = [\"all from stale:sg-0123456789abcdef0\", \"tcp 1 from stale:web\", \"tcp 2 from stale:\"]",
        &[(NotStale, "sg-0123456789abcdef0"), (BadId, "web"), (BadId, "")]),
    vpc("[security_group.a]\ningress = [\"all from stale:sg-0123456789abcdef0\", \"-1 from stale:sg-0123456789abcdef0\"]",
        &[(DuplicateRule, "-1 from stale:sg-0123456789abcdef0")]),
    vpc("[quotas]\nsecurity_group_rules = 1\n[security_group.a]\ningress = [\"all from stale:sg-0123456789abcdef0\", \"all from ::/0\"]",
        &[(Quota, "all from ::/0")]),
    // SG-60: equal after normalisation.
    vpc("[security_group.a]\ningress = [\"tcp 1 from ::/0\", \"6 1-1 from ::/0\", \"tcp any from ::/0\", { rule = \"tcp 0-65535 from ::/0\", description = \"x\" }, \"all from sg:a\", \"-1 from sg:A\"]",
        &[(DuplicateRule, "6 1-1 from ::/0"), (DuplicateRule, "tcp 0-65535 from ::/0"), (DuplicateRule, "-1 from sg:A")]),
    vpc("[security_group.a]\ningress = [{ rule = \"tcp 1 from ::/0\", id = \"sgr-0123456789abcdef0\" }, { rule = \"tcp 2 from ::/0\", id = \"sgr-0123456789abcdef0\" }, { rule = \"tcp 3 from ::/0\", id = \"sg-1\" }]",
        &[(DuplicateId, "sgr-0123456789abcdef0"), (BadId, "sg-1")]),
    vpc("[security_group.a]\ningress = [{ id = \"sgr-0123456789abcdef0\" }, { rule = 5 }, { rule = \"all from ::/0\", why = \"x\" }]",
        &[(MissingKey, "{ id = \"sgr-0123456789abcdef0\" }"), (WrongType, "5"), (UnknownKey, "why")]),
    // SG-50.
    vpc("[quotas]\nsecurity_groups = 2\n[security_group.a]\n[security_group.b]\n", &[(Quota, "b")]),
    // SG-51, SG-54: a group counts in both families.
    vpc("[quotas]\nsecurity_group_rules = 2\n[security_group.a]\ningress = [\"tcp 1 from 10.0.0.0/8\", \"tcp 2 from 10.0.0.0/8\", \"all from sg:a\"]",
        &[(Quota, "all from sg:a")]),
    // SG-41: a list counts what it may hold, in its family.
    vpc("[prefix_list.p]\nmax_entries = 61\nentries = [\"10.0.0.0/8\"]\n[prefix_list.q]\nmax_entries = 60\nentries = [\"::/0\"]\n[security_group.a]\ningress = [\"all from pl:p\"]\negress = [\"all to pl:q\", \"all to 0.0.0.0/0\"]",
        &[(Quota, "all from pl:p")]),
    // SG-41: an AWS-managed list counts its weight, and may have more entries than that.
    vpc("[prefix_list.p]\nweight = 55\nentries = [\"10.0.0.0/8\"]\n[security_group.a]\ningress = [\"tcp 1 from pl:p\"]\negress = [\"tcp 1 to pl:p\", \"tcp 2 to pl:p\"]",
        &[(Quota, "tcp 2 to pl:p")]),
    vpc("[prefix_list.p]\nweight = 1\nmax_entries = 5\nentries = [\"10.0.0.0/8\"]\n[prefix_list.q]\nweight = 0\nmax_entries = 0\naddress_family = \"ipv4\"\nentries = []",
        &[(ConflictingKeys, "1"), (OutOfRange, "0"), (OutOfRange, "0"), (BadForm, "ipv4")]),
    vpc("[prefix_list.p]\naddress_family = \"IPv6\"\nentries = [\"10.0.0.0/8\", \"::/0\"]", &[(MixedFamilies, "10.0.0.0/8")]),
    vpc("[prefix_list.p]\nentries = [\"10.0.0.0/8\", \"::/0\", \"10.0.0.0/8\"]", &[(MixedFamilies, "::/0"), (Repeated, "10.0.0.0/8")]),
    vpc("[prefix_list.p]\nmax_entries = 1\nentries = [\"10.0.0.0/8\", \"11.0.0.0/8\"]\n[prefix_list.q]\nentries = []", &[(Quota, "11.0.0.0/8"), (EmptyList, "[]")]),
];

#[rustfmt::skip]
const ENIS: &[Case] = &[
    eni(r#"attach = { packet = "x" }"#, &[(MissingKey, "a")]),
    eni(r#"address = "10.0.1.10""#, &[(MissingKey, "a")]),
    eni(r#"address = "10.0.1.10"
attach = { tap = "x", packet = "y" }"#, &[(ConflictingKeys, "y")]),
    eni(r#"address = "10.0.1.10"
attach = { offload = true }"#, &[(MissingKey, "attach")]),
    eni(r#"address = "10.0.1.10"
attach = { packet = "x", netns = "y", configure = true }"#, &[(ConflictingKeys, "y"), (ConflictingKeys, "true")]),
    eni(r#"address = "10.0.1.10"
attach = { tap = "x", configure = true }"#, &[(MissingKey, "true")]),
    eni(r#"address = "10.0.1.10"
attach = { tap = "a/b", netns = "..", ofload = true }"#, &[(BadDevice, "a/b"), (BadDevice, ".."), (UnknownKey, "ofload")]),
    eni(r#"address = "10.0.1.10"
attach = { tap = "b0", netns = "b" }"#, &[(DuplicateDevice, "b0")]),
    eni(r#"address = "10.0.1.10"
attach = { tap = "x", worker = 7 }"#, &[(MissingKey, "7")]),
    eni(r#"address = "10.0.1.10"
attach = { tap = "x", worker = 2 }
[service.s]
addresses = ["10.0.0.2"]
attach = { packet = "y", worker = 1 }
[daemon]
worker_cpus = [0, 1]"#, &[(OutOfRange, "2")]),
    eni(r#"address = "10.0.1.10"
attach = { tap = "x", worker = 9 }
[daemon]
workers = "two""#, &[(WrongType, "\"two\"")]),
    eni(r#"address = "10.0.1.10"
attach = { packet = "v" }
[service.s]
addresses = ["10.0.1.2"]
attach = { tap = "v" }"#, &[(DuplicateDevice, "v")]),
    eni(r#"address = "10.0.1.10/24"
attach = { packet = "v" }"#, &[(BadAddress, "10.0.1.10/24")]),
    eni(r#"address = "2001:db8:1:1::10"
attach = { packet = "v" }
ipv6_address = "10.0.1.10""#, &[(BadAddress, "2001:db8:1:1::10"), (BadAddress, "10.0.1.10")]),
    eni(r#"address = "10.0.3.10"
attach = { packet = "v" }
ipv6_address = "2001:db8:1:2::10""#, &[(OutsideSubnet, "10.0.3.10"), (OutsideSubnet, "2001:db8:1:2::10")]),
    // RES-10b: RES-10..RES-14, and RES-21v6.
    eni(r#"address = "10.0.1.0"
secondary_addresses = ["10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.254", "10.0.1.255"]
attach = { packet = "v" }
ipv6_addresses = ["2001:db8:1:1::3", "2001:db8:1:1::4", "2001:db8:1:1:ffff:ffff:ffff:ffff"]"#,
        &[(ReservedAddress, "10.0.1.0"), (ReservedAddress, "10.0.1.1"), (ReservedAddress, "10.0.1.2"),
          (ReservedAddress, "10.0.1.3"), (ReservedAddress, "10.0.1.255"), (ReservedAddress, "2001:db8:1:1::3"),
          (ReservedAddress, "2001:db8:1:1:ffff:ffff:ffff:ffff")]),
    eni(r#"address = "10.0.1.20"
secondary_addresses = ["10.0.1.30", "10.0.1.30"]
attach = { packet = "v" }"#, &[(DuplicateAddress, "10.0.1.20"), (DuplicateAddress, "10.0.1.30")]),
    eni(r#"address = "10.0.1.10"
mac = "02:00:00:00:00:0B"
attach = { packet = "v" }"#, &[(DuplicateMac, "02:00:00:00:00:0B")]),
    eni(r#"address = "10.0.1.10"
mac = "01:00:00:00:00:0c"
attach = { packet = "v" }"#, &[(BadMac, "01:00:00:00:00:0c")]),
    eni(r#"address = "10.0.1.10"
mac = "00:00:00:00:00:00"
attach = { packet = "v" }"#, &[(BadMac, "00:00:00:00:00:00")]),
    eni(r#"address = "10.0.1.10"
mac = "2:0:0"
attach = { packet = "v" }"#, &[(BadMac, "2:0:0")]),
    eni(r#"address = "10.0.1.10"
ipv6_address = "2001:db8:1:1::10"
mtu = 1279
attach = { packet = "v" }"#, &[(BadMtu, "1279")]),
    eni(r#"address = "10.0.1.10"
mtu = 9002
attach = { packet = "v" }
[eni.c]
subnet = "web"
address = "10.0.1.11"
mtu = 67
attach = { packet = "w" }"#, &[(OutOfRange, "9002"), (OutOfRange, "67")]),
    // CT-30..32, CT-39b.
    eni(r#"address = "10.0.1.10"
connection_tracking = { tcp_established = "59s", udp = "61s", udp_stream = "181s" }
attach = { packet = "v" }
[eni.c]
subnet = "web"
address = "10.0.1.11"
connection_tracking = { tcp_established = "432001s", udp = "29s", udp_stream = "59s" }
attach = { packet = "w" }
[eni.d]
subnet = "web"
address = "10.0.1.12"
connection_tracking = { udp = "soon" }
attach = { packet = "x" }"#,
        &[(OutOfRange, "59s"), (OutOfRange, "61s"), (OutOfRange, "181s"),
          (OutOfRange, "432001s"), (OutOfRange, "29s"), (OutOfRange, "59s"), (BadForm, "soon")]),
    eni(r#"address = "10.0.1.10"
groups = []
attach = { packet = "v" }"#, &[(EmptyList, "[]")]),
    eni(r#"address = "10.0.1.10"
groups = ["default", "nobody", "default"]
attach = { packet = "v" }"#, &[(UnknownReference, "nobody"), (Repeated, "default")]),
    // SG-52.
    eni(r#"address = "10.0.1.10"
groups = ["default", "g"]
attach = { packet = "v" }
[security_group.g]
[quotas]
groups_per_eni = 1"#, &[(Quota, "g")]),
    eni(r#"address = "10.0.1.10"
attach = { packet = "v" }
[instance.i]
enis = ["a", "b", "a", "z"]
[instance.j]
enis = ["b"]"#, &[(Repeated, "a"), (UnknownReference, "z"), (TwoInstances, "b")]),
    eni(r#"address = "10.0.1.10"
attach = { packet = "v" }
[instance.i]
enis = ["a"]
profile = "xen"
max_tracked = 0"#, &[(BadForm, "xen"), (OutOfRange, "0")]),
    // An ENI of the same name is not a second fault of its subnet.
    eni(r#"address = "10.0.1.10"
attach = { packet = "v" }
[eni.c]
subnet = "wbe"
address = "10.7.7.7"
attach = { packet = "w" }
[eni.d]
subnet = "old"
address = "10.0.2.10"
ipv6_address = "2001:db8:1:1::77"
attach = { packet = "x" }"#, &[(UnknownReference, "wbe"), (NoIpv6, "2001:db8:1:1::77")]),
    eni(r#"address = "10.0.1.10"
attach = { packet = "v" }
[service.s]
addresses = ["10.0.7.2", "10.0.1.4", "10.0.1.255", "8.8.8.8", "2001:db8:1:1::4", "10.0.0.2/32"]
attach = { packet = "w" }
[service.t]
addresses = []
attach = { packet = "x" }"#,
        &[(NotReserved, "10.0.7.2"), (NotReserved, "10.0.1.4"), (NotReserved, "10.0.1.255"), (NotReserved, "8.8.8.8"),
          (NotReserved, "2001:db8:1:1::4"), (BadAddress, "10.0.0.2/32"), (EmptyList, "[]")]),
    eni(r#"address = "10.0.1.10"
attach = { packet = "v" }
[service.s]
addresses = ["10.0.0.2", "169.254.169.253"]
attach = { packet = "w" }
[service." t"]
addresses = ["169.254.169.253"]
attach = { packet = "x" }"#, &[(DuplicateAddress, "169.254.169.253"), (BadName, " t")]),
];

/// In front of cases that need a flow log's keys; a case goes on in `[flow_log.f]`.
const LOG: &str =
    "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n[subnet.web]\ncidr = \"10.0.1.0/24\"\n[flow_log.f]\n";

const fn log(text: &'static str, found: &'static [(Code, &'static str)]) -> Case {
    Case { base: LOG, text, found }
}

#[rustfmt::skip]
const FLOW_LOGS: &[Case] = &[
    log("", &[(MissingKey, "f")]),
    log("destination = {}", &[(MissingKey, "destination")]),
    log("destination = { s3 = \"logs\", directory = \"/x\" }", &[(ConflictingKeys, "destination")]),
    log("destination = { s3 = \"lo\" }", &[(BadForm, "lo")]),
    log("destination = { s3 = \"-logs\", prefix = \"/a\", endpoint = \"ftp://x\", profile = \"a b\", region = \"moon\" }",
        &[(BadForm, "-logs"), (BadForm, "/a"), (BadForm, "ftp://x"), (BadForm, "a b"), (BadForm, "moon")]),
    log("destination = { s3 = \"logs\", endpoint = \"http://localhost:0\" }", &[(BadForm, "http://localhost:0")]),
    log("destination = { s3 = \"logs\", endpoint = \"http://[::g]:80\" }", &[(BadForm, "http://[::g]:80")]),
    log("destination = { s3 = \"logs\", endpoint = \"https://store/path\" }", &[(BadForm, "https://store/path")]),
    log("destination = { s3 = \"logs\", prefix = \"a/../b\" }", &[(BadForm, "a/../b")]),
    log("destination = { log_group = \"a b\" }", &[(BadForm, "a b")]),
    log("destination = { delivery_stream = \"a/b\" }", &[(BadForm, "a/b")]),
    log("destination = { directory = \"logs\" }", &[(BadForm, "logs")]),
    log("destination = { json_lines = \"stderr\" }", &[(BadForm, "stderr")]),
    log("destination = { json_lines = true }\nid = \"fl-1\"\nsubnet = \"wbe\"",
        &[(WrongType, "true"), (BadId, "fl-1"), (UnknownReference, "wbe")]),
    log("destination = { json_lines = \"stdout\" }\neni = \"nobody\"\ntraffic_type = \"all\"\nmax_aggregation_interval = 61",
        &[(UnknownReference, "nobody"), (BadForm, "all"), (OutOfRange, "61")]),
    log("destination = { json_lines = \"stdout\" }\nsubnet = \"web\"\neni = \"nobody\"", &[(ConflictingKeys, "nobody")]),
    log("destination = { directory = \"/logs\" }\nlog_format = \"${srcaddr} ${dstadr}\"", &[(BadLogFormat, "dstadr")]),
    log("destination = { directory = \"/logs\" }\nlog_format = \"\"", &[(BadLogFormat, "\"\"")]),
    log("destination = { directory = \"/logs\" }\ndestination_options = { file_format = \"csv\", per_hour = 1 }",
        &[(BadForm, "csv"), (UnknownKey, "per_hour")]),
    log("destination = { directory = \"/logs\", region = \"us-east-1\" }", &[(ConflictingKeys, "us-east-1")]),
    log("id = \"fl-0a000001\"\ndestination = { json_lines = \"stdout\" }\n[flow_log.g]\nid = \"fl-0a000001\"\nsubnet = \"web\"\ndestination = { json_lines = \"stdout\" }",
        &[(DuplicateId, "fl-0a000001")]),
    log("destination = { json_lines = \"stdout\" }\n[flow_log.g]\ndestination = { json_lines = \"stdout\" }",
        &[(DuplicateFlowLog, "g")]),
    vpc("[daemon]\nflow_log_spool = \"spool\"\nflow_log_spool_limit = 0\nflow_log_records = 0\ncredentials_file = \"~/c\"",
        &[(BadForm, "spool"), (OutOfRange, "0"), (OutOfRange, "0"), (BadForm, "~/c")]),
];

#[test]
fn a_derived_id_cannot_be_given_to_another_object() {
    let text = format!(
        "{VPC}[subnet.a]\ncidr = \"10.0.1.0/24\"\n[security_group.g]\ningress = [\"tcp 1 from ::/0\"]\n\
         [network_acl.n]\n"
    );
    let vpc = super::load(&text);
    let (subnet, acl) = (&vpc.subnets[0].id, &vpc.network_acls[1].id);
    let rule = &vpc.security_groups[0].ingress[0].id;
    let text = format!(
        "{text}id = \"{acl}\"\n[subnet.b]\nid = \"{subnet}\"\ncidr = \"10.0.2.0/24\"\n\
         [security_group.h]\ningress = [{{ rule = \"tcp 2 from ::/0\", id = \"{rule}\" }}]"
    );
    let expected = [acl, subnet, rule].map(|id| (DuplicateId, id.clone()));
    assert_eq!(kinds(&text), expected);
}

fn all() -> impl Iterator<Item = &'static Case> {
    [FILE, BLOCKS, ACLS, GROUPS, ENIS, FLOW_LOGS].into_iter().flatten()
}

#[test]
fn each_fault_is_found_and_nothing_else() {
    for case in all() {
        let text = format!("{}{}", case.base, case.text);
        let found: Vec<_> = case.found.iter().map(|(code, text)| (*code, (*text).to_owned())).collect();
        let mut kinds = kinds(&text);
        kinds.sort_by_key(|(code, _)| *code);
        let mut sorted = found.clone();
        sorted.sort_by_key(|(code, _)| *code);
        assert_eq!(kinds, sorted, "in:\n{text}");
    }
}

#[test]
fn every_kind_of_fault_has_a_case() {
    let covered: BTreeSet<_> = all().flat_map(|case| case.found).map(|(code, _)| *code).collect();
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !covered.contains(code)).collect();
    assert_eq!(missing, Vec::<&Code>::new());
}

#[test]
fn the_bases_have_no_fault_of_their_own() {
    super::load(VPC);
    super::load(&format!("{ENI}{OK}"));
}
