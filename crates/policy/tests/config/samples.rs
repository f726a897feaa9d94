//! The sample files in `configs/` and the schema beside them.

use std::path::PathBuf;

use palisade_policy::draft;
use palisade_policy::ids::IdKind;
use palisade_policy::model::{Attachment, Vpc};

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every sample by name.
pub(crate) fn samples() -> Vec<(String, String)> {
    let entries =
        std::fs::read_dir(path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut samples: Vec<_> = entries
        .filter(|name| path(name).extension().is_some_and(|kind| kind == "toml"))
        .map(|name| (text(&name), name))
        .collect();
    samples.sort_by(|a, b| a.1.cmp(&b.1));
    samples.into_iter().map(|(text, name)| (name, text)).collect()
}

fn sample(name: &str) -> Vpc {
    super::load(&text(name))
}

#[test]
fn samples_load() {
    let samples = samples();
    assert!(samples.len() >= 3, "{samples:?}");
    for (name, text) in samples {
        assert!(text.starts_with("#:schema ./palisade.schema.json\n"), "{name} has no hint for editors");
        if let Err(faults) = draft::load(&name, &text) {
            panic!("{faults}");
        }
    }
}

#[test]
fn the_demo_has_what_its_script_needs() {
    let vpc = sample("two-subnets.toml");
    let namespaces: Vec<_> = vpc.enis.iter().filter_map(|eni| eni.attachment.netns()).collect();
    assert_eq!(namespaces, ["web-1", "web-2", "db-1", "db-2"]);
    assert!(vpc.enis.iter().all(|eni| eni.attachment.device() == "eth0" && eni.ipv6_addresses.len() == 1));
    assert!(vpc.enis.iter().all(|eni| matches!(eni.attachment, Attachment::Tap { configure: true, .. })));
    let dns = &vpc.services[0];
    assert_eq!((dns.name.as_str(), dns.attachment.netns()), ("dns", Some("dns")));
    assert_eq!(
        dns.addresses,
        ["10.0.0.2", "169.254.169.253"].map(|text| text.parse::<std::net::IpAddr>().unwrap())
    );
}

#[test]
fn the_default_vpc_is_aws_s() {
    let vpc = sample("default-vpc.toml");
    assert_eq!((vpc.network_acls.len(), vpc.security_groups.len()), (1, 1));
    assert!(vpc.network_acls[0].is_default);
    assert!(vpc.enis.iter().all(|eni| eni.mtu == 9001 && eni.groups.len() == 1));
}

#[test]
fn the_schema_beside_the_samples_is_the_present_one() {
    let written: serde_json::Value = serde_json::from_str(&text("palisade.schema.json")).unwrap();
    assert!(written == draft::schema(), "run `palisade schema > configs/palisade.schema.json`");
}

#[test]
fn the_schema_accepts_the_samples_and_refuses_misspellings() {
    let schema = jsonschema::validator_for(&draft::schema()).unwrap();
    let value = |text: &str| serde_json::to_value(toml::from_str::<toml::Value>(text).unwrap()).unwrap();
    for (name, text) in samples() {
        let value = value(&text);
        let faults: Vec<_> = schema.iter_errors(&value).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
    }
    let demo = text("two-subnets.toml");
    for (right, wrong) in [
        ("cidr_blocks =", "cidr_block ="),
        ("\"10.0.1.0/24\"", "\"10.0.1.0\""),
        ("100 allow tcp 80 from", "100 allow tcp 80 to"),
        ("100 allow tcp 80 from", "100 permit tcp 80 from"),
        ("\"tcp 80 from ::/0\"", "\"tpc 80 from ::/0\""),
        ("configure = true", "configure = \"yes\""),
        ("tap = \"eth0\", ", ""),
        ("rule = \"tcp 5432 from sg:web\"", "rule = \"tcp 5432 to sg:web\""),
    ] {
        assert!(demo.contains(right), "{right}");
        let wrong = demo.replacen(right, wrong, 1);
        assert!(!schema.is_valid(&value(&wrong)), "accepted with {right} misspelt");
    }
}

#[test]
fn derived_ids_are_unique_and_stay_the_same() {
    for (name, text) in samples() {
        let (first, again) = (super::load(&text), super::load(&text));
        assert_eq!(first, again);
        let mut ids = ids(&first);
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{name}");
    }
    // Ids are written into other files and logs: these must never change.
    let vpc = sample("default-vpc.toml");
    let pinned = [&vpc.id, &vpc.subnets[0].id, &vpc.enis[0].id, &vpc.security_groups[0].egress[0].id];
    assert_eq!(
        pinned,
        [
            "vpc-dea475c1b34901674",
            "subnet-db9bb7fb23f4fe247",
            "eni-3de9c0890371dc6eb",
            "sgr-ff8b164da9463554d"
        ]
    );
    assert_eq!(vpc.enis[0].mac.to_string(), "e6:0b:3a:d8:be:3f");
}

#[test]
fn ids_do_not_depend_on_the_order_of_the_file() {
    let head = "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n";
    let groups =
        ["[security_group.a]\ningress = [\"all from sg:b\", \"tcp 1 from ::/0\"]\n", "[security_group.b]\n"];
    let [there, back] = [[groups[0], groups[1]], [groups[1], groups[0]]].map(|parts| {
        let vpc = super::load(&format!("{head}{}", parts.concat()));
        let mut ids: Vec<_> = ids(&vpc).into_iter().map(str::to_owned).collect();
        ids.sort_unstable();
        ids
    });
    assert_eq!(there, back);
}

fn ids(vpc: &Vpc) -> Vec<&str> {
    let rules = vpc.security_groups.iter().flat_map(|group| group.ingress.iter().chain(&group.egress));
    let ids: Vec<(IdKind, &String)> = std::iter::once((IdKind::Vpc, &vpc.id))
        .chain(vpc.subnets.iter().map(|object| (IdKind::Subnet, &object.id)))
        .chain(vpc.network_acls.iter().map(|object| (IdKind::NetworkAcl, &object.id)))
        .chain(vpc.security_groups.iter().map(|object| (IdKind::SecurityGroup, &object.id)))
        .chain(vpc.prefix_lists.iter().map(|object| (IdKind::PrefixList, &object.id)))
        .chain(vpc.instances.iter().map(|object| (IdKind::Instance, &object.id)))
        .chain(vpc.enis.iter().map(|object| (IdKind::Eni, &object.id)))
        .chain(rules.map(|rule| (IdKind::GroupRule, &rule.id)))
        .collect();
    for (kind, id) in &ids {
        assert!(kind.is_id(id), "{id}");
    }
    ids.into_iter().map(|(_, id)| id.as_str()).collect()
}
