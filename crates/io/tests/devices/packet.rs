//! Packet ports on the kernel.

use crate::support::{
    Netns, arp_request, is_arp_reply, open_again, packet_spec, receive_until, receive_until_error, send,
    veth, within,
};
use std::io::ErrorKind;

use palisade_io::{Capabilities, Outgoing, PacketSpec, PortError, TransmitError, interfaces, open_packet};
use palisade_packet::{MacAddr, VnetHeader};

const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn pair() -> (Netns, Netns) {
    let (host, guest) = (Netns::new(), Netns::new());
    veth(&host, "h0", &guest);
    (host, guest)
}

/// Why an interface is refused that no port holds; one that was refused before may still be locked for a moment.
fn refusal(spec: &PacketSpec) -> PortError {
    within("reason but a lock", || {
        let error = open_packet(spec).expect_err("this interface must be refused");
        (!matches!(error, PortError::PacketBusy { .. })).then_some(error)
    })
}

#[test]
fn frames_go_both_ways() {
    let (host, guest) = pair();
    guest.ip("addr add 10.0.1.10/24 dev eth0");
    let mut port = open_packet(&packet_spec(&host, "h0")).unwrap();
    assert_eq!(port.transmit.capabilities(), Capabilities { checksum: true, tso: true, uso: true });
    send(&port, VnetHeader::default(), &arp_request(ROUTER, [10, 0, 1, 1], [10, 0, 1, 10])).unwrap();
    let reply = receive_until(&mut port, "ARP reply", |frame, _| is_arp_reply(frame).then(|| frame.to_vec()));
    assert_eq!(reply[..6], ROUTER.0);
    assert_eq!(port.receive.lost(), 0);
}

