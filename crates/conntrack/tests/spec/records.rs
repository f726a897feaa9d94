//! Entries that outlive the process: CT-40a.

use palisade_conntrack::{ConnTable, Consult, EntryRecord, Imported, Instant, State};
use proptest::prelude::*;

use crate::world::*;

fn busy() -> World {
    let mut w = World::new();
    w.tx(tcp("S").seq(100).scale(2));
    w.rx(tcp("SA").seq(500).ack(101).scale(3));
    w.tx(tcp("A").seq(101).ack(501).win(10));
    w.rx(udp());
    w.tx(icmp6(128, 4));
    w.rx(other(47));
    w.tx(other(47).local("2001:db8::1").remote("2001:db8::2"));
    w.wait(secs(20));
    w
}

/// The world after a restart: another table, another start of the clock.
fn restarted(w: &World, records: Vec<EntryRecord>) -> (World, Imported) {
    let now = Instant::from_nanos(5);
    let mut next = World { table: ConnTable::new(100), now, owner: w.owner };
    let imported = next.table.import(records, next.now);
    next.now = now;
    (next, imported)
}

#[test]
fn ct_40a_entries_survive_a_restart_through_text() {
    let w = busy();
    let text = serde_json::to_string(&w.table.export(w.now)).unwrap();
    let (mut next, imported) = restarted(&w, serde_json::from_str(&text).unwrap());
    assert_eq!(imported, Imported { taken: 5, ..Imported::default() });
    let order = |mut list: Vec<palisade_conntrack::ConnView>| {
        list.sort_by_key(|view| (view.protocol, view.local));
        list
    };
    assert_eq!(order(next.table.list(next.now)), order(w.table.list(w.now)), "age, idle and left included");
    assert_eq!(next.table.tracked(9, next.now), 5);
    next.wait(secs(10));
    assert_eq!(next.table.advance(next.now, usize::MAX), 2, "UDP and the query had 10 s left");
    assert_eq!(next.rx(tcp("A")), Fate::Tracked);
    next.rx(tcp("R").seq(541));
    assert!(next.table.list(next.now).iter().any(|view| view.state == "close"), "CT-46 values came along");
    next.assert_conserved();
}

#[test]
fn records_that_cannot_be_are_refused() {
    let w = busy();
    let good = w.table.export(w.now);
    let udp = *good.iter().find(|record| record.protocol == 17).unwrap();
    let bad = [
        EntryRecord { state: State::Established, ..udp },
        EntryRecord { protocol: 6, ..udp },
        EntryRecord { remote: ip("::1"), ..udp },
        EntryRecord { idle: 30_000_000_000, ..udp },
        EntryRecord { time_outs: [0, 0], ..udp },
    ];
    let (next, imported) = restarted(&w, bad.to_vec());
    assert_eq!((imported.taken, imported.unsound), (0, 5));
    assert_eq!(next.table.totals().created, 0);
    let (next, imported) = restarted(&w, vec![udp, udp]);
    assert_eq!((imported.taken, imported.duplicates), (1, 1));
    next.assert_conserved();
}

#[test]
fn import_ignores_the_allowance_and_respects_the_capacity() {
    let w = busy();
    let small = ConnTable::new(3);
    let imported = small.import(w.table.export(w.now), w.now);
    assert_eq!((imported.taken, imported.no_room), (3, 2));
    assert_eq!(small.tracked(9, w.now), 3);
}

/// Opens an entry, with all that rules may have said of its opener.
fn opener() -> impl Strategy<Value = (Direction, P, bool)> {
    let query = |(icmp_type, code, identifier)| P {
        body: Body::Icmp { v6: false, icmp_type, code, identifier, quoted: None },
        ..udp()
    };
    let packet = prop_oneof![
        (0..3_u16, 0..3_u16).prop_map(|(a, b)| udp().ports(a, b)),
        (0..3_u16, 0..3_u16).prop_map(|(a, b)| tcp("S").ports(a, b)),
        (prop::sample::select(vec![8, 13, 15, 17]), any::<u8>(), 0..3_u16).prop_map(query),
        any::<u8>().prop_filter("others", |number| ![1, 6, 17].contains(number)).prop_map(other),
    ];
    (prop_oneof![Just(Ingress), Just(Egress)], packet, any::<bool>())
}

proptest! {
    /// CT-40a: a record holds all there is to know of an entry, what rules saw of its opener included.
    #[test]
    fn every_record_comes_back_as_it_was(openers in prop::collection::vec(opener(), 1..20), idle in 0..29_u64) {
        let mut w = World::new();
        for (direction, packet, referenced) in openers {
            let packet = packet.going(direction);
            if let Consult::New(plan) = w.table.consult(ZONE, direction, &packet, w.now) {
                w.table.commit(plan.admitted(1, referenced), &w.owner, &packet, w.now).unwrap();
            }
        }
        w.wait(secs(idle));
        let records = w.table.export(w.now);
        let text = serde_json::to_string(&records).unwrap();
        let (next, imported) = restarted(&w, serde_json::from_str(&text).unwrap());
        prop_assert_eq!(imported.taken, records.len());
        let order = |mut records: Vec<EntryRecord>| {
            records.sort_by_key(|record| serde_json::to_string(record).unwrap());
            records
        };
        prop_assert_eq!(order(next.table.export(next.now)), order(records));
    }
}
