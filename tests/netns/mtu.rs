//! Packets larger than the receiver takes (RT-4, RT-60..64).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use palisade_tests::wire::{Injector, SILENCE, SOON, Sniffer};
use palisade_tests::{Bed, Mode, Policy, Setup, tool};

use crate::probe::router_mac;

/// `a` sends up to 9,001 bytes, `b` and `c` take 1,500.
fn beds(policy: &Policy) -> impl Iterator<Item = Bed> {
    Mode::with_kinds().map(move |(kind, mode)| {
        let setup =
            Setup::new(kind, kind).with("b", |plan| plan.mtu = 1500).with("c", |plan| plan.mtu = 1500);
        Bed::start(setup.in_mode(mode), policy)
    })
}

fn ping_once(bed: &Bed, line: &str) -> String {
    tool::run(&bed.guest("a").netns, Duration::from_secs(5), &format!("ping -n -c 1 -W 1 {line}")).out
}

/// RT-61, RT-62, RES-44: the error comes from the subnet's router.
#[test]
fn the_router_says_what_the_path_carries() {
    for bed in beds(&Policy::open()) {
        let said = ping_once(&bed, "-M do -s 3000 10.0.2.10");
        assert!(said.contains("10.0.1.1") && said.contains("mtu = 1500"), "{said}");
        let said = ping_once(&bed, "-M do -s 3000 2001:db8:1:2::10");
        assert!(said.contains("too big: mtu=1500"), "{said}");
        assert_eq!(bed.daemon().drops("mtu"), 2);
    }
}

/// RT-61: without DF the router fragments; IPv6 hosts do it themselves once they were told.
#[test]
fn larger_packets_arrive_in_fragments() {
    for bed in beds(&Policy::open()) {
        let a = &bed.guest("a").netns;
        assert!(tool::ping(a, "10.0.2.10", "-M dont -s 4000") > 0.99);
        assert_eq!(bed.daemon().drops("mtu"), 0);
        assert!(tool::ping(a, "2001:db8:1:2::10", "-s 4000") > 0.6, "all but the first");
        for name in ["a", "b"] {
            let failed = tool::kernel_counter(&bed.guest(name).netns, "snmp", "Ip", "ReasmFails");
            assert_eq!(failed, 0, "{name} could not put fragments together");
        }
    }
}

/// RT-4: inside a subnet there is no router that could tell.
#[test]
fn inside_a_subnet_the_drop_is_silent() {
    for bed in beds(&Policy::open()) {
        for target in ["10.0.1.11", "2001:db8:1:1::11"] {
            let said = ping_once(&bed, &format!("-M do -s 3000 {target}"));
            assert!(said.contains(" 0 received") && !said.contains("mtu"), "{said}");
        }
        assert_eq!(bed.daemon().drops("receiver-mtu"), 2);
        assert!(tool::ping(&bed.guest("a").netns, "10.0.1.11", "-M do -s 1472") > 0.99);
    }
}

/// RT-63: what the group or an ACL denies gets no error.
#[test]
fn a_denied_packet_gets_no_error() {
    for bed in beds(&Policy::open().acl("web", &[], &[])) {
        let said = ping_once(&bed, "-M do -s 3000 10.0.2.10");
        assert!(said.contains(" 0 received") && !said.contains("mtu"), "{said}");
        assert_eq!(bed.daemon().drops("mtu"), 0);
    }
}

/// TCP finds the path's MTU by these errors, though segments leave the guest in frames of 64 KB.
#[test]
fn tcp_adapts_to_the_path() {
    for bed in beds(&Policy::open()) {
        let b = bed.guest("b");
        for ipv6 in [false, true] {
            let report = tool::iperf(&bed.guest("a").netns, &b.netns, b.address(ipv6), "-n 40M");
            // The receiver reports what it had when the sender said that it had sent everything.
            assert!(report["end"]["sum_received"]["bytes"].as_u64().unwrap() >= 20_000_000, "{report}");
        }
    }
}

/// RT-64: an error is at most 576 bytes long and quotes what was too large; nobody is told of an oversized error.
#[test]
fn errors_are_short_and_never_about_errors() {
    for bed in beds(&Policy::open()) {
        let (a, b) = (bed.guest("a"), bed.guest("b"));
        let (sniffer, mut injector) = (Sniffer::on(&a.netns), Injector::on(&a.netns));
        let router = router_mac(a);
        let error = |frame: &[u8]| {
            let is_error = frame.get(23) == Some(&1) && frame[6..12] == router && frame[34..36] == [3, 4];
            is_error.then(|| frame.to_vec())
        };
        let large = |icmp_type: u8, code: u8| {
            let mut frame = Vec::new();
            let mut ip = etherparse::Ipv4Header::new(
                3000,
                64,
                etherparse::IpNumber::ICMP,
                a.plan.ipv4().octets(),
                b.plan.ipv4().octets(),
            )
            .unwrap();
            ip.dont_fragment = true;
            etherparse::PacketBuilder::ethernet2(a.plan.mac(), router)
                .ip(etherparse::IpHeaders::Ipv4(ip, etherparse::Ipv4Extensions::default()))
                .icmpv4_raw(icmp_type, code, [0; 4])
                .write(&mut frame, &[0x45; 2980])
                .unwrap();
            frame
        };
        injector.send(&large(3, 1));
        assert_eq!(sniffer.find(SILENCE, error), None, "an error about an error");
        injector.send(&large(8, 0));
        let told = sniffer.find(SOON, error).expect("an error about an echo request");
        assert!(told.len() <= 14 + 576, "{} bytes", told.len());
        assert_eq!(told[40..42], 1500_u16.to_be_bytes());
        assert_eq!(told[42..58], large(8, 0)[14..30], "the quotation starts with the packet's own header");
        assert_eq!(bed.daemon().drops("mtu"), 2);
    }
}

/// RT-64: at most 1,000 errors a second and ENI.
#[test]
fn errors_are_limited() {
    for bed in beds(&Policy::open()) {
        let (a, b) = (bed.guest("a"), SocketAddr::new(bed.guest("b").address(false), 9));
        let line = format!("python3 {FLOOD} {} 10000", b.ip());
        let start = Instant::now();
        let _ = tool::run(&a.netns, Duration::from_secs(20), &line).expect("flood");
        std::thread::sleep(SILENCE);
        let most = 1000 * (start.elapsed().as_secs() + 2);
        let told = tool::kernel_counter(&a.netns, "snmp", "Icmp", "InDestUnreachs");
        let dropped = bed.daemon().drops("mtu");
        assert!(dropped > most, "the flood was too slow or lost: {dropped} arrived");
        assert!(told > 0 && told <= most, "{told} errors for {dropped} packets");
    }
}

/// Sends datagrams of 3,000 bytes with DF past the kernel's knowledge of the path's MTU.
const FLOOD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/large_datagrams.py");
