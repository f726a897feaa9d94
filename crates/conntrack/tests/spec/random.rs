//! The table against the model, over random packets, settings, waits, removals and restarts.

use std::net::IpAddr;
use std::time::Duration;

use palisade_conntrack::{ConnTable, Consult, EntryRecord, Zone};
use proptest::prelude::*;

use crate::model::{Arrival, CAPACITY, Effect, Filters, Model, arriving_key, describe, nanos};
use crate::world::{Direction, Egress, Fate, Ingress, P, World, error, icmp, ip, other, tcp, udp};

#[derive(Clone, Debug)]
enum Op {
    Wait(u64),
    Packet(Arrival),
    Touch(Arrival),
    Advance(usize),
    RemoveZone(u32),
    RemoveLocal(u32, IpAddr),
    Restart,
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Ingress), Just(Egress)]
}

fn segment() -> impl Strategy<Value = P> {
    let letters = prop_oneof![
        5 => Just("S"), 5 => Just("SA"), 6 => Just("A"), 4 => Just("FA"), 1 => Just("F"), 2 => Just("PA"),
        1 => Just("P"), 1 => Just("R"), 1 => Just("RA"), 1 => Just("SF"), 1 => Just("SU")
    ];
    let number = || prop::sample::select(vec![u32::MAX, 0, 1, 2, 5, 6, 20, 21, 22, 100]);
    let window = prop::sample::select(vec![0, 1, 5, 20]);
    let scale = prop::option::of(prop::sample::select(vec![0, 2, 14]));
    (letters, number(), number(), window, scale).prop_map(|(letters, sequence, ack, window, scale)| {
        let packet = tcp(letters).seq(sequence).ack(ack).win(window);
        scale.map_or(packet, |scale| packet.scale(scale))
    })
}

fn any_packet() -> impl Strategy<Value = P> {
    let body = prop_oneof![
        6 => segment(),
        4 => Just(udp()),
        3 => (prop::sample::select(vec![0, 8, 13, 14, 9]), 1..3_u16).prop_map(|(kind, id)| icmp(kind, id)),
        1 => Just(other(47)),
        1 => Just(other(58)),
    ];
    // Local and remote addresses overlap: an ENI that forwards sees both as both (CT-4a).
    let ends = prop_oneof![
        6 => Just(("10.0.0.1", "10.0.0.2")),
        1 => Just(("10.0.0.2", "10.0.0.1")),
        1 => Just(("10.0.0.1", "10.0.0.1")),
        1 => Just(("10.0.0.3", "10.0.0.2"))
    ];
    let ports = prop_oneof![4 => Just((1, 2)), 1 => Just((2, 1)), 1 => Just((1, 3))];
    (body, ends, ports).prop_map(|(body, (local, remote), (mine, theirs))| {
        body.local(local).remote(remote).ports(mine, theirs)
    })
}

fn arrival(packet: impl Strategy<Value = P>, zones: Vec<u32>) -> impl Strategy<Value = Arrival> {
    let filters =
        prop_oneof![10 => Just(Filters::Pass), 2 => Just(Filters::Drop), 1 => Just(Filters::Untracked)];
    let established = prop_oneof![4 => Just(350_u64), 1 => Just(60_u64), 1 => Just(432_000_u64)];
    (prop::sample::select(zones), direction(), packet, filters, established).prop_map(
        |(zone, direction, packet, filters, established)| Arrival {
            zone,
            direction,
            packet,
            quoted: None,
            filters,
            established,
        },
    )
}

fn error_arrival() -> impl Strategy<Value = Arrival> {
    let kind = prop::sample::select(vec![3, 11, 12, 5]);
    (arrival(any_packet(), vec![1, 3]), any_packet(), direction(), kind).prop_map(
        |(mut arrival, quoted, way, kind)| {
            let outer = arrival.packet;
            arrival.packet = error(kind, quoted.quoted(way));
            (arrival.packet.local, arrival.packet.remote) = (outer.local, outer.remote);
            arrival.quoted = Some((quoted, way));
            arrival
        },
    )
}

fn wait() -> impl Strategy<Value = Op> {
    let steps = [10, 30, 60, 120, 180, 350, 600, 432_000].map(|seconds| seconds * 1_000_000_000);
    let edges = steps.into_iter().flat_map(|nanos| [nanos - 1, nanos]).chain([1, 5_000_000_000]);
    prop::sample::select(edges.collect::<Vec<u64>>()).prop_map(Op::Wait)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => arrival(any_packet(), vec![1, 2, 3]).prop_map(Op::Packet),
        3 => error_arrival().prop_map(Op::Packet),
        4 => arrival(any_packet(), vec![1, 2, 3]).prop_map(Op::Touch),
        5 => wait(),
        2 => (0..5_usize).prop_map(Op::Advance),
        1 => (1..4_u32).prop_map(Op::RemoveZone),
        1 => (1..4_u32).prop_map(|zone| Op::RemoveLocal(zone, ip("10.0.0.1"))),
        1 => Just(Op::Restart),
    ]
}

/// One TCP connection only, so that deep states are reached.
fn tcp_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => arrival(segment(), vec![1]).prop_map(Op::Packet),
        3 => arrival(segment(), vec![1]).prop_map(Op::Touch),
        1 => wait(),
        2 => prop::sample::select(vec![9, 10, 29]).prop_map(|s: u64| Op::Wait(s * 1_000_000_000)),
    ]
}

