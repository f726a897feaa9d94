//! The exempt path: DNS answers whatever is denied, and nothing else gets through by it (RES-1..8, NACL-30, SG-70).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use palisade_tests::bed::SERVICE_ADDRESSES;
use palisade_tests::frame::{self, BROADCAST, Ends};
use palisade_tests::{Bed, Netns, Policy, PortKind, Setup, sockets, tool};

use crate::probe::{Control, Probe};

const KINDS: [PortKind; 2] = [PortKind::Tap, PortKind::Packet];

fn dns_server(netns: &Netns) -> tool::Background {
    let listen = SERVICE_ADDRESSES.map(|address| format!("--listen-address={address}")).join(" ");
    let server = tool::Background::start(
        netns,
        &format!(
            "dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file= \
             --log-facility=- --bind-interfaces {listen} --address=/example.test/192.0.2.53"
        ),
    );
    tool::await_listener(netns, 53);
    server
}

#[test]
fn dns_answers_though_every_acl_and_group_denies() {
    for kind in KINDS {
        let bed = Bed::start(Setup::new(kind, kind).with_service(), &Policy::closed());
        let _server = dns_server(bed.service.as_ref().unwrap());
        for guest in bed.guests() {
            for (server, transport) in SERVICE_ADDRESSES.iter().flat_map(|at| [(at, "+notcp"), (at, "+tcp")])
            {
                let line = format!("dig @{server} example.test {transport} +short +time=2 +tries=2");
                let ran = tool::run(&guest.netns, Duration::from_secs(10), &line);
                assert_eq!(ran.out.trim(), "192.0.2.53", "{kind:?} {}: {line}", guest.plan.name);
            }
        }
        let a = &bed.guest("a").netns;
        for target in ["10.0.1.11", "10.0.2.10", "2001:db8:1:1::11", "2001:db8:1:2::10"] {
            assert!(tool::ping(a, target, "") < 0.01, "{kind:?}: {target} was to be denied");
        }
    }
}

/// RES-44: the router answers ARP, not echo requests.
#[test]
fn the_router_answers_no_echo_request() {
    let bed = Bed::start(Setup::taps(), &Policy::open());
    for router in ["10.0.1.1", "10.0.1.2", "10.0.1.3", "2001:db8:1:1::1"] {
        assert!(tool::ping(&bed.guest("a").netns, router, "") < 0.01, "{router}");
    }
}

/// RES-3, RES-5: with everything allowed, and whatever MAC address the frame is sent to, no packet with a link-local or
/// reserved source or destination gets from guest to guest; to the service only those that are addressed to it and
/// come from the guest's own address.
#[test]
fn reserved_addresses_are_no_way_to_another_guest() {
    for (kind, policy) in
        KINDS.into_iter().flat_map(|kind| [(kind, Policy::open()), (kind, Policy::closed())])
    {
        let bed = Bed::start(Setup::new(kind, kind).with_service(), &policy);
        let mut probe = Probe::new(&bed, "a", Control::Service);
        let macs = [probe.router, bed.guest("c").plan.mac(), bed.guest("b").plan.mac(), BROADCAST];
        for (source, destination) in reserved_pairs(&bed) {
            let honest = probe.ends("b", source.is_ipv6());
            for mac in macs {
                let ends = Ends { mac: (honest.mac.0, mac), ip: (source, destination), ..honest };
                let what = format!("{kind:?}: {source} to {destination} by {mac:02x?}");
                probe.reaches_nobody(&what, |mark| frame::udp(&ends, mark));
            }
        }
    }
}

fn reserved_pairs(bed: &Bed) -> Vec<(IpAddr, IpAddr)> {
    let parse = |text: &str| text.parse::<IpAddr>().unwrap();
    let sources =
        ["169.254.1.1", "169.254.169.253", "169.254.169.254", "10.0.0.2", "10.0.1.1", "10.0.1.2", "10.0.2.1"]
            .into_iter()
            .chain(["fd00:ec2::253", "fd00:ec2::254", "2001:db8:1:1::1", "2001:db8:1:2::2"]);
    let destinations =
        ["169.254.1.1", "169.254.169.254", "10.0.1.1", "10.0.1.3", "10.0.1.255", "10.0.2.1", "10.0.2.255"]
            .into_iter()
            .chain(["fd00:ec2::254", "2001:db8:1:1::1", "2001:db8:1:2::3", "fe80::aff:fe00:10b", "ff02::1"]);
    let services = SERVICE_ADDRESSES.map(parse);
    let mut pairs = Vec::new();
    for source in sources.map(parse) {
        let guests = ["b", "c"].map(|name| bed.guest(name).address(source.is_ipv6()));
        let own_family = services.into_iter().filter(|service| service.is_ipv6() == source.is_ipv6());
        pairs.extend(guests.into_iter().chain(own_family).map(|to| (source, to)));
    }
    pairs.extend(destinations.map(parse).map(|to| (bed.guest("a").address(to.is_ipv6()), to)));
    pairs
}

/// RES-3: a service may send only from its own addresses and only to an ENI's address.
#[test]
fn a_service_is_no_relay() {
    let bed = Bed::start(Setup::taps().with_service(), &Policy::open());
    let service = bed.service.as_ref().unwrap();
    service.ip("address add 10.0.1.10/32 dev lo");
    service.ip("address add 192.0.2.1/32 dev lo");
    let b = bed.guest("b");
    let bound = sockets::bind_udp(&b.netns, SocketAddr::new(b.address(false), 7000), Duration::from_secs(3));
    let send = |source: &str, word: &str| {
        let from = SocketAddr::new(source.parse().unwrap(), 53);
        let socket = sockets::bind_udp(service, from, Duration::from_secs(1));
        socket.send_to(word.as_bytes(), SocketAddr::new(b.address(false), 7000)).unwrap();
    };
    let expect = |word: &str| {
        let mut buffer = [0; 64];
        let (length, from) = bound.recv_from(&mut buffer).expect("its own address may send");
        assert_eq!((&buffer[..length], from.ip().to_string().as_str()), (word.as_bytes(), "10.0.0.2"));
    };
    send("10.0.0.2", "before");
    expect("before");
    send("10.0.1.10", "as a guest");
    send("192.0.2.1", "as a stranger");
    send("10.0.0.2", "after");
    expect("after");
    assert!(bed.daemon().drops("service-path") >= 2);
}
