//! TAP ports on the kernel.

use crate::support::{
    Netns, arp_request, is_arp_reply, receive_until, receive_until_error, send, tap_spec, within,
};
use palisade_io::{DefaultRoutes, NetworkSetup, PortError, TapSpec, TransmitError, open_tap};
use palisade_packet::{MacAddr, VnetHeader};

const GUEST: MacAddr = MacAddr([2, 0, 0x0a, 0, 1, 0x0a]);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn whole_spec(netns: &Netns) -> TapSpec {
    TapSpec {
        device: "eth0".to_owned(),
        netns: Some(netns.name.clone()),
        mac: GUEST,
        mtu: 9001,
        offload: true,
        setup: Some(NetworkSetup {
            addresses: ["10.0.1.10/24", "10.0.1.11/24", "2001:db8:1::a/64"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            routes: DefaultRoutes::Via {
                v4: Some("10.0.1.1".parse().unwrap()),
                v6: Some("2001:db8:1::1".parse().unwrap()),
            },
        }),
    }
}

fn gone(netns: &Netns) -> Option<()> {
    (!netns.succeeds("ip link show eth0")).then_some(())
}

#[test]
fn a_tap_is_made_configured_and_vanishes() {
    let netns = Netns::new();
    netns.ip("link set lo down");
    let port = open_tap(&whole_spec(&netns)).unwrap();
    assert_eq!((port.name.as_str(), port.mac, port.mtu, port.takeover), ("eth0", GUEST, 9001, None));

    let link = &netns.ip_json("addr show dev eth0")[0];
    assert_eq!(link["address"], GUEST.to_string());
    assert_eq!(link["mtu"], 9001);
    let shown = link["addr_info"].as_array().unwrap();
    for (address, prefix) in [("10.0.1.10", 24), ("10.0.1.11", 24), ("2001:db8:1::a", 64)] {
        let info = shown.iter().find(|info| info["local"] == address).unwrap();
        assert_eq!(info["prefixlen"], prefix);
        assert_ne!(info["tentative"], true, "{address} is used at once");
    }
    assert_eq!(netns.ip_json("route show default")[0]["gateway"], "10.0.1.1");
    assert_eq!(netns.ip_json("-6 route show default")[0]["gateway"], "2001:db8:1::1");
    let up =
        |device| netns.ip_json(&format!("link show {device}"))[0]["flags"].to_string().contains("\"UP\"");
    assert!(up("eth0") && up("lo"));

    drop(port);
    within("end of the device with its port", || gone(&netns));
}

#[test]
fn a_service_reaches_everybody_on_the_link() {
    let netns = Netns::new();
    let setup = NetworkSetup {
        addresses: ["169.254.169.253/32", "fd00:ec2::253/128"].map(|text| text.parse().unwrap()).to_vec(),
        routes: DefaultRoutes::OnLink,
    };
    let _port = open_tap(&TapSpec { setup: Some(setup), ..whole_spec(&netns) }).unwrap();
    for family in ["-4", "-6"] {
        let route = &netns.ip_json(&format!("{family} route show default"))[0];
        assert_eq!(route["dev"], "eth0");
        assert!(route["gateway"].is_null());
    }
    assert_eq!(netns.ip_json("route show default")[0]["scope"], "link");
}

#[test]
fn without_setup_the_guest_configures_itself() {
    let netns = Netns::new();
    let port = open_tap(&TapSpec { setup: None, ..whole_spec(&netns) }).unwrap();
    let link = &netns.ip_json("addr show dev eth0")[0];
    assert_eq!((&link["mtu"], &link["address"]), (&9001.into(), &GUEST.to_string().into()));
    assert!(link["addr_info"].as_array().unwrap().is_empty());
    let frame = arp_request(ROUTER, [10, 0, 1, 1], [10, 0, 1, 10]);
    assert_eq!(send(&port, VnetHeader::default(), &frame), Err(TransmitError::Down));
}

#[test]
fn frames_go_both_ways_with_their_header() {
    let netns = Netns::new();
    let mut port = open_tap(&whole_spec(&netns)).unwrap();
    send(&port, VnetHeader::default(), &arp_request(ROUTER, [10, 0, 1, 1], [10, 0, 1, 10])).unwrap();
    let reply = receive_until(&mut port, "ARP reply", |frame, _| is_arp_reply(frame).then(|| frame.to_vec()));
    assert_eq!(reply[..6], ROUTER.0);
    assert_eq!(reply[6..12], GUEST.0);

    // Now that the guest knows the router, its UDP leaves with a partial checksum.
    let sender = netns.inside(|| {
        let socket = std::net::UdpSocket::bind("10.0.1.10:4000").unwrap();
        socket.send_to(b"hello", "10.0.2.1:53").unwrap();
    });
    sender.join().unwrap();
    let vnet = receive_until(&mut port, "UDP frame", |frame, info| {
        (frame.len() == 14 + 20 + 8 + 5 && frame[23] == 17).then_some(info.vnet)
    });
    assert_eq!(vnet.flags, VnetHeader::NEEDS_CSUM);
    assert_eq!((vnet.csum_start, vnet.csum_offset, vnet.gso_type), (34, 6, VnetHeader::GSO_NONE));
}

#[test]
fn without_offload_the_guest_finishes_its_frames() {
    let netns = Netns::new();
    let mut port = open_tap(&TapSpec { offload: false, ..tap_spec(&netns, "10.0.1.10/24") }).unwrap();
    assert_eq!(port.transmit.capabilities(), palisade_io::Capabilities::NONE);
    netns.ip("neigh add 10.0.1.1 lladdr 02:00:00:00:00:01 dev eth0");
    let sender = netns.inside(|| {
        let socket = std::net::UdpSocket::bind("10.0.1.10:4000").unwrap();
        socket.send_to(b"hello", "10.0.1.1:53").unwrap();
    });
    sender.join().unwrap();
    let vnet = receive_until(&mut port, "UDP frame", |frame, info| {
        (frame.get(23) == Some(&17)).then_some(info.vnet)
    });
    assert_eq!(vnet.flags & VnetHeader::NEEDS_CSUM, 0);
}

#[test]
fn the_kernel_refuses_a_header_that_does_not_fit() {
    let netns = Netns::new();
    let port = open_tap(&whole_spec(&netns)).unwrap();
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        csum_start: 60_000,
        csum_offset: 6,
        ..VnetHeader::default()
    };
    let frame = arp_request(ROUTER, [10, 0, 1, 1], [10, 0, 1, 10]);
    assert_eq!(send(&port, vnet, &frame), Err(TransmitError::Refused));
}