/// Table and model side by side.
struct Pair {
    world: World,
    model: Model,
}

impl Pair {
    fn new() -> Self {
        Self { world: World::with_capacity(CAPACITY), model: Model::default() }
    }

    fn step(&mut self, op: &Op) {
        let now = self.world.now.as_nanos();
        match op {
            Op::Wait(nanos) => self.world.wait(Duration::from_nanos(*nanos)),
            Op::Packet(arrival) => {
                assert_eq!(self.packet(arrival), self.model.packet(arrival, &arrival.owner(), now));
            }
            Op::Touch(arrival) => self.touch(arrival),
            Op::Advance(budget) => {
                assert!(self.world.table.advance(self.world.now, *budget) <= *budget);
            }
            Op::RemoveZone(zone) => {
                self.world.table.remove_zone(Zone(*zone));
                self.model.flows.retain(|key, _| key.0 != *zone);
            }
            Op::RemoveLocal(zone, address) => {
                self.world.table.remove_local(Zone(*zone), *address);
                self.model.flows.retain(|key, _| (key.0, key.2) != (*zone, *address));
            }
            Op::Restart => self.restart(),
        }
        self.model.expire(self.world.now.as_nanos());
        self.compare();
    }

    fn packet(&self, arrival: &Arrival) -> Fate {
        let (table, owner, now) = (&self.world.table, arrival.owner(), self.world.now);
        let packet = arrival.packet.going(arrival.direction);
        let (plan, fate) = match table.consult(owner.zone, arrival.direction, &packet, now) {
            Consult::Tracked(plan) => (plan, Fate::Tracked),
            Consult::New(plan) => (plan, Fate::Opened),
            Consult::Related(_) => return Fate::Related,
            Consult::Stateless => return Fate::Stateless,
        };
        match (arrival.filters, fate) {
            (Filters::Drop, _) => fate,
            (Filters::Untracked, Fate::Opened) => {
                table.commit_untracked(plan, &packet, now);
                fate
            }
            _ => table.commit(plan, &owner, &packet, now).map_or_else(Fate::Refused, |()| fate),
        }
    }

    fn touch(&mut self, arrival: &Arrival) {
        let (owner, now) = (arrival.owner(), self.world.now);
        let packet = arrival.packet.going(arrival.direction);
        let handle = self.world.table.handle(owner.zone, arrival.direction, &packet, now);
        let flow = arriving_key(owner.zone, arrival.direction, &arrival.packet)
            .and_then(|key| self.model.flows.get_mut(&key));
        assert_eq!(handle.is_some(), flow.is_some());
        let (Some(handle), Some(flow)) = (handle, flow) else {
            return;
        };
        let touched = handle.touch(arrival.direction, &packet, &owner.time_outs, now).is_some();
        let mut next = *flow;
        let effect = next.packet(arrival.direction, &packet);
        let steady = effect != Effect::NewFlow && next.state() == flow.state();
        assert_eq!(touched, steady, "{flow:?}");
        if steady && effect == Effect::Refresh {
            next.last = now.as_nanos();
            next.time_out = nanos(next.time_out_now(&owner.time_outs));
            *flow = next;
        }
    }

    /// Conservation holds up to here; the entries go on in another table.
    fn restart(&mut self) {
        self.world.assert_conserved();
        let records = self.world.table.export(self.world.now);
        let text = serde_json::to_string(&records).unwrap();
        self.world.table = ConnTable::new(CAPACITY);
        let records: Vec<EntryRecord> = serde_json::from_str(&text).unwrap();
        let imported = self.world.table.import(records, self.world.now);
        assert_eq!(imported.taken, self.model.flows.len());
    }

    fn compare(&self) {
        let now = self.world.now;
        let mut seen: Vec<String> = self
            .world
            .table
            .list(now)
            .iter()
            .map(|view| {
                format!(
                    "{} {} {} {} {:?} {:?} {} {:?} {:?}",
                    view.zone.0,
                    view.protocol,
                    view.local,
                    view.remote,
                    view.ids,
                    view.origin,
                    view.state,
                    view.idle,
                    view.left
                )
            })
            .collect();
        let mut expected: Vec<String> =
            self.model.flows.iter().map(|(key, flow)| describe(key, flow, now.as_nanos())).collect();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected);
    }

    fn finish(&mut self) {
        for instance in [1, 2] {
            let tracked = usize::try_from(self.world.table.tracked(instance, self.world.now)).unwrap();
            assert_eq!(tracked, self.model.tracked(instance), "CT-70, CT-73");
        }
        self.world.table.advance(self.world.now, usize::MAX);
        assert_eq!(usize::try_from(self.world.table.totals().alive).unwrap(), self.model.flows.len());
        self.world.assert_conserved();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_the_model_does(ops in prop::collection::vec(op(), 1..80)) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.step(op);
        }
        pair.finish();
    }

    #[test]
    fn one_tcp_connection_does_what_the_model_does(ops in prop::collection::vec(tcp_op(), 1..80)) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.step(op);
        }
        pair.finish();
    }
}
