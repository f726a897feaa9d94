//! Queries and errors: CT-50, CT-53 to CT-58.

use palisade_packet::Quoted;

use crate::world::*;

#[test]
fn ct_55_a_query_is_answered_by_address_identifier_and_type() {
    for (request, reply) in [(8, 0), (13, 14), (15, 16), (17, 18)] {
        for direction in [Egress, Ingress] {
            let w = World::new();
            assert_eq!(w.pass(direction, icmp(request, 7)), Fate::Opened);
            assert_eq!(w.state(), "icmp");
            let back = direction.opposite();
            assert_eq!(w.pass(back, icmp(reply, 7)), Fate::Tracked);
            assert_eq!(w.pass(back, icmp(reply, 7)), Fate::Tracked, "several replies");
            assert_eq!(w.pass(direction, icmp(request, 7)), Fate::Tracked, "any number of requests");
            assert_eq!(w.pass(back, icmp(reply, 8)), Fate::Stateless, "another identifier");
            assert_eq!(w.pass(back, icmp(reply, 7).remote("10.0.2.21")), Fate::Stateless, "another host");
            assert_eq!(w.table.totals().created, 1);
        }
    }
    let w = World::new();
    w.tx(icmp(8, 7));
    assert_eq!(w.rx(icmp(14, 7)), Fate::Stateless, "a reply of another pair");
}

#[test]
fn ct_55_icmpv6_echo() {
    let w = World::new();
    assert_eq!(w.tx(icmp6(128, 7)), Fate::Opened);
    assert_eq!(w.rx(icmp6(129, 7)), Fate::Tracked);
    assert_eq!(w.entry().left, secs(30));
}

#[test]
fn ct_55_the_code_is_not_part_of_the_match() {
    let w = World::new();
    w.tx(icmp(8, 7));
    let mut reply = icmp(0, 7);
    if let Body::Icmp { code, .. } = &mut reply.body {
        *code = 5;
    }
    assert_eq!(w.rx(reply), Fate::Tracked);
}

#[test]
fn ct_56_a_reply_without_entry_opens_nothing() {
    let w = World::new();
    for reply in [icmp(0, 7), icmp(14, 7), icmp(16, 7), icmp(18, 7), icmp6(129, 7)] {
        assert_eq!(w.rx(reply), Fate::Stateless);
        assert_eq!(w.tx(reply), Fate::Stateless);
    }
    assert_eq!(w.table.totals().created, 0);
}

#[test]
fn ct_57_two_pings_that_cross_are_two_flows() {
    let w = World::new();
    assert_eq!(w.tx(icmp(8, 7)), Fate::Opened);
    assert_eq!(w.rx(icmp(8, 7)), Fate::Opened, "a request is never taken for a reply");
    assert_eq!(w.table.list(w.now).len(), 2);
    assert_eq!((w.rx(icmp(0, 7)), w.tx(icmp(0, 7))), (Fate::Tracked, Fate::Tracked));
}

#[test]
fn ct_58_other_types_are_stateless_and_foreign_families_are_other_protocols() {
    let w = World::new();
    for message in
        [icmp(9, 0), icmp(10, 0), icmp(4, 0), icmp(5, 0), icmp(200, 0), icmp6(134, 0), icmp6(137, 0)]
    {
        assert_eq!(w.tx(message), Fate::Stateless);
    }
    assert_eq!(w.table.totals().created, 0);
    assert_eq!(w.tx(other(58)), Fate::Opened, "protocol 58 in IPv4");
    assert_eq!((w.state(), w.entry().left), ("other", secs(600)));
    assert_eq!(w.rx(other(58)), Fate::Tracked);
}

#[test]
fn ct_50_an_error_is_related_to_the_entry_it_quotes_in_either_direction() {
    for origin in [Egress, Ingress] {
        let w = World::new();
        w.pass(origin, tcp("S"));
        for icmp_type in [3, 11, 12] {
            let sent_by_the_eni = tcp("A").quoted(Egress);
            let by_a_router = error(icmp_type, sent_by_the_eni).remote("198.51.100.77");
            assert_eq!(w.rx(by_a_router), Fate::Related, "whoever sent it");
            let received = tcp("A").quoted(Ingress);
            assert_eq!(w.tx(error(icmp_type, received)), Fate::Related);
            assert_eq!(
                w.tx(error(icmp_type, received).local("10.0.1.99")),
                Fate::Related,
                "no address test, CT-53"
            );
        }
    }
}

