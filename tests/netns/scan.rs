//! Port scans: exactly the ports that the rules open, for every combination of network ACL and security group.

use std::net::IpAddr;
use std::time::Duration;

use palisade_tests::sockets::{self, Echo};
use palisade_tests::{Bed, Netns, Policy, Setup, tool};

const TCP: &[u16] = &[22, 80, 443, 1023, 1024, 5432, 8080, 40_000];
const UDP: &[u16] = &[53, 123, 5000, 40_000];

/// Long enough for an answer on an idle machine; ports that must be open get longer.
const QUICK: Duration = Duration::from_millis(250);
const PATIENT: Duration = Duration::from_secs(3);

/// Rules of an ACL or a group, and the ports of `b` through which `a` gets an answer if nothing else forbids it.
#[derive(Debug)]
struct Case {
    name: &'static str,
    /// `None`: AWS's default ACL.
    ingress: Option<&'static [&'static str]>,
    egress: &'static [&'static str],
    tcp: &'static [u16],
    udp: &'static [u16],
}

const ALL_OUT: &[&str] = &["all to 0.0.0.0/0", "all to ::/0"];
const ACL_ALL_OUT: &[&str] = &["100 allow all to 0.0.0.0/0", "101 allow all to ::/0"];
const NONE: &[u16] = &[];

/// ACLs of `b`'s subnet. Ephemeral ports of the guests are Linux's, 32768 to 60999 (NACL-45).
const ACLS: &[Case] = &[
    Case { name: "default", ingress: None, egress: &[], tcp: TCP, udp: UDP },
    Case { name: "empty (NACL-7)", ingress: Some(&[]), egress: &[], tcp: NONE, udp: NONE },
    Case {
        name: "web and the way back",
        ingress: Some(&[
            "100 allow tcp 80 from 0.0.0.0/0",
            "101 allow tcp 80 from ::/0",
            "110 allow tcp 443 from 10.0.1.0/24",
            "111 allow tcp 443 from 2001:db8:1:1::/64",
        ]),
        egress: &["100 allow tcp 32768-60999 to 0.0.0.0/0", "101 allow tcp 32768-60999 to ::/0"],
        tcp: &[80, 443],
        udp: NONE,
    },
    Case {
        name: "deny before allow (NACL-61)",
        ingress: Some(&[
            "90 deny tcp 5432 from 10.0.1.10/32",
            "91 deny tcp 5432 from 2001:db8:1:1::10/128",
            "92 deny udp 5000-40000 from 10.0.0.0/16",
            "93 deny udp 5000-40000 from 2001:db8:1::/56",
            "100 allow all from 0.0.0.0/0",
            "101 allow all from ::/0",
        ]),
        egress: ACL_ALL_OUT,
        tcp: &[22, 80, 443, 1023, 1024, 8080, 40_000],
        udp: &[53, 123],
    },
    Case {
        name: "allow before deny (NACL-60)",
        ingress: Some(&[
            "80 allow tcp 5432 from 0.0.0.0/0",
            "81 allow tcp 5432 from ::/0",
            "90 deny tcp 1024-65535 from 0.0.0.0/0",
            "91 deny tcp 1024-65535 from ::/0",
            "100 allow all from 0.0.0.0/0",
            "101 allow all from ::/0",
        ]),
        egress: ACL_ALL_OUT,
        tcp: &[22, 80, 443, 1023, 5432],
        udp: UDP,
    },
    Case {
        name: "no way back for TCP (NACL-22)",
        ingress: Some(&["100 allow all from 0.0.0.0/0", "101 allow all from ::/0"]),
        egress: &["100 allow udp 1024-65535 to 0.0.0.0/0", "101 allow udp 1024-65535 to ::/0"],
        tcp: NONE,
        udp: UDP,
    },
    Case {
        name: "the way back by source port is none (NACL-65)",
        ingress: Some(&["100 allow all from 0.0.0.0/0", "101 allow all from ::/0"]),
        egress: &["100 allow tcp 443 to 0.0.0.0/0", "101 allow tcp 443 to ::/0"],
        tcp: NONE,
        udp: NONE,
    },
    Case {
        name: "somebody else's address",
        ingress: Some(&["100 allow all from 10.0.1.11/32", "101 allow all from 2001:db8:1:1::11/128"]),
        egress: ACL_ALL_OUT,
        tcp: NONE,
        udp: NONE,
    },
];

