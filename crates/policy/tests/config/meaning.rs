//! What a file without faults means: defaults, normal forms, references.

use std::time::Duration;

use palisade_policy::ids;
use palisade_policy::model::{
    AclAction, Attachment, ConnectionTracking, Direction, GroupRule, Latency, Peer, Profile, Protocol,
    Revocation, Vpc,
};

use super::load;

const V4: &str = "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n";
const V6: &str = "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\nipv6_cidr_block = \"2001:db8:1::/56\"\n";

fn rules(vpc: &Vpc, group: &str, direction: Direction) -> Vec<(Protocol, String)> {
    let group = vpc.security_groups.iter().find(|candidate| candidate.name == group).unwrap();
    group.rules(direction).iter().map(|rule| (rule.protocol, peer(vpc, rule))).collect()
}

fn peer(vpc: &Vpc, rule: &GroupRule) -> String {
    match rule.peer {
        Peer::Cidr(cidr) => cidr.to_string(),
        Peer::Group(group) => vpc[group].name.clone(),
        Peer::PrefixList(list) => vpc[list].name.clone(),
        Peer::Stale(group) => format!("stale:{group}"),
    }
}

fn protocols(rules: &str) -> Vec<Protocol> {
    let vpc = load(&format!("{V4}[security_group.a]\ningress = [{rules}]"));
    self::rules(&vpc, "a", Direction::Ingress).into_iter().map(|(protocol, _)| protocol).collect()
}

fn entries(entries: &str) -> Vec<Protocol> {
    let vpc = load(&format!("{V4}[network_acl.a]\ningress = [{entries}]"));
    vpc.network_acls[0].ingress.iter().map(|entry| entry.protocol).collect()
}

#[test]
fn the_default_group_is_sg_6() {
    for (text, egress) in [(V4, &["0.0.0.0/0"][..]), (V6, &["0.0.0.0/0", "::/0"])] {
        let vpc = load(text);
        let egress: Vec<_> = egress.iter().map(|cidr| (Protocol::All, (*cidr).to_owned())).collect();
        assert_eq!(rules(&vpc, "default", Direction::Ingress), [(Protocol::All, "default".to_owned())]);
        assert_eq!(rules(&vpc, "default", Direction::Egress), egress);
        assert_eq!(vpc.security_groups[0].description, "default VPC security group");
    }
}

#[test]
fn a_table_replaces_rules_of_the_default_group() {
    let vpc = load(&format!("{V4}[security_group.default]\ningress = [\"tcp 22 from 10.0.0.0/8\"]"));
    let ssh = Protocol::Tcp { from: 22, to: 22 };
    assert_eq!(vpc.security_groups.len(), 1);
    assert_eq!(rules(&vpc, "default", Direction::Ingress), [(ssh, "10.0.0.0/8".to_owned())]);
    assert_eq!(rules(&vpc, "default", Direction::Egress), [(Protocol::All, "0.0.0.0/0".to_owned())]);
}

#[test]
fn a_new_group_is_sg_5() {
    let vpc = load(&format!("{V6}[security_group.a]\n[security_group.b]\negress = []"));
    assert_eq!(rules(&vpc, "a", Direction::Ingress), []);
    assert_eq!(rules(&vpc, "a", Direction::Egress).len(), 2);
    assert_eq!(rules(&vpc, "b", Direction::Egress), []);
    assert_eq!(vpc.security_groups[0].description, "a");
}

#[test]
fn the_default_acl_is_nacl_6() {
    for (text, numbers) in [(V4, &[100][..]), (V6, &[100, 101])] {
        let vpc = load(text);
        let acl = &vpc.network_acls[0];
        assert!(acl.is_default);
        for list in [&acl.ingress, &acl.egress] {
            assert_eq!(list.iter().map(|entry| entry.number.get()).collect::<Vec<_>>(), numbers);
            assert!(list.iter().all(|e| e.action == AclAction::Allow && e.protocol == Protocol::All));
            assert!(list.iter().all(|entry| entry.cidr.prefix_len() == 0));
        }
    }
}

