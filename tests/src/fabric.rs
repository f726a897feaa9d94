//! The data plane of the daemon in the test's own process, so that its ports can be given faults and its memory be seen.

use std::sync::Arc;

use palisade_engine::Engine;
use palisade_io::{
    DefaultRoutes, Faults, NetworkSetup, PacketSpec, Port, TakeoverMethod, TapSpec, open_packet, open_tap,
};
use palisade_packet::MacAddr;
use palisade_policy::{PortKey, Snapshot, draft};
use palisade_runtime::{Dataplane, Options, Totals};

use crate::bed::await_addresses;
use crate::{Bed, Guest, Policy, PortKind};

/// A running data plane between the guests of a bed without a daemon.
#[derive(Debug)]
pub struct Fabric {
    /// What forwards.
    pub dataplane: Dataplane,
}

impl Fabric {
    /// Starts it in the mode of the bed, with a table of so many connections. Every port has the same faults, with a seed
    /// of its own.
    #[must_use]
    pub fn start(bed: &Bed, policy: &Policy, max_connections: usize, faults: Faults) -> Self {
        let vpc = draft::load("bed", &bed.config(policy)).unwrap_or_else(|why| panic!("{why}"));
        let snapshot = Arc::new(Snapshot::compile(vpc, None));
        let ports = (1..).zip(bed.guests()).map(|(seed, guest)| {
            let port = open(guest, bed.fabric.name());
            (
                key(&snapshot, guest),
                if faults == Faults::default() { port } else { port.faulty(Faults { seed, ..faults }) },
            )
        });
        let mode = bed.mode();
        let options = Options {
            workers: mode.workers.map_or_else(Options::suitable_workers, usize::from),
            flow_cache: if mode.flow_cache { Options::default().flow_cache } else { 0 },
            gro: mode.gro,
            ..Options::default()
        };
        let ports = ports.collect();
        let engine = Arc::new(Engine::new(max_connections));
        let dataplane = Dataplane::start(engine, snapshot, ports, options).expect("workers can be started");
        bed.guests().iter().for_each(|guest| await_addresses(&guest.netns));
        Self { dataplane }
    }

    /// Ends it, asserts that its books balance and gives them.
    pub fn stop(self) -> Totals {
        let totals = self.dataplane.stop();
        assert!(totals.lawful(), "{:#?}", totals.laws);
        totals
    }
}

fn key(snapshot: &Snapshot, guest: &Guest) -> PortKey {
    let is_it = |eni: &&palisade_policy::CompiledEni| snapshot.vpc()[eni.index].name == guest.plan.name;
    PortKey::Eni(snapshot.enis().iter().find(is_it).expect("every guest has an ENI").key)
}

fn open(guest: &Guest, fabric: &str) -> Port {
    let plan = &guest.plan;
    let opened = match plan.kind {
        PortKind::Tap => open_tap(&TapSpec {
            device: "eth0".to_owned(),
            netns: Some(guest.netns.name().to_owned()),
            mac: MacAddr(plan.mac()),
            mtu: plan.mtu,
            offload: plan.offload,
            setup: Some(NetworkSetup {
                addresses: [format!("{}/24", plan.ipv4()), format!("{}/64", plan.ipv6())]
                    .map(|text| text.parse().expect("an address by construction"))
                    .to_vec(),
                routes: DefaultRoutes::Via {
                    v4: Some(std::net::Ipv4Addr::new(10, 0, plan.subnet_number(), 1)),
                    v6: None,
                },
            }),
        }),
        PortKind::Packet => open_packet(&PacketSpec {
            device: plan.host_device(),
            netns: Some(fabric.to_owned()),
            mtu: plan.mtu,
            offload: plan.offload,
            takeover: TakeoverMethod::Auto,
        }),
    };
    opened.unwrap_or_else(|why| panic!("{}: {why}", plan.name))
}