/// Groups of `b`.
const GROUPS: &[Case] = &[
    Case {
        name: "open",
        ingress: Some(&["all from 0.0.0.0/0", "all from ::/0"]),
        egress: ALL_OUT,
        tcp: TCP,
        udp: UDP,
    },
    Case { name: "new group (SG-5)", ingress: Some(&[]), egress: ALL_OUT, tcp: NONE, udp: NONE },
    Case {
        name: "one host, no egress (SG-22)",
        ingress: Some(&["tcp 22 from 10.0.1.10/32", "tcp 22 from 2001:db8:1:1::10/128"]),
        egress: &[],
        tcp: &[22],
        udp: NONE,
    },
    Case {
        name: "anywhere, no egress (CT-16)",
        ingress: Some(&[
            "tcp 80 from 0.0.0.0/0",
            "tcp 80 from ::/0",
            "tcp 443 from 0.0.0.0/0",
            "tcp 443 from ::/0",
            "udp 53 from 0.0.0.0/0",
            "udp 53 from ::/0",
        ]),
        egress: &[],
        tcp: &[80, 443],
        udp: &[53],
    },
    Case {
        name: "ranges",
        ingress: Some(&[
            "tcp 1024-8080 from 10.0.1.0/24",
            "tcp 1024-8080 from 2001:db8:1:1::/64",
            "udp 123-5000 from 10.0.1.0/24",
            "udp 123-5000 from 2001:db8:1:1::/64",
        ]),
        egress: ALL_OUT,
        tcp: &[1024, 5432, 8080],
        udp: &[123, 5000],
    },
    Case {
        name: "reference to the sender's group (SG-30)",
        ingress: Some(&["tcp 5432 from sg:a", "udp 123 from sg:a"]),
        egress: &[],
        tcp: &[5432],
        udp: &[123],
    },
    Case {
        name: "reference to another's group",
        ingress: Some(&["all from sg:c"]),
        egress: ALL_OUT,
        tcp: NONE,
        udp: NONE,
    },
    Case {
        name: "the most permissive rule wins (SG-21)",
        ingress: Some(&[
            "tcp 22 from 192.0.2.9/32",
            "tcp 0-65535 from 0.0.0.0/0",
            "tcp 0-65535 from ::/0",
            "udp 53 from 10.0.1.10/32",
            "udp 53 from 2001:db8:1:1::10/128",
        ]),
        egress: ALL_OUT,
        tcp: TCP,
        udp: &[53],
    },
];

/// Groups of the sender `a`: what it may reach.
const SENDERS: &[Case] = &[
    Case { name: "sender without egress (SG-8)", ingress: Some(&[]), egress: &[], tcp: NONE, udp: NONE },
    Case {
        name: "sender to one host",
        ingress: Some(&[]),
        egress: &[
            "tcp 443 to 10.0.2.10/32",
            "tcp 443 to 2001:db8:1:2::10/128",
            "udp 53 to 10.0.2.0/24",
            "udp 53 to 2001:db8:1:2::/64",
        ],
        tcp: &[443],
        udp: &[53],
    },
    Case {
        name: "sender to a group (SG-35)",
        ingress: Some(&[]),
        egress: &["tcp 22-80 to sg:b"],
        tcp: &[22, 80],
        udp: NONE,
    },
];

/// ACLs of the sender's subnet.
const SENDER_ACLS: &[Case] = &[
    Case { name: "default", ingress: None, egress: &[], tcp: TCP, udp: UDP },
    Case {
        name: "out to low ports, in to ephemeral ones",
        ingress: Some(&["100 allow tcp 32768-60999 from 10.0.2.0/24", "101 allow tcp 32768-60999 from ::/0"]),
        egress: &["100 allow tcp 1-1023 to 10.0.2.0/24", "101 allow tcp 1-1023 to 2001:db8:1:2::/64"],
        tcp: &[22, 80, 443, 1023],
        udp: NONE,
    },
    Case {
        name: "answers denied (NACL-24)",
        ingress: Some(&[
            "90 deny tcp 1024-65535 from 0.0.0.0/0",
            "91 deny tcp 1024-65535 from ::/0",
            "100 allow all from 0.0.0.0/0",
            "101 allow all from ::/0",
        ]),
        egress: ACL_ALL_OUT,
        tcp: NONE,
        udp: UDP,
    },
];

#[test]
fn every_acl_with_every_group_of_the_receiver_opens_exactly_its_ports() {
    scan_all("data", "b", ACLS, GROUPS);
}

