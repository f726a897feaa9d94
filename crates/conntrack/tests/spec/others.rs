//! Protocols by address (CT-33, CT-39d) and packets without a header.

use palisade_conntrack::Consult;
use palisade_packet::{InvalidTransport, Transport};

use crate::world::*;

#[test]
fn ct_39d_one_entry_serves_both_directions() {
    for protocol in [2, 4, 47, 50, 51, 132, 136] {
        let mut w = World::new();
        assert_eq!(w.tx(other(protocol)), Fate::Opened);
        w.wait(almost(600));
        assert_eq!(w.rx(other(protocol)), Fate::Tracked, "up to, not including, 600 s");
        w.wait(almost(600));
        assert_eq!(w.rx(other(protocol)), Fate::Tracked, "whoever sends");
        assert_eq!(w.drop_after_consult(Ingress, other(protocol + 1)), Fate::Opened);
        w.wait(secs(600));
        assert_eq!(w.drop_after_consult(Ingress, other(protocol)), Fate::Opened, "gone");
    }
}

#[test]
fn packets_without_a_transport_header_are_stateless() {
    let w = World::new();
    w.tx(udp());
    for transport in [Transport::LaterFragment, Transport::Invalid(InvalidTransport::Truncated)] {
        let mut packet = udp().going(Ingress);
        packet.transport = transport;
        assert!(matches!(w.table.consult(ZONE, Ingress, &packet, w.now), Consult::Stateless));
        assert!(w.table.handle(ZONE, Ingress, &packet, w.now).is_none());
    }
}