#[test]
fn own_transmissions_are_not_heard() {
    let (host, _guest) = pair();
    let mut port = open_packet(&packet_spec(&host, "h0")).unwrap();
    let frame = arp_request(ROUTER, [10, 0, 1, 1], [10, 0, 1, 99]);
    for _ in 0..10 {
        send(&port, VnetHeader::default(), &frame).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut burst = palisade_io::Burst::new();
    port.receive.receive(&mut burst).unwrap();
    assert!(burst.iter().all(|(heard, _)| heard != frame));
}

#[test]
fn a_vlan_tag_shows() {
    let (host, guest) = pair();
    let mut port = open_packet(&packet_spec(&host, "h0")).unwrap();
    let mut tagged = arp_request(ROUTER, [10, 0, 5, 1], [10, 0, 5, 10]);
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    guest.inject("eth0", vec![tagged]);
    let mut vlan_of = |target: [u8; 4]| {
        receive_until(&mut port, "injected frame", |frame, info| {
            (frame.len() == 42 && frame[38..42] == target).then(|| (info.vlan, [frame[12], frame[13]]))
        })
    };
    let arp = [0x08, 0x06];
    assert_eq!(vlan_of([10, 0, 5, 10]), (true, arp), "the tag is gone from the frame and told beside it");
    guest.inject("eth0", vec![arp_request(ROUTER, [10, 0, 1, 1], [10, 0, 1, 11])]);
    assert_eq!(vlan_of([10, 0, 1, 11]), (false, arp));
}

#[test]
fn an_interface_that_was_down_is_set_up_and_down_again() {
    let (host, _guest) = pair();
    host.ip("link set h0 down");
    let is_up = || interfaces(Some(&host.name)).unwrap().iter().any(|link| link.name == "h0" && link.up);
    let port = open_packet(&packet_spec(&host, "h0")).unwrap();
    assert!(is_up());
    let transmit = std::sync::Arc::clone(&port.transmit);
    drop(port);
    assert!(is_up(), "the port lives as long as one of its ends");
    drop(transmit);
    within("link that is down again", || (!is_up()).then_some(()));
}

#[test]
fn down_and_gone_are_told_apart() {
    let (host, _guest) = pair();
    let mut port = open_packet(&packet_spec(&host, "h0")).unwrap();
    let frame = arp_request(ROUTER, [10, 0, 1, 1], [10, 0, 1, 10]);
    host.ip("link set h0 down");
    assert_eq!(receive_until_error(&mut port).kind(), ErrorKind::NetworkDown);
    assert_eq!(send(&port, VnetHeader::default(), &frame), Err(TransmitError::Down));
    host.ip("link set h0 up");
    within("transmission", || send(&port, VnetHeader::default(), &frame).ok());
    host.ip("link del h0");
    assert_ne!(receive_until_error(&mut port).kind(), ErrorKind::NetworkDown);
    assert_eq!(send(&port, VnetHeader::default(), &frame), Err(TransmitError::Down));
}

#[test]
fn frames_that_the_interface_cannot_carry_are_refused() {
    let (host, _guest) = pair();
    let port = open_packet(&packet_spec(&host, "h0")).unwrap();
    let frame = arp_request(ROUTER, [10, 0, 1, 1], [10, 0, 1, 10]);
    let mut long = frame.clone();
    long.resize(3000, 0);
    let outgoing = [&frame, &long, &frame].map(|frame| Outgoing::new(VnetHeader::default(), frame));
    let mut failures = Vec::new();
    port.transmit.transmit(&outgoing, &mut |index, error| failures.push((index, error)));
    assert_eq!(failures, [(1, TransmitError::Refused)], "and the frame behind it goes out");
}

#[test]
fn capabilities_are_those_of_the_interface() {
    let (host, _guest) = pair();
    let capabilities = |spec| open_again(&spec).transmit.capabilities();
    let without = PacketSpec { offload: false, ..packet_spec(&host, "h0") };
    assert_eq!(capabilities(without), Capabilities::NONE);
    assert!(host.succeeds("ethtool -K h0 tso off"));
    let capable = capabilities(packet_spec(&host, "h0"));
    assert_eq!(capable, Capabilities { checksum: true, tso: false, uso: true });
    assert!(host.succeeds("ethtool -K h0 tx off"));
    assert_eq!(capabilities(packet_spec(&host, "h0")), Capabilities::NONE);
}

#[test]
fn a_second_opening_is_refused() {
    let (host, guest) = pair();
    let port = open_packet(&packet_spec(&host, "h0")).unwrap();
    let error = open_packet(&packet_spec(&host, "h0")).expect_err("a port holds it");
    assert!(matches!(error, PortError::PacketBusy { .. }), "{error}");
    assert!(error.to_string().contains(&format!("h0 in netns {}", host.name)), "{error}");
    // The same index in another namespace is another interface.
    let index = host.ip_json("link show h0")[0]["ifindex"].clone();
    let elsewhere = Netns::new();
    elsewhere.ip(&format!("link add h0 index {index} type veth peer name p0 index 4711"));
    open_packet(&packet_spec(&elsewhere, "h0")).unwrap();
    drop(port);
    open_again(&packet_spec(&host, "h0"));
    drop(guest);
}

#[test]
fn interfaces_that_somebody_uses_are_refused() {
    let (host, _guest) = pair();
    host.ip("addr add 192.0.2.1/32 dev h0");
    let error = refusal(&packet_spec(&host, "h0"));
    assert!(
        matches!(&error, PortError::HasAddress { address, .. } if address.to_string() == "192.0.2.1"),
        "{error}"
    );
    host.ip("addr flush dev h0 scope global");
    host.ip("addr add 2001:db8::1/128 dev h0 nodad");
    let error = refusal(&packet_spec(&host, "h0"));
    assert!(matches!(&error, PortError::HasAddress { address, .. } if address.is_ipv6()), "{error}");
    host.ip("addr flush dev h0 scope global");
    host.ip("addr add 169.254.0.1/16 dev h0 scope link");
    assert!(matches!(refusal(&packet_spec(&host, "h0")), PortError::HasAddress { .. }));
    host.ip("addr del 169.254.0.1/16 dev h0");

    host.ip("link add br0 type bridge");
    host.ip("link set h0 master br0");
    let error = refusal(&packet_spec(&host, "h0"));
    assert!(matches!(&error, PortError::Enslaved { master, .. } if master == "br0"), "{error}");
    host.ip("link set h0 nomaster");
    open_again(&packet_spec(&host, "h0"));
}

#[test]
fn interfaces_that_do_not_fit_are_refused() {
    let (host, _guest) = pair();
    let error = refusal(&PacketSpec { mtu: 9001, ..packet_spec(&host, "h0") });
    assert!(matches!(error, PortError::MtuTooSmall { mtu: 1500, wanted: 9001, .. }), "{error}");
    assert!(error.to_string().contains(&format!("ip -n {} link set h0 mtu 9001", host.name)), "{error}");
    assert!(matches!(refusal(&packet_spec(&host, "absent")), PortError::Missing { .. }));
    assert!(matches!(refusal(&packet_spec(&host, "lo")), PortError::NotEthernet { .. }));
    assert!(matches!(refusal(&packet_spec(&host, "a name")), PortError::InvalidName { .. }));
}

#[test]
fn interfaces_are_described() {
    let (host, _guest) = pair();
    host.ip("link add br0 type bridge");
    host.ip("link set h0 master br0 mtu 1400");
    host.ip("addr add 192.0.2.1/24 dev br0");
    let all = interfaces(Some(&host.name)).unwrap();
    let named = |name: &str| all.iter().find(|interface| interface.name == name).unwrap();
    let h0 = named("h0");
    assert_eq!((h0.mtu, h0.up, h0.ethernet, h0.kind.as_deref()), (1400, true, true, Some("veth")));
    assert_eq!(h0.master.as_deref(), Some("br0"));
    assert_eq!(named("br0").addresses, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
}