#[test]
fn acl_entries_are_in_order_and_a_new_acl_is_empty() {
    let vpc = load(&format!(
        "{V4}[network_acl.a]\ningress = [\"20 deny all from ::/0\", \"3 allow all from ::/0\"]"
    ));
    let acl = &vpc.network_acls[0];
    assert_eq!(acl.ingress.iter().map(|entry| entry.number.get()).collect::<Vec<_>>(), [3, 20]);
    assert!(acl.egress.is_empty() && !acl.is_default, "NACL-7");
    assert!(vpc.network_acls[1].is_default);
}

#[test]
fn subnets_without_an_acl_have_the_default_one() {
    let subnets =
        "[subnet.x]\ncidr = \"10.0.1.0/24\"\n[subnet.y]\ncidr = \"10.0.2.0/24\"\nnetwork_acl = \"a\"\n";
    let vpc = load(&format!("{V4}{subnets}[network_acl.a]"));
    let acls: Vec<_> = vpc.subnets.iter().map(|subnet| vpc[subnet.network_acl].name.as_str()).collect();
    assert_eq!(acls, ["default", "a"]);
}

#[test]
fn protocols_have_one_form() {
    use Protocol::{All, Icmp, Icmpv6, Number, Tcp, Udp};
    let found = protocols(
        r#""all from ::/0", "tcp 443 from ::/0", "6 1000-2000 from ::/0", "17 any from ::/0", "udp -1 from 10.0.0.0/8",
           "icmp 8/any from 10.0.0.0/8", "1 3/4 from 10.0.0.0/8", "icmp any from 10.0.0.0/8", "icmpv6 from ::/0",
           "58 128/-1 from ::/0", "132 from ::/0", "50 22-22 from ::/0", "0 from ::/0", "-1 80 from 10.0.0.0/8""#,
    );
    let expected = [
        All,
        Tcp { from: 443, to: 443 },
        Tcp { from: 1000, to: 2000 },
        Udp { from: 0, to: 65535 },
        Udp { from: 0, to: 65535 },
        Icmp { icmp_type: Some(8), code: None },
        Icmp { icmp_type: Some(3), code: Some(4) },
        Icmp { icmp_type: None, code: None },
        Icmpv6 { icmp_type: None, code: None },
        Icmpv6 { icmp_type: Some(128), code: None },
        Number(132),
        Number(50),
        Number(0),
        All,
    ];
    assert_eq!(found, expected, "SG-11..14");
}

#[test]
fn icmp_of_the_other_family_is_a_number_in_an_acl_only() {
    let any = Protocol::Icmpv6 { icmp_type: None, code: None };
    assert_eq!(protocols("\"icmpv6 any from 10.0.0.0/8\""), [any], "SG-15");
    let found = entries(
        r#""1 allow icmpv6 from ::/0 ", "2 allow 58 1/2 from 10.0.0.0/8", "3 allow icmp any from ::/0",
           "4 allow icmp 8/0 from ::/0""#
            .replace("icmpv6 from", "icmpv6 any from")
            .as_str(),
    );
    let echo = Protocol::Icmp { icmp_type: Some(8), code: Some(0) };
    assert_eq!(found, [any, Protocol::Number(58), Protocol::Number(1), echo], "NACL-12, NACL-13");
    assert_eq!(entries("\"1 allow 58 from 10.0.0.0/8\""), [Protocol::Number(58)], "NACL-12: no type needed");
}

#[test]
fn peers_by_name_and_by_id() {
    let text = format!(
        "{V4}[prefix_list.offices]\nentries = [\"203.0.113.0/24\"]\n\
         [security_group.a]\nid = \"sg-0123456789abcdef0\"\n\
         [security_group.\"my group\"]\ningress = [\"tcp 1 from sg:a\", \"tcp 2 from sg:sg-0123456789abcdef0\", \
         \"tcp 3 from sg-0123456789abcdef0\", \"tcp 4 from sg:My Group\", \"tcp 5 from pl:offices\", \
         \"tcp 6 from sg:default\"]"
    );
    let vpc = load(&text);
    let peers: Vec<_> =
        rules(&vpc, "my group", Direction::Ingress).into_iter().map(|(_, peer)| peer).collect();
    assert_eq!(peers, ["a", "a", "a", "my group", "offices", "default"]);
    let derived = vpc.prefix_lists[0].id.clone();
    let vpc = load(&text.replace("pl:offices", &derived));
    assert_eq!(peer(&vpc, &vpc.security_groups[1].ingress[4]), "offices", "derived ids are usable too");
}

