//! What of the specification a configuration can violate: each statement is refused where it is violated, with line,
//! field and what is allowed. A test is called after its statement.

use palisade_policy::diagnostics::Code::{self, *};

use super::{faults, load};

/// Six lines; a case goes on with tables of its own.
const VPC: &str = r#"[vpc]
cidr_blocks = ["10.0.0.0/16"]
ipv6_cidr_block = "2001:db8:1::/56"
[subnet.web]
cidr = "10.0.1.0/28"
ipv6_cidr = "2001:db8:1:1::/64"
"#;

/// Line, field, kind of fault, and part of what is said to be allowed.
type Refusal<'a> = (usize, &'a str, Code, &'a str);

/// Checks that a text violates what it should, and nothing else.
fn refused(text: &str, expected: &[Refusal<'_>]) {
    let faults = faults(text);
    let found: Vec<_> =
        faults.iter().map(|fault| (fault.place.line, fault.field.as_str(), fault.code)).collect();
    let places: Vec<_> = expected.iter().map(|&(line, field, code, _)| (line, field, code)).collect();
    assert_eq!(found, places, "in:\n{text}\n{faults}");
    for (fault, (_, _, _, allowed)) in faults.iter().zip(expected) {
        let told = format!("{fault}; {}", fault.help);
        assert!(told.contains(allowed), "`{allowed}` is not in: {told}");
    }
}

/// Line 7 and on, behind [`VPC`].
fn in_vpc(text: &str, expected: &[Refusal<'_>]) {
    refused(&format!("{VPC}{text}"), expected);
}

/// Inbound rules of a group, one per line from line 9 on.
fn rules(lines: &[&str], expected: &[Refusal<'_>]) {
    let lines: Vec<_> = lines.iter().map(|line| format!("  \"{line}\",\n")).collect();
    in_vpc(&format!("[security_group.g]\ningress = [\n{}]\n", lines.concat()), expected);
}

/// Inbound entries of an ACL, one per line from line 9 on.
fn entries(lines: &[&str], expected: &[Refusal<'_>]) {
    let lines: Vec<_> = lines.iter().map(|line| format!("  \"{line}\",\n")).collect();
    in_vpc(&format!("[network_acl.n]\ningress = [\n{}]\n", lines.concat()), expected);
}

/// Keys of an ENI from line 8 on.
fn eni(keys: &str, expected: &[Refusal<'_>]) {
    in_vpc(&format!("[eni.a]\n{keys}\nsubnet = \"web\"\nattach = {{ packet = \"v\" }}\n"), expected);
}

#[test]
fn sg_3_names_and_descriptions() {
    let long = "x".repeat(256);
    in_vpc(
        &format!(
            "[security_group.\"a%b\"]\n[security_group.sg-web]\n[security_group.{long}]\n[security_group.Web]\n\
             [security_group.\"web  \"]\n[security_group.d]\ndescription = \"50 %\"\n[security_group.e]\n\
             description = \"{long}\"\n[security_group.f]\ndescription = \"\"\n"
        ),
        &[
            (7, "security_group.\"a%b\"", BadName, "a-z A-Z 0-9, space and ._-:/()#,@[]+=&;{}!$*"),
            (8, "security_group.sg-web", BadName, "must not begin with `sg-`"),
            (9, &format!("security_group.{long}"), BadName, "at most 255"),
            (11, "security_group.\"web  \"", DuplicateId, "without regard to case and trailing spaces"),
            (
                13,
                "security_group.d.description",
                BadDescription,
                "a-z A-Z 0-9, space and ._-:/()#,@[]+=&;{}!$*",
            ),
            (15, "security_group.e.description", BadDescription, "at most 255"),
            (17, "security_group.f.description", BadDescription, "what the group is for"),
        ],
    );
    let longest = "x".repeat(255);
    let text = format!("{VPC}[security_group.{longest}]\ndescription = \"{longest}\"");
    assert_eq!(load(&text).security_groups[0].description.len(), 255);
}

#[test]
fn sg_4_the_name_default_is_reserved() {
    in_vpc(
        "[security_group.DEFAULT]\n",
        &[(7, "security_group.DEFAULT", BadName, "reserved for the VPC's default group")],
    );
    in_vpc(
        "[security_group.a]\n[security_group.a]\n",
        &[(8, "security_group.a", DuplicateKey, "a table once in a file")],
    );
}

#[test]
fn sg_7_an_eni_always_has_a_group() {
    eni(
        "address = \"10.0.1.4\"\ngroups = []",
        &[(9, "eni.a.groups", EmptyList, "leave the key out for the default group")],
    );
}

#[test]
fn sg_9_ids_and_descriptions_of_rules() {
    let id = "sgr-0123456789abcdef0";
    in_vpc(
        &format!(
            "[security_group.g]\ningress = [\n{{ rule = \"tcp 1 from ::/0\", id = \"{id}\" }},\n\
             {{ rule = \"tcp 2 from ::/0\", id = \"{id}\" }},\n{{ rule = \"tcp 3 from ::/0\", id = \"sgr-1\" }},\n\
             {{ rule = \"tcp 4 from ::/0\", description = \"<b>\" }},\n]\n"
        ),
        &[
            (10, "security_group.g.ingress[1].id", DuplicateId, "an id names one object"),
            (11, "security_group.g.ingress[2].id", BadId, "`sgr-` and 17 (or 8) digits 0-9 a-f"),
            (12, "security_group.g.ingress[3].description", BadDescription, "at most 255 of a-z A-Z 0-9"),
        ],
    );
}

#[test]
fn sg_10_a_rule_has_exactly_one_peer() {
    rules(
        &[
            "tcp 1 from",
            "tcp 1",
            "tcp 1 from 10.0.0.0/8 ::/0",
            "tcp 1 from 10.0.0.0/8, 11.0.0.0/8",
            "tcp 1 from pl:",
        ],
        &[
            (9, "security_group.g.ingress[0]", BadRule, "write a CIDR block or another peer"),
            (10, "security_group.g.ingress[1]", BadRule, "write PROTOCOL [PORTS] from PEER"),
            (11, "security_group.g.ingress[2]", BadRule, "the line ends with its CIDR block"),
            (12, "security_group.g.ingress[3]", BadCidr, "10.0.0.0/8,"),
            (12, "security_group.g.ingress[3]", BadRule, "the line ends with its CIDR block"),
            (13, "security_group.g.ingress[4]", BadRule, "write pl:NAME or an id"),
        ],
    );
}

#[test]
fn sg_11_protocols() {
    let allowed = "tcp, udp, icmp, icmpv6, all (or -1), or a protocol number 0 to 255";
    for wrong in ["256", "TCP 1", "sctp", "-2", "0x6 1"] {
        rules(&[&format!("{wrong} from ::/0")], &[(9, "security_group.g.ingress[0]", BadProtocol, allowed)]);
    }
}

#[test]
fn sg_12_ports_of_other_protocols_mean_nothing_but_are_ports() {
    rules(
        &["132 22-22 from ::/0", "all 70000 from ::/0"],
        &[(10, "security_group.g.ingress[1]", BadPorts, "`70000` is not a port or a range of ports")],
    );
}

#[test]
fn sg_13_ports() {
    rules(
        &[
            "tcp from ::/0",
            "udp 65536 from ::/0",
            "tcp 90-80 from ::/0",
            "tcp 80- from ::/0",
            "tcp 0-65535 from ::/0",
        ],
        &[
            (9, "security_group.g.ingress[0]", BadPorts, "`tcp` needs ports"),
            (10, "security_group.g.ingress[1]", BadPorts, "65535"),
            (11, "security_group.g.ingress[2]", BadPorts, "`90-80` ends before it begins"),
            (12, "security_group.g.ingress[3]", BadPorts, "65535"),
        ],
    );
}

#[test]
fn sg_14_icmp_types_and_codes() {
    rules(
        &[
            "icmp from 0.0.0.0/0",
            "icmp any/3 from 0.0.0.0/0",
            "icmp 256/0 from 0.0.0.0/0",
            "icmpv6 from ::/0",
        ],
        &[
            (9, "security_group.g.ingress[0]", BadIcmp, "`icmp` needs a type and a code"),
            (10, "security_group.g.ingress[1]", BadIcmp, "any type cannot have a certain code"),
            (11, "security_group.g.ingress[2]", BadIcmp, "0 to 255 or `any`"),
        ],
    );
}

#[test]
fn sg_17_and_sg_18_cidrs_are_canonical_and_have_a_length() {
    rules(
        &["all from 100.68.0.18/18", "all from 192.0.2.1", "all from 2001:db8::1", "all from 10.0.0.0/33"],
        &[
            (9, "security_group.g.ingress[0]", HostBits, "write `100.68.0.0/18`"),
            (10, "security_group.g.ingress[1]", BadCidr, "`192.0.2.1/32`"),
            (11, "security_group.g.ingress[2]", BadCidr, "`2001:db8::1/128`"),
            (12, "security_group.g.ingress[3]", BadCidr, "a CIDR block such as"),
        ],
    );
}

#[test]
fn sg_37_sg_38_and_sg_39_references() {
    rules(
        &[
            "all from sg:nobody",
            "all from sg-0123456789abcdef0",
            "all from stale:nobody",
            "all from stale:sg-0123456789abcdef0",
        ],
        &[
            (9, "security_group.g.ingress[0]", UnknownReference, "there are: g, default"),
            (10, "security_group.g.ingress[1]", UnknownReference, "write stale:sg-0123456789abcdef0"),
            (11, "security_group.g.ingress[2]", BadId, "the id that the group had"),
        ],
    );
    in_vpc(
        "[security_group.g]\nid = \"sg-0123456789abcdef0\"\ningress = [\"all from stale:sg-0123456789abcdef0\"]\n",
        &[(9, "security_group.g.ingress[0]", NotStale, "write sg:g")],
    );
}

#[test]
fn sg_40_a_prefix_list_has_one_family() {
    in_vpc(
        "[prefix_list.p]\nentries = [\"10.0.0.0/8\",\n\"::/0\"]\n[prefix_list.q]\nentries = []\n",
        &[
            (9, "prefix_list.p.entries[1]", MixedFamilies, "make a second list"),
            (11, "prefix_list.q.entries", EmptyList, "address_family"),
        ],
    );
}

#[test]
fn sg_41_and_sg_42_a_list_counts_what_it_may_hold() {
    in_vpc(
        "[prefix_list.p]\nmax_entries = 1\nentries = [\"10.0.0.0/8\",\n\"11.0.0.0/8\"]\n",
        &[(10, "prefix_list.p.entries[1]", Quota, "raise `max_entries` or remove entries")],
    );
    in_vpc(
        "[prefix_list.p]\nmax_entries = 60\nentries = [\"10.0.0.0/8\"]\n[security_group.g]\ningress = [\n\
         \"tcp 1 from pl:p\",\n\"tcp 2 from 10.0.0.0/8\",\n]\n",
        &[(
            13,
            "security_group.g.ingress[1]",
            Quota,
            "IPv4 rules of group g, ingress: 61, but the quota is 60",
        )],
    );
}

#[test]
fn sg_50_to_sg_54_quotas() {
    in_vpc(
        "[quotas]\nsecurity_groups = 2\n[security_group.a]\n[security_group.b]\n",
        &[(10, "security_group.b", Quota, "raise it with `security_groups` in [quotas]")],
    );
    // SG-51 per family and direction, SG-54: a reference counts in both families.
    let v4: Vec<_> = (1..=60).map(|port| format!("\"tcp {port} from 10.0.0.0/8\"")).collect();
    let v6: Vec<_> = (1..=59).map(|port| format!("\"tcp {port} from ::/0\"")).collect();
    let group =
        |more: &str| format!("[security_group.g]\ningress = [{},{},\n{more}]\n", v4.join(","), v6.join(","));
    assert_eq!(load(&format!("{VPC}{}", group(""))).security_groups[0].ingress.len(), 119);
    in_vpc(
        &group("\"all from sg:g\""),
        &[(
            9,
            "security_group.g.ingress[119]",
            Quota,
            "IPv4 rules of group g, ingress: 61, but the quota is 60 (SG-51)",
        )],
    );
    let names: Vec<_> = (0..6).map(|n| format!("g{n}")).collect();
    let tables: Vec<_> = names.iter().map(|name| format!("[security_group.{name}]\n")).collect();
    in_vpc(
        &format!(
            "{}[eni.a]\nsubnet = \"web\"\naddress = \"10.0.1.4\"\ngroups = {names:?}\nattach = {{ packet = \"v\" }}\n",
            tables.concat()
        ),
        &[(16, "eni.a.groups[5]", Quota, "groups of this ENI: 6, but the quota is 5 (SG-52)")],
    );
    in_vpc("[quotas]\ngroups_per_eni = 17\n", &[(8, "quotas.groups_per_eni", OutOfRange, "from 1 to 16")]);
    in_vpc(
        "[quotas]\nsecurity_group_rules = 201\n",
        &[(8, "quotas.security_group_rules", QuotaProduct, "lower one of the two")],
    );
}

#[test]
fn sg_60_equal_rules() {
    rules(
        &[
            "tcp 80 from 10.0.0.0/8",
            "6 80-80 from 10.0.0.0/8",
            "tcp 80-81 from 10.0.0.0/8",
            "tcp -1 from ::/0",
            "tcp any from ::/0",
        ],
        &[
            (10, "security_group.g.ingress[1]", DuplicateRule, "equal protocol, ports and peer are one rule"),
            (13, "security_group.g.ingress[4]", DuplicateRule, "equal protocol, ports and peer are one rule"),
        ],
    );
}

#[test]
fn nacl_1_a_subnet_has_one_acl_that_exists() {
    refused(
        "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n[subnet.a]\ncidr = \"10.0.1.0/24\"\nnetwork_acl = \"wbe\"\n[network_acl.web]\n",
        &[(5, "subnet.a.network_acl", UnknownReference, "did you mean `web`?")],
    );
}

#[test]
fn nacl_3_and_nacl_4_numbers() {
    entries(
        &[
            "100 allow all from 0.0.0.0/0",
            "100 deny all from ::/0",
            "0 deny all from ::/0",
            "32767 deny all from ::/0",
            "deny all from ::/0",
            "32766 deny all from ::/0",
        ],
        &[
            (10, "network_acl.n.ingress[1]", DuplicateRuleNumber, "once in a direction, whatever the family"),
            (11, "network_acl.n.ingress[2]", BadRuleNumber, "1 to 32766"),
            (12, "network_acl.n.ingress[3]", BadRuleNumber, "1 to 32766"),
            (13, "network_acl.n.ingress[4]", BadRuleNumber, "1 to 32766"),
        ],
    );
}

#[test]
fn nacl_10_fields_of_an_entry() {
    entries(
        &[
            "1 permit all from ::/0",
            "2 allow all from sg:default",
            "3 allow tcp 1 from pl:x",
            "4 allow tcp from ::/0",
            "5 allow all from ::/0 10.0.0.0/8",
        ],
        &[
            (9, "network_acl.n.ingress[0]", BadRule, "must say `allow` or `deny`"),
            (10, "network_acl.n.ingress[1]", BadCidr, "no groups and no prefix lists"),
            (11, "network_acl.n.ingress[2]", BadCidr, "no groups and no prefix lists"),
            (12, "network_acl.n.ingress[3]", BadPorts, "`tcp` needs ports"),
            (13, "network_acl.n.ingress[4]", BadRule, "the line ends with its CIDR block"),
        ],
    );
}

#[test]
fn nacl_12_and_nacl_13_types_and_codes() {
    entries(
        &[
            "1 allow icmp from 0.0.0.0/0",
            "2 allow icmpv6 from ::/0",
            "3 allow icmpv6 from 10.0.0.0/8",
            "4 allow 132 1 from ::/0",
            "5 allow 132 x from ::/0",
        ],
        &[
            (9, "network_acl.n.ingress[0]", BadIcmp, "`icmp` needs a type and a code"),
            (10, "network_acl.n.ingress[1]", BadIcmp, "`icmpv6` needs a type and a code"),
            (13, "network_acl.n.ingress[4]", BadPorts, "`x` is not a port"),
        ],
    );
}

#[test]
fn nacl_14_cidrs_are_canonical() {
    entries(
        &["1 deny all from 100.68.0.18/18"],
        &[(9, "network_acl.n.ingress[0]", HostBits, "write `100.68.0.0/18`")],
    );
}

#[test]
fn nacl_17_quotas() {
    let lines: Vec<_> = (1..=20).map(|number| format!("{number} deny all from 10.0.0.0/8")).collect();
    let mut lines: Vec<_> = lines.iter().map(String::as_str).collect();
    entries(
        &lines,
        &[(
            28,
            "network_acl.n.ingress[19]",
            Quota,
            "IPv4 entries with `*`: 21, but the quota is 20 (NACL-17)",
        )],
    );
    lines[19] = "20 deny all from ::/0";
    let quoted: Vec<_> = lines.iter().map(|line| format!("\"{line}\"")).collect();
    load(&format!("{VPC}[network_acl.n]\ningress = [{}]", quoted.join(",")));
    in_vpc(
        "[quotas]\nnetwork_acls = 2\n[network_acl.a]\n[network_acl.b]\n",
        &[(10, "network_acl.b", Quota, "raise it with `network_acls` in [quotas]")],
    );
}

#[test]
fn res_1_a_service_has_reserved_addresses() {
    in_vpc(
        "[service.s]\naddresses = [\"10.0.1.2\", \"10.0.1.4\"]\nattach = { tap = \"s\" }\n",
        &[(8, "service.s.addresses[1]", NotReserved, "169.254.0.0/16")],
    );
}

#[test]
fn res_10b_and_res_21v6_reserved_addresses_are_no_enis() {
    let allowed = "its first four addresses and its last one are reserved";
    for last in [0, 1, 2, 3, 15] {
        eni(&format!("address = \"10.0.1.{last}\""), &[(8, "eni.a.address", ReservedAddress, allowed)]);
    }
    for last in ["", "1", "2", "3", "ffff:ffff:ffff:ffff"] {
        let address = format!("2001:db8:1:1:{}{last}", if last.len() < 2 { ":" } else { "" });
        eni(
            &format!("address = \"10.0.1.4\"\nipv6_address = \"{address}\""),
            &[(9, "eni.a.ipv6_address", ReservedAddress, allowed)],
        );
    }
    // A /28 offers eleven.
    let eleven: Vec<_> = (5..15).map(|host| format!("\"10.0.1.{host}\"")).collect();
    let text = format!(
        "{VPC}[eni.a]\nsubnet = \"web\"\naddress = \"10.0.1.4\"\nsecondary_addresses = [{}]\nattach = {{ packet = \"v\" }}",
        eleven.join(",")
    );
    assert_eq!(load(&text).enis[0].addresses().count(), 11);
}

#[test]
fn res_45_an_address_has_one_owner() {
    eni(
        "address = \"10.0.1.4\"\nsecondary_addresses = [\"10.0.1.4\"]",
        &[(9, "eni.a.secondary_addresses[0]", DuplicateAddress, "10.0.1.4")],
    );
}

#[test]
fn res_46_sizes_and_overlaps_of_subnets() {
    in_vpc(
        "[subnet.small]\ncidr = \"10.0.2.0/29\"\n[subnet.inside]\ncidr = \"10.0.1.0/29\"\n[subnet.far]\ncidr = \"10.1.0.0/24\"\n\
         ipv6_cidr = \"2001:db8:1:2::/62\"\n",
        &[
            (8, "subnet.small.cidr", BlockSize, "/16 to /28"),
            (10, "subnet.inside.cidr", BlockSize, "/16 to /28"),
            (10, "subnet.inside.cidr", Overlap, "subnets must be disjoint"),
            (12, "subnet.far.cidr", OutsideVpc, "the VPC has 10.0.0.0/16"),
            (13, "subnet.far.ipv6_cidr", HostBits, "write `2001:db8:1::/62`"),
        ],
    );
    in_vpc(
        "[subnet.a]\ncidr = \"10.0.2.0/24\"\nipv6_cidr = \"2001:db8:1:4::/62\"\n",
        &[(9, "subnet.a.ipv6_cidr", BlockSize, "/44 to /64 in steps of 4")],
    );
}

#[test]
fn rt_70_blocks_of_the_vpc() {
    refused(
        "[vpc]\ncidr_blocks = [\"10.0.0.0/15\",\n\"10.4.0.0/29\"]\nipv6_cidr_block = \"2001:db8::/57\"\n",
        &[
            (2, "vpc.cidr_blocks[0]", BlockSize, "/16 to /28"),
            (3, "vpc.cidr_blocks[1]", BlockSize, "/16 to /28"),
            (4, "vpc.ipv6_cidr_block", BlockSize, "/56"),
        ],
    );
    let blocks: Vec<_> = (0..6).map(|n| format!("\"10.{n}.0.0/16\"")).collect();
    refused(
        &format!("[vpc]\ncidr_blocks = [{}]\n", blocks.join(",")),
        &[(2, "vpc.cidr_blocks[5]", Quota, "IPv4 blocks: 6, but the quota is 5 (RT-70)")],
    );
    refused("[vpc]\ncidr_blocks = []\n", &[(2, "vpc.cidr_blocks", EmptyList, "write one to five")]);
}

#[test]
fn ct_39b_time_outs_have_ranges() {
    for (key, too_short, too_long, allowed) in [
        ("tcp_established", "59s", "432001s", "60s to 432000s"),
        ("udp", "29s", "61s", "30s to 60s"),
        ("udp_stream", "59s", "181s", "60s to 180s"),
    ] {
        for time in [too_short, too_long] {
            eni(
                &format!("address = \"10.0.1.4\"\nconnection_tracking = {{ {key} = \"{time}\" }}"),
                &[(9, &format!("eni.a.connection_tracking.{key}"), OutOfRange, allowed)],
            );
        }
    }
}