#[test]
fn a_name_in_use_is_refused() {
    let netns = Netns::new();
    let _port = open_tap(&whole_spec(&netns)).unwrap();
    let again = open_tap(&whole_spec(&netns)).unwrap_err();
    assert!(matches!(again, PortError::TapBusy { .. }));
    let text = again.to_string();
    assert!(
        text.contains(&format!("TAP eth0 in netns {} is in use by another process", netns.name)),
        "{text}"
    );

    netns.ip("link add taken type veth peer name other");
    let error = open_tap(&TapSpec { device: "taken".to_owned(), ..whole_spec(&netns) }).unwrap_err();
    assert!(matches!(&error, PortError::NameTaken { kind, .. } if kind == "veth"), "{error}");
    assert!(netns.succeeds("ip link show taken"), "what was there before is left alone");
}

#[test]
fn a_missing_namespace_is_named() {
    for netns in ["pal-io-nowhere", "", "..", "../netns/x"] {
        let spec = TapSpec {
            device: "eth0".to_owned(),
            netns: Some(netns.to_owned()),
            mac: GUEST,
            mtu: 1500,
            offload: true,
            setup: None,
        };
        let error = open_tap(&spec).unwrap_err();
        assert!(matches!(error, PortError::NetnsMissing { .. }), "{netns}: {error}");
        assert!(error.to_string().contains(&format!("ip netns add {netns}")), "{error}");
    }
}

#[test]
fn disabled_ipv6_matters_only_where_it_is_asked_for() {
    let netns = Netns::new();
    assert!(
        netns.succeeds("sysctl -q net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
    );
    let error = open_tap(&whole_spec(&netns)).unwrap_err();
    assert!(matches!(error, PortError::Ipv6Disabled { .. }), "{error}");
    assert!(error.to_string().contains("2001:db8:1::a/64"), "{error}");
    within("end of what a failed opening made", || gone(&netns));
    open_tap(&tap_spec(&netns, "10.0.1.10/24")).unwrap();
}

#[test]
fn a_gateway_off_the_link_is_named() {
    let netns = Netns::new();
    let routes = DefaultRoutes::Via { v4: Some("192.0.2.1".parse().unwrap()), v6: None };
    let setup = NetworkSetup { routes, ..whole_spec(&netns).setup.unwrap() };
    let error = open_tap(&TapSpec { setup: Some(setup), ..whole_spec(&netns) }).unwrap_err();
    assert!(error.to_string().contains("the default route via 192.0.2.1"), "{error}");
}

#[test]
fn a_device_that_is_deleted_is_gone() {
    let netns = Netns::new();
    let mut port = open_tap(&whole_spec(&netns)).unwrap();
    netns.ip("link del eth0");
    let error = receive_until_error(&mut port);
    assert_ne!(error.kind(), std::io::ErrorKind::NetworkDown, "{error}");
    let frame = arp_request(ROUTER, [10, 0, 1, 1], [10, 0, 1, 10]);
    assert_eq!(send(&port, VnetHeader::default(), &frame), Err(TransmitError::Down));
}