#[test]
fn sg_41_a_list_counts_what_it_may_hold_or_what_aws_says() {
    let vpc = load(&format!(
        "{V4}[prefix_list.own]\nmax_entries = 10\nentries = [\"10.0.0.0/8\"]\n\
         [prefix_list.s3]\nweight = 1\nentries = [\"192.0.2.0/24\", \"198.51.100.0/24\"]\n\
         [prefix_list.short]\nentries = [\"::/0\"]\n\
         [prefix_list.empty]\naddress_family = \"IPv6\"\nentries = []\n\
         [security_group.a]\ningress = [\"all from pl:empty\"]"
    ));
    let lists: Vec<_> = vpc.prefix_lists.iter().map(|list| (list.weight(), list.ipv6)).collect();
    assert_eq!(lists, [(10, false), (1, false), (1, true), (1, true)]);
}

#[test]
fn rules_keep_ids_and_descriptions() {
    let rule = "{ rule = \"tcp 1 from ::/0\", id = \"sgr-0123456789abcdef0\", description = \"Why\" }";
    let vpc = load(&format!("{V4}[security_group.a]\ningress = [{rule}]"));
    let rule = &vpc.security_groups[0].ingress[0];
    assert_eq!((rule.id.as_str(), rule.description.as_deref()), ("sgr-0123456789abcdef0", Some("Why")));
}

#[test]
fn an_eni_has_aws_s_defaults() {
    let text = "[subnet.s]\ncidr = \"10.0.1.0/24\"\n[eni.a]\nsubnet = \"s\"\naddress = \"10.0.1.10\"\n";
    let vpc = load(&format!("{V4}{text}attach = {{ packet = \"veth-a\" }}"));
    let eni = &vpc.enis[0];
    assert_eq!((eni.mtu, eni.source_dest_check), (9001, true));
    assert_eq!(eni.connection_tracking, ConnectionTracking::defaults(Profile::Nitro));
    assert_eq!(
        eni.groups.iter().map(|group| vpc[*group].name.as_str()).collect::<Vec<_>>(),
        ["default"],
        "SG-7"
    );
    assert_eq!(eni.mac, ids::eni_mac(&eni.id));
    assert_eq!(eni.attachment, Attachment::Packet { device: "veth-a".to_owned(), offload: true });
    let instance = &vpc[eni.instance];
    assert_eq!((instance.name.as_str(), instance.max_tracked), ("a", 65_536));
}

#[test]
fn an_eni_has_what_is_written() {
    let text = format!(
        "{V6}[subnet.s]\ncidr = \"10.0.1.0/24\"\nipv6_cidr = \"2001:db8:1:1::/64\"\n\
         [instance.i]\nenis = [\"a\"]\nmax_tracked = 250_000\nprofile = \"nitro-v6\"\n\
         [eni.b]\nsubnet = \"s\"\naddress = \"10.0.1.20\"\nattach = {{ packet = \"b\" }}\n\
         [eni.a]\nid = \"eni-0123abcd\"\nsubnet = \"s\"\naddress = \"10.0.1.10\"\n\
         secondary_addresses = [\"10.0.1.11\"]\nipv6_address = \"2001:db8:1:1::10\"\n\
         ipv6_addresses = [\"2001:db8:1:1::11\"]\nmac = \"06:00:00:00:00:01\"\nmtu = 0x5dc\n\
         source_dest_check = false\nconnection_tracking = {{ udp_stream = \"1m 30s\" }}\n\
         attach = {{ tap = \"eth0\", netns = \"a\", configure = true, offload = false }}\n"
    );
    let vpc = load(&text);
    let eni = &vpc.enis[1];
    assert_eq!((eni.id.as_str(), eni.mtu, eni.source_dest_check), ("eni-0123abcd", 1500, false));
    assert_eq!(eni.addresses().count(), 4);
    assert_eq!(eni.mac.to_string(), "06:00:00:00:00:01");
    assert_eq!(
        eni.connection_tracking.tcp_established,
        Duration::from_secs(350),
        "CT-30, by its instance's profile"
    );
    assert_eq!(eni.connection_tracking.udp_stream, Duration::from_secs(90));
    let tap = Attachment::Tap {
        device: "eth0".to_owned(),
        netns: Some("a".to_owned()),
        configure: true,
        offload: false,
    };
    assert_eq!(eni.attachment, tap);
    assert_eq!(vpc[eni.instance].max_tracked, 250_000);
    assert_ne!(vpc.enis[0].instance, eni.instance);
}