#[test]
fn ct_50_every_kind_of_entry_can_be_quoted() {
    for packet in [udp(), icmp(8, 3), other(47)] {
        let w = World::new();
        w.tx(packet);
        assert_eq!(w.rx(error(3, packet.quoted(Egress))), Fate::Related, "{packet:?}");
        assert_eq!(w.rx(error(3, udp().ports(1, 2).quoted(Egress))), Fate::Stateless);
    }
    let w = World::new();
    w.rx(icmp(8, 3));
    assert_eq!(w.rx(error(3, icmp(0, 3).quoted(Egress))), Fate::Related, "a quoted reply");
    assert_eq!(
        w.rx(error(3, icmp(8, 3).quoted(Egress))),
        Fate::Stateless,
        "a request the ENI never sent, CT-57"
    );
}

#[test]
fn ct_50_the_flags_of_a_quoted_segment_do_not_matter() {
    let w = World::new();
    w.tx(tcp("S"));
    assert_eq!(w.rx(error(3, tcp("SF").quoted(Egress))), Fate::Related);
}

#[test]
fn ct_50_icmpv6_errors() {
    let w = World::new();
    let udp6 = udp().local("2001:db8:1::a").remote("2001:db8:2::b");
    w.tx(udp6);
    for icmp_type in [1, 2, 3, 4] {
        let mut packet = icmp6(icmp_type, 0);
        if let Body::Icmp { quoted, .. } = &mut packet.body {
            *quoted = Some(udp6.quoted(Egress));
        }
        assert_eq!(w.rx(packet), Fate::Related, "type {icmp_type}");
    }
}

#[test]
fn ct_50_a_related_error_neither_refreshes_nor_moves_the_entry() {
    let mut w = World::new();
    w.tx(udp());
    w.wait(secs(29));
    assert_eq!(w.rx(error(3, udp().quoted(Egress))), Fate::Related);
    assert_eq!((w.entry().idle, w.entry().reply.packets), (secs(29), 0));
    w.wait(secs(1));
    assert_eq!(w.rx(error(3, udp().quoted(Egress))), Fate::Stateless, "the entry is gone");
}

#[test]
fn ct_50_the_quoted_packet_is_read_in_the_opposite_direction() {
    let w = World::new();
    w.tx(udp());
    let received = udp().quoted(Ingress);
    assert_eq!(w.rx(error(3, received)), Fate::Stateless, "the ENI did not send what is quoted");
    assert_eq!(w.tx(error(3, udp().quoted(Egress))), Fate::Stateless, "the ENI did not receive it");
}

#[test]
fn ct_53_what_is_not_related() {
    let w = World::new();
    w.tx(udp());
    let good = udp().quoted(Egress);
    assert_eq!(
        w.rx(error(3, good).local("10.0.1.99")),
        Fate::Stateless,
        "quoted source is not the destination"
    );
    assert_eq!(
        w.rx(error(3, Quoted { is_icmp_error: true, ..good })),
        Fate::Stateless,
        "an error about an error"
    );
    assert_eq!(w.rx(error(3, Quoted { tuple: foreign_tuple(), ..good })), Fate::Stateless, "no such entry");
    let mut bare = icmp(3, 0);
    assert_eq!(w.rx(bare), Fate::Stateless, "nothing quoted");
    bare = error(3, good);
    bare.local = ip("10.0.1.10");
    assert_eq!(w.rx(bare), Fate::Related);
}

#[test]
fn ct_54_redirect_and_source_quench_are_never_related() {
    let w = World::new();
    w.tx(udp());
    for icmp_type in [4, 5] {
        assert_eq!(w.rx(error(icmp_type, udp().quoted(Egress))), Fate::Stateless);
    }
}
