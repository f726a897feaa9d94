//! Findings one by one: what is told, of which rules, where, and what is not told.

use palisade_policy::lint::Code::{self, *};

use super::{codes, findings, over};

/// Two subnets with ACLs that let everything through, one interface in each, IPv6.
const BASE: &str = r#"
[vpc]
cidr_blocks = ["10.0.0.0/16"]
ipv6_cidr_block = "2001:db8:1::/56"
[subnet.a]
cidr = "10.0.1.0/24"
ipv6_cidr = "2001:db8:1:1::/64"
network_acl = "a"
[subnet.b]
cidr = "10.0.2.0/24"
ipv6_cidr = "2001:db8:1:2::/64"
[network_acl.a]
ingress = ["100 allow all from 0.0.0.0/0", "101 allow all from ::/0"]
egress = ["100 allow all to 0.0.0.0/0", "101 allow all to ::/0"]
[security_group.a]
egress = []
[security_group.b]
egress = []
[eni.a]
subnet = "a"
address = "10.0.1.10"
ipv6_address = "2001:db8:1:1::10"
groups = ["a"]
attach = { tap = "a" }
[eni.b]
subnet = "b"
address = "10.0.2.10"
groups = ["b"]
attach = { tap = "b" }
"#;

/// Kinds of finding of a change of [`BASE`].
fn of(patch: &str) -> Vec<Code> {
    codes(&over(BASE, patch))
}

/// Kinds of finding if group `a` has these inbound rules.
fn ingress(rules: &str) -> Vec<Code> {
    of(&format!("[security_group.a]\ningress = [{rules}]"))
}

/// Kinds of finding if group `a` has a rule and the ACL of its subnet these entries.
fn against(rule: &str, ingress: &str, egress: &str) -> Vec<Code> {
    let (inbound, outbound) = if rule.contains(" to ") {
        (String::new(), format!("\"{rule}\""))
    } else {
        (format!("\"{rule}\""), String::new())
    };
    of(&format!(
        "[security_group.a]\ningress = [{inbound}]\negress = [{outbound}]\n[network_acl.a]\ningress = [{ingress}]\negress = [{egress}]"
    ))
}

#[test]
fn the_base_is_clean() {
    assert_eq!(codes(BASE), []);
}

#[test]
fn a_finding_names_rules_places_reasons_and_remedies() {
    let text = "\
[vpc]
cidr_blocks = [\"10.0.0.0/16\"]
[network_acl.default]
id = \"acl-0123456789abcdef0\"
ingress = [
    \"200 allow tcp 22 from 10.0.0.0/8\",
    \"100 deny tcp any from 0.0.0.0/0\",
]
";
    let found = findings(text);
    // Entry 100 would repeat the end of the list, were it not for 200 behind it.
    let [shadowed] = &found.iter().collect::<Vec<_>>()[..] else { panic!("{found:?}") };
    assert_eq!(shadowed.code, ShadowedEntry);
    assert_eq!((shadowed.place.line, shadowed.place.column), (6, 6));
    assert_eq!(shadowed.field, "network_acl.default.ingress[0]");
    assert_eq!(shadowed.text, "200 allow tcp 22 from 10.0.0.0/8");
    let ids: Vec<_> = shadowed.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["acl-0123456789abcdef0 ingress 200", "acl-0123456789abcdef0 ingress 100"]);
    assert_eq!((shadowed.related[0].place.line, shadowed.related[0].label.as_str()), (7, "entry 100"));
    assert!(
        shadowed.message.ends_with("decides nothing: entry 100 matches all of it before"),
        "{}",
        shadowed.message
    );
    assert!(shadowed.help.contains("a number below 100"), "{}", shadowed.help);
    let drawn = found.render(palisade_policy::diagnostics::Style::default());
    assert!(drawn.contains("⚠") && drawn.contains("entry 100"), "{drawn}");
}

#[test]
fn faults_of_a_file_are_told_instead() {
    assert!(palisade_policy::lint::lint("x", "[vpc]\n").is_err());
}

