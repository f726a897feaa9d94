use palisade_packet::{MacAddr, TcpFlags};

use super::*;

fn ip(text: &str) -> IpSpec {
    match parse(text).unwrap().body {
        BodySpec::Ip(ip) => ip,
        other => panic!("{other:?}"),
    }
}

fn tcp(text: &str) -> TcpSpec {
    match ip(text).transport {
        TransportSpec::Tcp(tcp) => tcp,
        other => panic!("{other:?}"),
    }
}

fn icmp(text: &str) -> IcmpSpec {
    match ip(text).transport {
        TransportSpec::Icmp(icmp) => icmp,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_line_of_the_manual() {
    let text = "tcp 10.0.1.10:40000 > 10.0.2.10:443 syn";
    assert_eq!(parse(text).unwrap().port, None);
    let spec = ip(text);
    assert_eq!((spec.source, spec.destination), ([10, 0, 1, 10].into(), [10, 0, 2, 10].into()));
    let expected = TcpSpec {
        source: 40_000,
        destination: 443,
        flags: TcpFlags::SYN,
        window: DEFAULT_WINDOW,
        ..TcpSpec::default()
    };
    assert_eq!(spec.transport, TransportSpec::Tcp(expected));
}

#[test]
fn flags_by_name_and_by_letter() {
    let syn_ack = TcpFlags::SYN.with(TcpFlags::ACK);
    for text in ["SA", "syn+ack", "syn-ack", "syn ack", "S A"] {
        assert_eq!(tcp(&format!("tcp 1.1.1.1:1 > 2.2.2.2:2 {text}")).flags, syn_ack, "{text}");
    }
    assert_eq!(tcp("tcp 1.1.1.1:1 > 2.2.2.2:2").flags, TcpFlags::SYN, "what people ask about");
    assert_eq!(tcp("tcp 1.1.1.1:1 > 2.2.2.2:2 no-flags").flags, TcpFlags::default());
}

#[test]
fn ack_before_a_number_is_the_number() {
    let segment = tcp("a1 tcp 1.1.1.1:1 > 2.2.2.2:2 PA seq 1001 ack 7001 len 100");
    assert_eq!((segment.sequence, segment.acknowledgement), (1001, 7001));
    assert_eq!(segment.flags, TcpFlags::PSH.with(TcpFlags::ACK));
}

#[test]
fn ipv6_and_port_names() {
    let text = "web-1 udp [2001:db8::1]:1 > [2001:db8::2]:53 ttl 3 ext hop,dst frag id 9 offset 8 more";
    assert_eq!(parse(text).unwrap().port.as_deref(), Some("web-1"));
    let spec = ip(text);
    assert_eq!(spec.ttl, 3);
    assert_eq!(spec.extensions, [Extension::Hop, Extension::Destination]);
    assert_eq!(spec.fragment, Some(FragmentSpec { id: 9, offset: 8, more: true }));
}

#[test]
fn quotes_end_somewhere() {
    let nested = |depth: usize| {
        let quotes = "icmp 10.0.9.1 > 10.0.1.10 quote [".repeat(depth);
        parse(&format!("{quotes}icmp 10.0.9.1 > 10.0.1.10{}", "]".repeat(depth)))
    };
    assert!(nested(4).is_ok());
    for depth in [5, 10_000] {
        let told = nested(depth).unwrap_err().to_string();
        assert_eq!(told, "`quote` is not in a packet that four others quote");
    }
}

#[test]
fn errors_quote_a_packet_of_either_family() {
    let v4 =
        icmp("icmp 10.0.9.1 > 10.0.1.10 unreachable code 3 quote [udp 10.0.1.10:5000 > 10.0.2.10:53] ttl 9");
    assert_eq!((v4.icmp_type, v4.code), (3, 3));
    assert_eq!(v4.quote.unwrap().destination, IpAddr::from([10, 0, 2, 10]));
    let v6 =
        icmp("icmpv6 2001::1 > 2001::2 too-big mtu 1280 quote [udp [2001::2]:5 > [2001::3]:6] quote-cut 47");
    assert_eq!((v6.icmp_type, v6.mtu, v6.quote_cut), (2, Some(1280), Some(47)));
    assert!(v6.quote.unwrap().destination.is_ipv6());
}

#[test]
fn options_of_both_headers() {
    let segment = "tcp 1.1.1.1:1 > 2.2.2.2:2 S mss 1460 sack-ok ts 7,0 wscale 7 ip-options 0101 tos 8";
    let bytes = ip(segment).datagram().unwrap();
    assert_eq!((bytes[0], bytes[1]), (0x46, 8), "a header of six words");
    assert_eq!(bytes[20..24], [1, 1, 0, 0], "filled up");
    let options = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 3, 3, 7, 0];
    assert_eq!(bytes[44..], options, "in the order of Linux");
    let raw = ip("tcp 1.1.1.1:1 > 2.2.2.2:2 S tcp-options 01010101").datagram().unwrap();
    assert_eq!(raw[40..], [1, 1, 1, 1]);
    let too_many = format!("tcp 1.1.1.1:1 > 2.2.2.2:2 S tcp-options {}", "01".repeat(44));
    assert_eq!(ip(&too_many).datagram(), None);
}

#[test]
fn payload_and_sequence_number() {
    let bytes = ip("udp 1.1.1.1:1 > 2.2.2.2:2 data c0ffee").datagram().unwrap();
    assert_eq!((bytes.len(), &bytes[28..]), (31, &[0xc0, 0xff, 0xee][..]));
    let echo = ip("icmp 1.1.1.1 > 2.2.2.2 id 7 seq 258").datagram().unwrap();
    assert_eq!(echo[24..28], [0, 7, 1, 2]);
    let class = ip("udp [::1]:1 > [::2]:2 tos 184").datagram().unwrap();
    assert_eq!(class[..2], [0x6b, 0x80]);
}

#[test]
fn neighbour_discovery_has_its_hop_limit() {
    let text = "icmpv6 2001::1 > ff02::1:ff00:2 solicit 2001::2 link 02:00:00:00:00:01";
    assert_eq!(ip(text).ttl, 255);
    assert_eq!(ip(&format!("{text} ttl 64")).ttl, 64);
    assert_eq!(icmp(text).link, Some(MacAddr([2, 0, 0, 0, 0, 1])));
}

#[test]
fn frames_that_are_not_ip() {
    let BodySpec::Arp(arp) = parse("a1 arp who-has 10.0.1.1 tell 10.0.1.10").unwrap().body else {
        panic!("not ARP")
    };
    assert_eq!((arp.reply, arp.target), (false, [10, 0, 1, 1].into()));
    let foreign = parse("a1 ethertype 88cc 0a0b vlan 7").unwrap();
    assert_eq!(foreign.body, BodySpec::Foreign { ethertype: 0x88cc, bytes: vec![10, 11] });
    assert_eq!(foreign.link.vlan, Some(7));
    assert_eq!(parse("a1 raw 00ff").unwrap().body, BodySpec::Raw(vec![0, 255]));
}

#[test]
fn errors_say_what_should_stand_there() {
    for (text, error) in [
        (
            "",
            "expected a protocol: tcp, udp, icmp, icmpv6, proto N, arp, ethertype or raw, but the line ends here",
        ),
        ("tcp 10.0.0.1 > 10.0.0.2:1", "`10.0.0.1` is not an address and a port, such as 10.0.1.10:40000"),
        ("tcp 10.0.0.1:1 10.0.0.2:1", "`10.0.0.2:1` is not `>`"),
        ("udp 10.0.0.1:1 > [::1]:2", "source and destination must both be IPv4 or both be IPv6"),
        (
            "udp 10.0.0.1:1 > 10.0.0.2:2 syn",
            "`syn` is not one of: len, data, ttl, tos, df, ip-options, frag, cut, ip-len, ext, bad-checksum, from-mac, \
             to-mac, vlan, vnet",
        ),
        ("proto 300 10.0.0.1 > 10.0.0.2", "`300` is not a protocol number from 0 to 255"),
        ("udp 10.0.0.1:1 > 10.0.0.2:2 frag id 1 offset 7", "`7` is not a multiple of 8"),
        ("a1 raw 0", "`0` is not bytes in hex digits"),
        (
            "udp 10.0.0.1:1 > 10.0.0.2:2 vnet flags=300",
            "`flags=300` is not KEY=N with a key of: flags, gso, hdr, size, start, offset",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), error);
    }
}