#[test]
fn every_acl_with_every_group_of_the_sender_opens_exactly_its_ports() {
    scan_all("web", "a", SENDER_ACLS, SENDERS);
}

/// The same by a tool that everybody knows.
#[test]
fn nmap_sees_what_the_rules_open() {
    let policy = Policy::open()
        .group(
            "b",
            &["tcp 22 from 10.0.1.10/32", "tcp 0-1023 from 2001:db8:1:1::/64", "tcp 443 from sg:a"],
            &[],
        )
        .acl(
            "data",
            &["90 deny tcp 443 from ::/0", "100 allow all from 0.0.0.0/0", "101 allow all from ::/0"],
            ACL_ALL_OUT,
        );
    let bed = Bed::start(Setup::taps(), &policy);
    let _servers = Echo::tcp(&bed.guest("b").netns, TCP);
    assert_eq!(nmap(&bed, false), [22, 443]);
    assert_eq!(nmap(&bed, true), [22, 80, 1023]);
}

fn nmap(bed: &Bed, ipv6: bool) -> Vec<u16> {
    let ports: Vec<String> = TCP.iter().map(u16::to_string).collect();
    let family = if ipv6 { "-6" } else { "" };
    let to = bed.guest("b").address(ipv6);
    let line = format!("nmap {family} -n -Pn -sS --max-retries 2 -T4 -oG - -p {} {to}", ports.join(","));
    let out = tool::run(&bed.guest("a").netns, Duration::from_secs(40), &line).expect("nmap");
    let found = out.lines().find_map(|line| line.split("Ports: ").nth(1)).unwrap_or_default();
    let open = found.split(", ").filter(|port| port.contains("/open/"));
    open.map(|port| port.split('/').next().unwrap().parse().unwrap()).collect()
}

fn scan_all(subnet: &str, guest: &str, acls: &[Case], groups: &[Case]) {
    let bed = Bed::start(Setup::taps(), &Policy::open());
    let b = bed.guest("b");
    let _servers = [
        Echo::tcp(&b.netns, TCP),
        Echo::udp(&b.netns, b.address(false), UDP),
        Echo::udp(&b.netns, b.address(true), UDP),
    ];
    for (acl, group) in acls.iter().flat_map(|acl| groups.iter().map(move |group| (acl, group))) {
        let policy = Policy::open().group(guest, group.ingress.unwrap_or_default(), group.egress);
        let policy = match acl.ingress {
            Some(ingress) => policy.acl(subnet, ingress, acl.egress),
            None => policy,
        };
        bed.reload(&policy).unwrap();
        let scan = |ipv6| scan(&bed.guest("a").netns, b.address(ipv6), acl, group);
        std::thread::scope(|scope| {
            let families = [false, true].map(|ipv6| scope.spawn(move || scan(ipv6)));
            for family in families {
                family.join().unwrap();
            }
        });
    }
}

/// A port answers if the ACL and the group both let it.
fn scan(from: &Netns, to: IpAddr, acl: &Case, group: &Case) {
    let tcp = expect(TCP, acl.tcp, group.tcp);
    let udp = expect(UDP, acl.udp, group.udp);
    let (found_tcp, found_udp) = std::thread::scope(|scope| {
        let open = [(&tcp, PATIENT), (&rest(TCP, &tcp), QUICK)].map(|(ports, within)| {
            let ports = ports.clone();
            scope.spawn(move || sockets::open_tcp(from, to, &ports, within))
        });
        let answering = [(&udp, PATIENT), (&rest(UDP, &udp), QUICK)].map(|(ports, within)| {
            let ports = ports.clone();
            scope.spawn(move || sockets::open_udp(from, to, &ports, within))
        });
        (open.map(|scan| scan.join().unwrap()).concat(), answering.map(|scan| scan.join().unwrap()).concat())
    });
    let what = format!("ACL {:?}, group {:?}, {to}", acl.name, group.name);
    assert_eq!(found_tcp, tcp, "TCP: {what}");
    assert_eq!(found_udp, udp, "UDP: {what}");
}

fn expect(all: &[u16], one: &[u16], other: &[u16]) -> Vec<u16> {
    all.iter().copied().filter(|port| one.contains(port) && other.contains(port)).collect()
}

fn rest(all: &[u16], without: &[u16]) -> Vec<u16> {
    all.iter().copied().filter(|port| !without.contains(port)).collect()
}
