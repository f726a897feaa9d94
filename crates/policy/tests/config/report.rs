//! What a person gets to see.

use super::faults;
use palisade_policy::diagnostics::Style;

/// A file with more than ten faults of different kinds, in one run.
const MANY: &str = r#"[vpc]
cidr_blocks = ["10.0.0.0/16"]
regoin = "us-east-1"

[subnet.web]
cidr = "10.0.1.0/24"

[subnet.data]
cidr = "10.0.1.128/25"

[subnet.far]
cidr = "192.168.0.0/24"

[network_acl.public]
ingress = [
    "100 allow tcp 443 from 0.0.0.0/0",
    "100 deny  udp 53 from 198.51.100.7/24",
    "110 allow tcp 80-20 from 0.0.0.0/0",
]

[security_group.web]
ingress = ["tcp 443 from sg:wbe", "tpc 80 from 10.0.0.1"]

[eni.web-1]
subnet = "web"
address = "10.0.1.3"
mtu = "big"
attach = { tap = "an-interface-too-long" }

[eni.web-2]
subnet = "web"
address = "10.0.2.10"
ipv6_address = "2001:db8::1"
connection_tracking = { udp = "90s" }
attach = { tap = "eth0", netns = "web-2" }

[eni.web-3]
subnet = "web"
address = "10.0.1.10"
"#;

#[test]
fn one_run_finds_every_fault_with_line_column_and_field() {
    let expected = "\
test.toml:3:1: vpc.regoin: unknown key `regoin`
test.toml:9:9: subnet.data.cidr: `10.0.1.128/25` overlaps the subnet 10.0.1.0/24
test.toml:12:9: subnet.far.cidr: `192.168.0.0/24` is outside the VPC
test.toml:17:6: network_acl.public.ingress[1]: rule number 100 is used twice in this direction
test.toml:17:28: network_acl.public.ingress[1]: `198.51.100.7/24` has host bits set behind its prefix
test.toml:18:20: network_acl.public.ingress[2]: `80-20` ends before it begins
test.toml:22:29: security_group.web.ingress[0]: there is no security group `wbe`
test.toml:22:36: security_group.web.ingress[1]: there is no protocol `tpc`
test.toml:22:48: security_group.web.ingress[1]: `10.0.0.1` has no prefix length
test.toml:26:12: eni.web-1.address: `10.0.1.3` is in the subnet's reserved address range
test.toml:27:7: eni.web-1.mtu: expected a whole number from 68 to 9001, found a string
test.toml:28:19: eni.web-1.attach.tap: `an-interface-too-long` is not a network device's name: 1 to 15 bytes, no white \
space, `/` or `:`, not `.` or `..`
test.toml:32:12: eni.web-2.address: `10.0.2.10` is outside the subnet
test.toml:33:17: eni.web-2.ipv6_address: the subnet `web` has no IPv6 block
test.toml:34:32: eni.web-2.connection_tracking.udp: `90s` is out of range
test.toml:37:6: eni.web-3: the key `attach` is missing";
    assert_eq!(faults(MANY).to_string(), expected);
}

#[test]
fn every_fault_says_what_is_allowed() {
    for fault in &faults(MANY) {
        assert!(!fault.help.is_empty(), "{fault}");
    }
    let help = |line: usize| {
        let faults = faults(MANY);
        faults.iter().find(|fault| fault.place.line == line).unwrap().help.clone()
    };
    assert!(help(3).starts_with("did you mean `region`? allowed here: id, region, account,"), "{}", help(3));
    assert!(help(22).starts_with("did you mean `web`? there are: web, default"), "{}", help(22));
    assert_eq!(help(12), "the VPC has 10.0.0.0/16");
}

#[test]
fn snippets_show_the_line_and_the_related_place() {
    let drawn = faults(MANY).render(Style::default());
    let overlap = "  × `10.0.1.128/25` overlaps the subnet 10.0.1.0/24
    ╭─[test.toml:9:9]
  5 │ [subnet.web]
  6 │ cidr = \"10.0.1.0/24\"
    ·         ─────┬─────
    ·              ╰── the other one
  7 │ 
  8 │ [subnet.data]
  9 │ cidr = \"10.0.1.128/25\"
    ·         ──────┬──────
    ·               ╰── subnet.data.cidr
 10 │ 
    ╰────
  help: subnets must be disjoint
";
    assert!(drawn.contains(overlap), "{drawn}");
}

#[test]
fn colour_only_when_asked_for() {
    let faults = faults(MANY);
    assert!(!faults.render(Style::default()).contains('\u{1b}'));
    assert!(faults.render(Style { colour: true, ..Style::default() }).contains('\u{1b}'));
}

#[test]
fn json_has_a_place_for_every_fault() {
    let faults = faults(MANY);
    let json = serde_json::to_value(&faults).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(faults.len()));
    let fault = &json[3];
    assert_eq!(fault["code"], "duplicate-rule-number");
    assert_eq!(fault["file"], "test.toml");
    assert_eq!((&fault["line"], &fault["column"], &fault["length"]), (&17.into(), &6.into(), &3.into()));
    assert_eq!(fault["text"], "100");
    assert_eq!(fault["field"], "network_acl.public.ingress[1]");
    assert_eq!(fault["related"]["line"], 16);
}

#[test]
fn columns_of_strings_with_several_lines_and_escapes() {
    let text = "[vpc]
cidr_blocks = [\"10.0.0.0/16\"]
[security_group.\"é\"]
[security_group.a]
ingress = [\"\"\"
tcp any
  from nowhere\"\"\", 'tcp 1 from sg:x', \"tcp\\u0020any from y\"]
";
    let places: Vec<_> =
        faults(text).iter().map(|f| (f.place.line, f.place.column, f.text.clone())).collect();
    let expected = [
        (3, 18, "é"),
        (7, 8, "nowhere"),
        (7, 35, "x"),
        // Escapes hide where a word stands: the whole string is told.
        (7, 39, "\"tcp\\u0020any from y\""),
    ];
    assert_eq!(places, expected.map(|(line, column, text)| (line, column, text.to_owned())));
}
