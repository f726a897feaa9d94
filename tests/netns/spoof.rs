//! Frames that claim to be somebody else's, or are none of a VPC (RES-41..43, RES-4, RT-5, SG-74).

use std::net::IpAddr;

use palisade_tests::frame::{self, BROADCAST, Ends};
use palisade_tests::{Bed, Policy, PortKind, Setup};

use crate::probe::{Control, Probe};

const KINDS: [PortKind; 2] = [PortKind::Tap, PortKind::Packet];

fn on_all_ports(test: impl Fn(&Bed, &mut Probe<'_>)) {
    for kind in KINDS {
        let bed = Bed::start(Setup::new(kind, kind), &Policy::open());
        let mut probe = Probe::new(&bed, "a", Control::Guest("b"));
        test(&bed, &mut probe);
    }
}

fn refuse_ends(probe: &mut Probe<'_>, what: &str, reason: &str, ends: Ends) {
    probe.refused(what, reason, |mark| frame::udp(&ends, mark));
}

#[test]
fn honest_datagrams_pass() {
    on_all_ports(|bed, probe| {
        for ipv6 in [false, true] {
            let ends = probe.ends("b", ipv6);
            probe.passes("routed", "b", &ends);
            let router = probe.ends("c", ipv6);
            probe.passes("to a neighbour by the router's MAC (RT-5)", "c", &router);
            let direct = Ends { mac: (router.mac.0, bed.guest("c").plan.mac()), ..router };
            probe.passes("to a neighbour by its own MAC", "c", &direct);
        }
    });
}

/// Every test that says "refused" rests on this.
#[test]
#[should_panic(expected = "an honest datagram: reached b")]
fn the_probe_notices_what_gets_through() {
    let bed = Bed::start(Setup::taps(), &Policy::open());
    let mut probe = Probe::new(&bed, "a", Control::Guest("b"));
    let ends = probe.ends("b", false);
    probe.reaches_nobody("an honest datagram", |mark| frame::udp(&ends, mark));
}

/// RES-41.
#[test]
fn a_foreign_source_mac_is_refused() {
    on_all_ports(|bed, probe| {
        for ipv6 in [false, true] {
            for mac in
                [bed.guest("c").plan.mac(), bed.guest("b").plan.mac(), probe.router, [2, 0, 0, 0, 0, 1]]
            {
                for to in ["b", "c"] {
                    let honest = probe.ends(to, ipv6);
                    let ends = Ends { mac: (mac, honest.mac.1), ..honest };
                    refuse_ends(probe, &format!("source MAC {mac:02x?} to {to}"), "source-mac", ends);
                }
            }
        }
    });
}

/// RES-42: also the address of a neighbour whose MAC is not taken.
#[test]
fn a_foreign_source_address_is_refused() {
    on_all_ports(|_, probe| {
        let foreign =
            ["10.0.1.11", "10.0.2.10", "10.0.1.200", "192.0.2.1", "2001:db8:1:1::11", "2001:db8:9::1"];
        for source in foreign.map(|text| text.parse::<IpAddr>().unwrap()) {
            for to in ["b", "c"] {
                let honest = probe.ends(to, source.is_ipv6());
                let ends = Ends { ip: (source, honest.ip.1), ..honest };
                refuse_ends(probe, &format!("source {source} to {to}"), "source-check", ends);
            }
        }
    });
}

/// RES-4: sources that nobody may use, whatever the source check says.
#[test]
fn sources_that_are_nobodys_are_refused() {
    on_all_ports(|_, probe| {
        let nobody = [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "10.0.1.0",
            "10.0.1.1",
            "10.0.1.2",
            "10.0.1.3",
            "10.0.1.255",
            "10.0.0.2",
            "169.254.1.1",
            "::",
            "::1",
            "ff02::1",
            "fd00:ec2::253",
        ];
        for source in nobody.map(|text| text.parse::<IpAddr>().unwrap()) {
            let honest = probe.ends("b", source.is_ipv6());
            let ends = Ends { ip: (source, honest.ip.1), ..honest };
            probe.reaches_nobody(&format!("source {source}"), |mark| frame::udp(&ends, mark));
        }
    });
}

/// SG-74, SG-72, RT-5.
#[test]
fn destinations_that_a_vpc_does_not_carry_are_refused() {
    on_all_ports(|_, probe| {
        let honest = probe.ends("b", false);
        let cases = [
            ("limited broadcast", "255.255.255.255", BROADCAST, "multicast"),
            ("limited broadcast by the router", "255.255.255.255", honest.mac.1, "multicast"),
            ("subnet broadcast", "10.0.1.255", honest.mac.1, "multicast"),
            ("multicast", "224.0.0.251", [1, 0, 0x5e, 0, 0, 0xfb], "multicast"),
            ("unicast address in a broadcast frame", "10.0.2.10", BROADCAST, "multicast"),
            ("own address", "10.0.1.10", honest.mac.1, "own-address"),
            ("unknown MAC", "10.0.2.10", [2, 9, 9, 9, 9, 9], "destination-mac"),
            ("nobody's address of the subnet", "10.0.1.77", honest.mac.1, "unowned-address"),
            ("nobody's address of another subnet", "10.0.2.77", honest.mac.1, "unowned-address"),
            ("router of another subnet (RES-8)", "10.0.2.1", honest.mac.1, "unowned-address"),
            ("outside the VPC", "192.0.2.1", honest.mac.1, "no-route"),
        ];
        for (what, to, mac, reason) in cases {
            let ends = Ends { mac: (honest.mac.0, mac), ip: (honest.ip.0, to.parse().unwrap()), ..honest };
            refuse_ends(probe, what, reason, ends);
        }
    });
}

/// On a veth the kernel takes the outermost tag out of the frame, so that the daemon is told of it beside the frame.
#[test]
fn vlan_tags_and_foreign_ethertypes_are_refused() {
    on_all_ports(|_, probe| {
        let tags: [&[(u16, u16)]; 5] =
            [&[(0x8100, 5)], &[(0x8100, 0)], &[(0x88a8, 5)], &[(0x88a8, 5), (0x8100, 6)], &[(0x9100, 5)]];
        for (ipv6, tag) in [false, true].into_iter().flat_map(|ipv6| tags.map(|tag| (ipv6, tag))) {
            let ends = probe.ends("b", ipv6);
            let tagged = |mark: &[u8]| frame::tagged(&frame::udp(&ends, mark), tag);
            probe.refused(&format!("tags {tag:04x?}"), "vlan-tag", tagged);
        }
        let ends = probe.ends("b", false);
        for ethertype in [0x88cc_u16, 0x8847, 0x0600, 0x8864] {
            probe.refused(&format!("ethertype {ethertype:04x}"), "foreign-ethertype", |mark| {
                let mut frame = frame::udp(&ends, mark);
                frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
                frame
            });
        }
    });
}

#[test]
fn malformed_packets_are_refused() {
    on_all_ports(|_, probe| {
        let ends = probe.ends("b", false);
        let refuse = |probe: &mut Probe<'_>, what: &str, reason: &str, change: &dyn Fn(&mut Vec<u8>)| {
            probe.refused(what, reason, |mark| {
                let mut frame = frame::udp(&ends, mark);
                change(&mut frame);
                frame
            });
        };
        refuse(probe, "version 5", "malformed-ip", &|frame| frame[14] = 0x55);
        refuse(probe, "header of 16 bytes", "malformed-ip", &|frame| frame[14] = 0x44);
        refuse(probe, "longer than the frame", "malformed-ip", &|frame| frame[16] = 0x10);
        refuse(probe, "UDP header cut off", "truncated-transport", &|frame| frame[17] = 24);
        refuse(probe, "UDP longer than the packet", "malformed-transport", &|frame| frame[38] = 0x10);
    });
}
