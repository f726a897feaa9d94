//! A packet attachment takes its interface over: the kernel's own stack neither receives nor answers there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use palisade_tests::sockets::{self, Attempt, Echo};
use palisade_tests::{Bed, Netns, Policy, PortKind, Setup, tool};

const DEVICE: &str = "veth-a";
const HOST: [&str; 3] = ["10.0.1.99", "fe80::99", "2001:db8:1:1::99"];

fn setup() -> Setup {
    Setup::new(PortKind::Packet, PortKind::Packet)
}

/// Gives the daemon's end of the veth addresses, as if somebody configured it behind the daemon's back, and tells the
/// guest its MAC address, so that no answer to ARP is needed to reach it.
fn make_reachable(bed: &Bed) {
    let mac = bed.fabric.ip(&format!("-o link show {DEVICE}"));
    let mac = mac.split_whitespace().skip_while(|&word| word != "link/ether").nth(1).unwrap().to_owned();
    for address in HOST {
        let (length, flags) = if address.contains(':') { (64, "nodad") } else { (24, "") };
        bed.fabric.ip(&format!("address add {address}/{length} dev {DEVICE} {flags}"));
        bed.guest("a").netns.ip(&format!("neigh replace {address} lladdr {mac} dev eth0 nud permanent"));
    }
}

fn answers(bed: &Bed) -> Vec<String> {
    let a = &bed.guest("a").netns;
    let mut found = Vec::new();
    for address in HOST {
        let target = if address.starts_with("fe80") { format!("{address}%eth0") } else { address.to_owned() };
        if tool::ping(a, &target, "") > 0.0 {
            found.push(format!("echo from {address}"));
        }
        let ip: IpAddr = address.parse().unwrap();
        let to = match ip {
            IpAddr::V6(v6) => SocketAddr::V6(std::net::SocketAddrV6::new(v6, 8000, 0, index_of_eth0(a))),
            IpAddr::V4(_) => SocketAddr::new(ip, 8000),
        };
        if sockets::attempt(a, to, Duration::from_millis(400)) != Attempt::Filtered {
            found.push(format!("TCP from {address}"));
        }
    }
    found
}

fn index_of_eth0(netns: &Netns) -> u32 {
    let line = netns.ip("-o link show eth0");
    line.split(':').next().unwrap().trim().parse().unwrap()
}

fn packets_received_by_stack(netns: &Netns) -> u64 {
    let v6 = tool::run(netns, Duration::from_secs(5), "cat /proc/net/snmp6").expect("counters");
    let v6 = v6.lines().find(|line| line.starts_with("Ip6InReceives")).unwrap();
    let v6: u64 = v6.split_whitespace().nth(1).unwrap().parse().unwrap();
    v6 + tool::kernel_counter(netns, "snmp", "Ip", "InReceives")
}

#[test]
fn a_guest_cannot_reach_the_host_by_the_interface() {
    unreachable_host(&[]);
}

#[test]
fn a_guest_cannot_reach_the_host_past_the_nftables_takeover() {
    unreachable_host(&["--takeover", "nftables"]);
}

fn unreachable_host(options: &[&str]) {
    let mut bed = Bed::start(setup().with_options(options), &Policy::open());
    make_reachable(&bed);
    let echo = Echo::tcp(&bed.fabric, &[8000]);
    let before = packets_received_by_stack(&bed.fabric);
    assert_eq!(answers(&bed), Vec::<String>::new());
    assert_eq!(packets_received_by_stack(&bed.fabric), before, "the host's stack received something");
    assert_eq!(echo.accepted(), 0);
    assert!(tool::ping(&bed.guest("a").netns, "10.0.2.10", "") > 0.99, "the daemon still forwards");
    bed.daemon.take().unwrap().stop();
    assert_eq!(answers(&bed).len(), 6, "the same questions are answered once the daemon has let go");
}

#[test]
fn nothing_of_the_takeover_is_left_behind() {
    for method in ["auto", "nftables"] {
        leaves_nothing(Bed::start(setup().with_options(&["--takeover", method]), &Policy::open()));
    }
}

fn leaves_nothing(mut bed: Bed) {
    bed.daemon.take().unwrap().stop();
    let rules = tool::run(&bed.fabric, Duration::from_secs(5), "nft list ruleset").expect("nft");
    assert_eq!(rules.trim(), "");
    let filters = tool::run(&bed.fabric, Duration::from_secs(5), &format!("tc qdisc show dev {DEVICE}"));
    assert!(!filters.expect("tc").contains("clsact"));
    bed.start_daemon(&Policy::open()).unwrap();
    assert!(tool::ping(&bed.guest("a").netns, "10.0.2.10", "") > 0.99);
}

#[test]
fn an_interface_in_use_is_refused() {
    let mut bed = Bed::prepare(setup());
    bed.fabric.ip(&format!("address add 192.0.2.1/24 dev {DEVICE}"));
    let why = bed.start_daemon(&Policy::open()).unwrap_err();
    assert!(why.contains(DEVICE) && why.contains("address"), "{why}");
    bed.fabric.ip(&format!("address flush dev {DEVICE}"));
    bed.fabric.ip("link add br0 type bridge");
    bed.fabric.ip(&format!("link set {DEVICE} master br0"));
    let why = bed.start_daemon(&Policy::open()).unwrap_err();
    assert!(why.contains(DEVICE) && (why.contains("master") || why.contains("br0")), "{why}");
    bed.fabric.ip(&format!("link set {DEVICE} nomaster"));
    bed.start_daemon(&Policy::open()).unwrap();
    assert!(tool::ping(&bed.guest("a").netns, "10.0.2.10", "") > 0.99);
}

#[test]
fn a_missing_interface_is_named() {
    let mut bed = Bed::prepare(setup());
    bed.fabric.ip(&format!("link del {DEVICE}"));
    let why = bed.start_daemon(&Policy::open()).unwrap_err();
    assert!(why.contains(DEVICE), "{why}");
}