#[test]
fn tracked_connections_outlive_their_rule_unless_the_vpc_says_otherwise() {
    assert_eq!(load(V4).revocation, Revocation::Aws, "CT-20");
    for policy in Revocation::ALL {
        let vpc = load(&format!("{V4}revocation = \"{}\"", policy.as_str()));
        assert_eq!(vpc.revocation, policy);
    }
}

#[test]
fn quotas_can_be_raised_and_reached() {
    let entries: Vec<_> = (1..=19).map(|number| format!("\"{number} deny all from 10.0.0.0/8\"")).collect();
    let acl = format!("[network_acl.a]\ningress = [{}]\n", entries.join(","));
    assert_eq!(load(&format!("{V4}{acl}")).network_acls[0].ingress.len(), 19, "NACL-17: 19 and `*`");
    let entries: Vec<_> =
        (1..=32_766).map(|number| format!("\"{number} deny all from 10.0.0.0/8\"")).collect();
    let acl = format!("[network_acl.a]\ningress = [{}]\n", entries.join(","));
    let quota = "[quotas]\nnetwork_acl_entries = 32767\nsecurity_group_rules = 500\nrules_per_eni = 2500\n";
    let vpc = load(&format!("{V4}{quota}{acl}"));
    assert_eq!(vpc.network_acls[0].ingress.len(), 32_766);
    assert_eq!((vpc.quotas.rules_per_eni, vpc.quotas.groups_per_eni), (2500, 5));
}

#[test]
fn the_daemon_has_its_settings() {
    let text = "[daemon]\nworkers = 2\ncontrol_socket = \"/run/p.sock\"\nmax_connections = 1_000\nflow_cache = 0\ngro = false";
    let daemon = load(&format!("{V4}{text}")).daemon;
    assert_eq!((daemon.workers, daemon.max_connections), (Some(2), 1000));
    assert_eq!((daemon.flow_cache, daemon.gro), (0, false));
    assert_eq!(daemon.latency, Latency::Balanced);
    assert_eq!(daemon.control_socket.as_deref(), Some(std::path::Path::new("/run/p.sock")));
}

#[test]
fn workers_have_cpus_and_devices() {
    let devices = "[subnet.s]\ncidr = \"10.0.1.0/24\"\n[eni.a]\nsubnet = \"s\"\naddress = \"10.0.1.10\"\n\
                   attach = { tap = \"a\", worker = 1 }\n[service.d]\naddresses = [\"10.0.0.2\"]\n\
                   attach = { packet = \"d\" }\n";
    let vpc = load(&format!("{V4}{devices}[daemon]\nworker_cpus = [3, 2]\nlatency = \"low\""));
    assert_eq!((vpc.daemon.workers, vpc.daemon.worker_cpus), (Some(2), vec![3, 2]));
    assert_eq!(vpc.daemon.latency, Latency::Low);
    assert_eq!((vpc.enis[0].worker, vpc.services[0].worker), (Some(1), None));
    assert_eq!(load(V4).daemon.workers, None);
}

#[test]
fn services_own_every_kind_of_reserved_address() {
    let text = format!(
        "{V6}[subnet.s]\ncidr = \"10.0.1.0/24\"\nipv6_cidr = \"2001:db8:1:1::/64\"\n[service.all]\n\
         addresses = [\"10.0.0.2\", \"10.0.1.0\", \"10.0.1.3\", \"169.254.169.254\", \"fd00:ec2::254\", \
         \"2001:db8:1:1::2\"]\nattach = {{ tap = \"svc\" }}"
    );
    let vpc = load(&text);
    assert_eq!(vpc.services[0].addresses.len(), 6);
    assert_eq!(vpc.services[0].mac, ids::service_mac(&vpc.id, "all"));
}