#[test]
fn samples_have_no_warnings_but_the_one_that_the_demo_shows() {
    for (name, expected) in [("bastion", &[][..]), ("default-vpc", &[]), ("two-subnets", &[DeniedByAcl])] {
        let path = format!("{}/../../configs/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let found = findings(&std::fs::read_to_string(path).unwrap());
        let warnings =
            found.iter().filter(|finding| finding.severity == palisade_policy::lint::Severity::Warning);
        assert_eq!(warnings.map(|finding| finding.code).collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn ct_11_a_rule_that_makes_flows_untracked_is_not_redundant() {
    let halves = "\"tcp 443 from 0.0.0.0/0\", \"tcp 443 from 0.0.0.0/1\", \"tcp 443 from 128.0.0.0/1\"";
    let untracked = format!("[security_group.a]\ningress = [{halves}]\negress = [\"all to 0.0.0.0/0\"]");
    let found = findings(&over(BASE, &untracked));
    let redundant: Vec<_> =
        found.iter().filter(|one| one.code == RedundantRule).map(|one| one.text.as_str()).collect();
    assert_eq!(redundant, ["tcp 443 from 0.0.0.0/1", "tcp 443 from 128.0.0.0/1"]);
    // Where flows are tracked either way, one half of the plane and the whole cover each other; the narrow ones are told.
    assert_eq!(ingress(halves), [RedundantRule]);
    let by_list = "[prefix_list.all]\nentries = [\"0.0.0.0/0\"]\n[security_group.a]\negress = [\"all to 0.0.0.0/0\"]\n\
                   ingress = [\"tcp 443 from 0.0.0.0/0\", \"tcp 443 from pl:all\"]";
    assert_eq!(of(by_list), [RedundantRule, UntrackedFlows], "whatever the list holds");
}

#[test]
fn sg_34_a_reference_does_not_cover_a_block_inbound() {
    assert_eq!(ingress("\"tcp 443 from 10.0.2.10/32\", \"tcp 443 from sg:b\""), [RedundantForNow]);
    let found = findings(&over(
        BASE,
        "[security_group.a]\ningress = [\"tcp 443 from 10.0.2.10/32\", \"tcp 443 from sg:b\"]",
    ));
    assert_eq!(
        found.iter().next().unwrap().text,
        "tcp 443 from sg:b",
        "through an appliance only the block matches"
    );
    // SG-35: outbound the next hop does not matter.
    let outbound = "[security_group.a]\negress = [\"tcp 443 to 10.0.2.10/32\", \"tcp 443 to sg:b\"]";
    assert_eq!(of(outbound), [RedundantForNow]);
}

#[test]
fn a_reference_within_the_whole_vpc_is_redundant_for_good() {
    assert_eq!(
        ingress("\"tcp 443 from 10.0.0.0/16\", \"tcp 443 from 2001:db8:1::/56\", \"tcp 443 from sg:b\""),
        [RedundantRule]
    );
    assert_eq!(
        ingress("\"tcp 443 from 10.0.0.0/16\", \"tcp 443 from sg:b\""),
        [RedundantForNow],
        "no member has IPv6, yet"
    );
    assert_eq!(ingress("\"tcp 440-450 from sg:b\", \"tcp 443 from sg:b\""), [RedundantRule]);
}

#[test]
fn default_rules_cover_but_are_not_named() {
    // Group a has AWS's outbound rule; b's is written, and only where a is.
    let both = "[security_group.c]\negress = [\"tcp 443 to 10.0.0.0/8\"]\n[eni.a]\ngroups = [\"c\", \"d\"]\n[security_group.d]\n\
                [security_group.a]\ningress = []\n[eni.b]\ngroups = [\"a\", \"b\"]";
    assert_eq!(of(both), [RedundantAcrossGroups]);
}

#[test]
fn sg_15_and_nacl_12_icmp_of_the_other_family() {
    assert_eq!(ingress("\"icmp 8/any from ::/0\", \"icmpv6 any from 10.0.0.0/8\""), [IcmpOtherFamily]);
    assert_eq!(
        of(
            "[network_acl.default]\ningress = [\"1 allow icmp 8/0 from ::/0\", \"2 allow 58 from 10.0.0.0/8\", \"3 allow all from 0.0.0.0/0\", \"4 allow all from ::/0\"]"
        ),
        [IcmpOtherFamily]
    );
    let list = "[prefix_list.p]\nentries = [\"2001:db8::/32\"]\n[security_group.a]\ningress = [\"icmp any from pl:p\"]";
    assert_eq!(of(list), [IcmpOtherFamily]);
    assert_eq!(ingress("\"icmpv6 any from sg:b\""), [ReferenceWithoutMembers], "b has no IPv6 address");
}

#[test]
fn sg_12_ports_that_mean_nothing() {
    assert_eq!(ingress("\"all 443 from 10.0.0.0/8\""), [IgnoredPorts]);
    assert_eq!(ingress("\"132 22-22 from 10.0.0.0/8\""), [IgnoredPorts]);
    assert_eq!(ingress("\"132 any from 10.0.0.0/8\""), []);
    assert_eq!(ingress("\"132 0-65535 from 10.0.0.0/8\""), []);
}

#[test]
fn res_1_and_sg_74_addresses_that_no_rule_sees() {
    for cidr in [
        "169.254.169.254/32",
        "10.0.0.2/32",
        "224.0.0.0/24",
        "255.255.255.255/32",
        "fd00:ec2::254/128",
        "fe80::/64",
        "ff02::/16",
    ] {
        assert_eq!(ingress(&format!("\"udp 53 from {cidr}\"")), [UnseenAddress], "{cidr}");
    }
    assert_eq!(ingress("\"udp 53 from 10.0.0.0/30\""), [], "more than the DNS address");
}

#[test]
fn nacl_20_addresses_inside_the_subnet() {
    let entry = |cidr: &str| {
        of(&format!(
            "[network_acl.a]\ningress = [\"90 deny tcp 22 from {cidr}\", \"100 allow all from 0.0.0.0/0\", \"101 allow all from ::/0\"]"
        ))
    };
    assert_eq!(entry("10.0.1.0/25"), [EntryInsideSubnet]);
    assert_eq!(entry("2001:db8:1:1::/64"), [EntryInsideSubnet]);
    assert_eq!(entry("10.0.0.0/23"), []);
    let shared = "[subnet.b]\nnetwork_acl = \"a\"\n[network_acl.a]\ningress = [\"90 deny tcp 22 from 10.0.1.0/25\", \"100 allow all from 0.0.0.0/0\", \"101 allow all from ::/0\"]";
    assert_eq!(of(shared), [], "the other subnet meets it");
}

#[test]
fn nacl_45_answers_to_clients() {
    const IN: &str = "\"100 allow tcp 443 from 0.0.0.0/0\"";
    let out = |egress: &str| against("tcp 443 from 0.0.0.0/0", IN, egress);
    assert_eq!(out(""), [NoReturnPath]);
    assert_eq!(out("\"100 allow tcp 443 to 0.0.0.0/0\""), [NoReturnPath]);
    assert_eq!(out("\"100 allow udp 1024-65535 to 0.0.0.0/0\""), [NoReturnPath]);
    assert_eq!(out("\"100 allow tcp 1024-65535 to 10.0.0.0/8\""), [NoReturnPath], "not to everybody");
    assert_eq!(out("\"100 allow tcp 32768-60999 to 0.0.0.0/0\""), [NarrowReturnPath]);
    assert_eq!(out("\"100 allow tcp 49152-65535 to 0.0.0.0/0\""), [NarrowReturnPath]);
    assert_eq!(
        out("\"100 allow tcp 32768-50000 to 0.0.0.0/0\", \"110 allow tcp 50001-60999 to 0.0.0.0/0\""),
        [NarrowReturnPath]
    );
    assert_eq!(out("\"100 allow tcp 32769-60999 to 0.0.0.0/0\""), [NoReturnPath]);
    assert_eq!(out("\"100 allow tcp 1024-65535 to 0.0.0.0/0\""), []);
    assert_eq!(out("\"100 allow all to 0.0.0.0/0\""), []);
    // Answers of connections that are opened here come in.
    assert_eq!(against("tcp 443 to 10.0.2.0/24", "", "\"100 allow tcp 443 to 0.0.0.0/0\""), [NoReturnPath]);
    assert_eq!(
        against(
            "tcp 443 to 10.0.2.0/24",
            "\"100 allow tcp 1024-65535 from 10.0.2.0/24\"",
            "\"100 allow tcp 443 to 0.0.0.0/0\""
        ),
        []
    );
}

#[test]
fn the_missing_entry_is_written_out() {
    let patch = "[security_group.a]\ningress = [\"tcp 443 from sg:b\"]\n[network_acl.a]\n\
                 ingress = [\"100 allow tcp 443 from 0.0.0.0/0\"]\negress = [\"100 allow tcp 22 to 0.0.0.0/0\", \"105 deny all to 0.0.0.0/0\"]";
    let found = findings(&over(BASE, patch));
    let lack = found.iter().find(|finding| finding.code == NoReturnPath).unwrap();
    assert!(
        lack.help.contains("`104 allow tcp 1024-65535 to 10.0.2.0/24` to the egress of a"),
        "{}",
        lack.help
    );
    assert!(lack.message.contains("entry 105 of network ACL a, egress, denies tcp"), "{}", lack.message);
    assert_eq!(lack.rules.len(), 2);
}

#[test]
fn a_denial_of_certain_addresses_is_meant() {
    let denied = |cidr: &str| {
        against(
            "tcp 443 from 0.0.0.0/0",
            "\"100 allow tcp 443 from 0.0.0.0/0\"",
            &format!("\"50 deny all to {cidr}\", \"100 allow all to 0.0.0.0/0\""),
        )
    };
    assert_eq!(denied("203.0.113.0/24"), []);
    assert_eq!(denied("0.0.0.0/0"), [NoReturnPath, ShadowedEntry].into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn neighbours_need_no_return_path() {
    let neighbours = against("tcp 443 from 10.0.1.0/24", "", "");
    assert_eq!(neighbours, [], "NACL-20");
    assert_eq!(against("tcp 443 from 10.0.0.0/16", "", ""), [DeniedByAcl]);
}

#[test]
fn nacl_64_echo_and_other_queries() {
    let echo = |rule: &str, egress: &str| {
        against(rule, "\"100 allow icmp any from 0.0.0.0/0\", \"101 allow icmpv6 any from ::/0\"", egress)
    };
    assert_eq!(echo("icmp 8/any from 10.0.2.0/24", "\"100 allow icmp 8/any to 0.0.0.0/0\""), [NoReturnPath]);
    assert_eq!(echo("icmp 8/any from 10.0.2.0/24", "\"100 allow icmp 0/any to 0.0.0.0/0\""), []);
    assert_eq!(echo("icmp 13/any from 10.0.2.0/24", "\"100 allow icmp 0/any to 0.0.0.0/0\""), [NoReturnPath]);
    assert_eq!(echo("icmp 3/any from 10.0.2.0/24", ""), [], "an error wants no answer");
    assert_eq!(echo("icmp any from 10.0.2.0/24", "\"100 allow icmp 0/any to 0.0.0.0/0\""), []);
    assert_eq!(echo("icmpv6 128/any from ::/0", "\"100 allow icmpv6 128/any to ::/0\""), [NoReturnPath]);
}

#[test]
fn udp_may_be_answered_to_the_service_s_own_port_and_other_protocols_to_nothing() {
    let ntp =
        |egress: &str| against("udp 123 from 10.0.2.0/24", "\"100 allow udp 123 from 0.0.0.0/0\"", egress);
    assert_eq!(ntp("\"100 allow udp 123 to 0.0.0.0/0\""), []);
    assert_eq!(ntp("\"100 allow udp 124 to 0.0.0.0/0\""), [NoReturnPath]);
    let gre = |egress: &str| against("47 from 10.0.2.0/24", "\"100 allow 47 from 0.0.0.0/0\"", egress);
    assert_eq!(gre(""), [NoReturnPath]);
    assert_eq!(gre("\"100 allow 47 to 10.0.2.0/24\""), []);
}

#[test]
fn wide_rules_are_judged_by_entries_that_name_a_port() {
    let wide = |ingress: &str, egress: &str| against("all to 0.0.0.0/0", ingress, egress);
    assert_eq!(wide("", "\"100 allow tcp 443 to 0.0.0.0/0\""), [NoReturnPath]);
    assert_eq!(wide("", "\"100 allow all to 0.0.0.0/0\""), [NoReturnForWideRule]);
    // An entry for clients' ports is there for answers: it does not mean that connections are opened to them.
    assert_eq!(wide("\"100 allow tcp 443 from 0.0.0.0/0\"", "\"100 allow tcp 1024-65535 to 0.0.0.0/0\""), []);
}

#[test]
fn a_rule_may_work_in_one_subnet_and_not_in_another() {
    let patch = "[eni.b]\ngroups = [\"a\", \"b\"]\n[security_group.a]\ningress = [\"tcp 443 from 192.0.2.0/24\"]\n\
                 [network_acl.a]\ningress = []\negress = []";
    assert_eq!(of(patch), [DeniedInSubnet]);
    let family = "[eni.b]\nipv6_address = \"2001:db8:1:2::10\"\n[security_group.a]\ningress = [\"tcp 443 from sg:b\"]\n\
                  [network_acl.a]\ningress = [\"100 allow all from 0.0.0.0/0\"]\negress = [\"100 allow all to 0.0.0.0/0\"]";
    assert_eq!(of(family), [DeniedInSubnet], "over IPv6");
}

#[test]
fn what_everybody_has_is_not_called_unused() {
    let text = "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n[security_group.default]\ningress = []\n[network_acl.default]\ningress = []\n";
    assert_eq!(codes(text), []);
}
