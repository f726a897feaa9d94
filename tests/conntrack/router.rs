//! A Linux router with the groups of a VPC in nftables, in a network namespace of its own.
//!
//! ```text
//! guests' namespace      router's namespace
//!   g7e0 ════════════ eni0 ─▶ zone 1, egress of the first ENI ─▶ loop0 ══╗
//!   g7e1 ════════════ eni1 ◀─ zone 2, ingress of the second ENI ◀─ loop1 ╝
//! ```
//!
//! The kernel tracks a packet once per passage. A packet between two ENIs passes twice, by way of a pair of devices both
//! of whose ends are in the router, so that it meets the sender's zone and then the receiver's (CT-2).

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;

use palisade_packet::MacAddr;
use palisade_policy::{CompiledEni, EniKey, Snapshot};
use palisade_tests::Netns;
use palisade_tests::tool::Fed;

use crate::pace::Pace;
use crate::recording::Recording;
use crate::rules::{LOOP, device, ruleset};

/// Settings of the kernel that the specification answers too: CT-40, CT-47, CT-48. Everything else is left alone.
const SETTINGS: [(&str, u64); 3] = [("tcp_loose", 0), ("tcp_be_liberal", 1), ("checksum", 0)];

/// MAC address of the end of the loop at which packets come back.
const LOOP_MAC: MacAddr = MacAddr([2, 0xfe, 0, 0, 1, 1]);

/// The router of one trace.
pub(crate) struct Router {
    netns: Netns,
    enis: Vec<Port>,
}

/// A guest as the router knows it.
pub(crate) struct Port {
    /// Whose.
    pub(crate) eni: EniKey,
    /// Name of the ENI.
    pub(crate) name: String,
    /// Device in the router.
    device: String,
    /// Device in the guests' namespace.
    pub(crate) guest_device: String,
    /// Its own MAC address.
    pub(crate) mac: MacAddr,
    /// MAC address of the router towards it.
    pub(crate) router_mac: MacAddr,
    /// Its addresses.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Router {
    /// Builds the router of trace `number`, with the ends of those guests in `guests` that take part.
    pub(crate) fn build(guests: &Netns, number: usize, recording: &Recording) -> Self {
        let world = &recording.world;
        let netns = Netns::create("nft");
        netns.enter(forwarding);
        let enis = world.enis().iter().filter(|eni| recording.involves(eni.key));
        let enis = enis.map(|eni| port(world, eni, number)).collect();
        let router = Self { netns, enis };
        router.wire_up(guests);
        router.stand_by().put_in_force(world, recording.pace);
        // Where the tracker is a module, it is the rules that load it.
        router.netns.enter(|| tune(SETTINGS.map(|(name, value)| (name.to_owned(), value))));
        router
    }

    /// The guests that take part.
    pub(crate) fn ports(&self) -> &[Port] {
        &self.enis
    }

    /// Makes ready for a change of policy, so that it takes no longer than the kernel needs.
    pub(crate) fn stand_by(&self) -> Change<'_> {
        Change { router: self, nft: Fed::start(&self.netns, "nft -f -") }
    }

    /// The connections that the kernel tracks, of all zones.
    pub(crate) fn connections(&self) -> String {
        let read = || fs::read_to_string("/proc/thread-self/net/nf_conntrack");
        self.netns
            .enter(read)
            .unwrap_or_else(|why| format!("the kernel does not show its connections: {why}"))
    }

    fn wire_up(&self, guests: &Netns) {
        let mut inside = String::new();
        let mut outside = String::new();
        let _ = writeln!(
            inside,
            "link add {} type veth peer name {} address {LOOP_MAC}\nlink set {} up\nlink set {} up",
            LOOP[0], LOOP[1], LOOP[0], LOOP[1]
        );
        for port in &self.enis {
            let (device, mac, peer, guest) = (&port.device, port.router_mac, &port.guest_device, port.mac);
            let _ = writeln!(
                inside,
                "link add {device} address {mac} type veth peer name {peer} netns {}\nlink set {device} up",
                guests.name()
            );
            let _ = writeln!(outside, "link set {peer} up");
            for address in &port.addresses {
                let out = LOOP[0];
                let _ = writeln!(inside, "route add {address} dev {out}");
                let _ = writeln!(inside, "neigh add {address} lladdr {LOOP_MAC} dev {out} nud permanent");
                let _ = writeln!(inside, "route add {address} dev {device} table 100");
                let _ = writeln!(inside, "neigh add {address} lladdr {guest} dev {device} nud permanent");
            }
        }
        for (netns, batch) in [(&self.netns, &inside), (guests, &outside)] {
            let ran = Fed::start(netns, "ip -batch -").finish(batch);
            assert!(ran.ok, "ip: {}\n{batch}", ran.err);
        }
        for family in ["-4", "-6"] {
            self.netns.ip(&format!("{family} rule add iif {} lookup 100", LOOP[1]));
        }
    }
}

/// A change of policy that waits for its moment.
pub(crate) struct Change<'a> {
    router: &'a Router,
    nft: Fed,
}

impl Change<'_> {
    /// Makes it.
    pub(crate) fn put_in_force(self, world: &Snapshot, pace: Pace) {
        for port in &self.router.enis {
            let stays = world.eni(port.eni).is_some_and(|eni| device(eni.index.0) == port.device);
            assert!(stays, "{}: ENIs cannot come and go while a trace plays", port.name);
        }
        let rules = ruleset(world.vpc());
        let ran = self.nft.finish(&rules);
        assert!(ran.ok, "nft: {}\n{rules}", ran.err);
        let mut configured = world.enis().iter().map(|eni| eni.time_outs);
        let first = configured.next().expect("a world has ENIs");
        assert!(
            configured.all(|other| other == first),
            "time-outs per ENI: the kernel has them per namespace"
        );
        self.router.netns.enter(|| tune(pace.time_outs(&first)));
    }
}

fn port(world: &Snapshot, eni: &CompiledEni, number: usize) -> Port {
    let at = eni.index.0;
    let last = u8::try_from(at).expect("few ENIs");
    Port {
        eni: eni.key,
        name: world.vpc()[eni.index].name.clone(),
        device: device(at),
        guest_device: format!("g{number}e{at}"),
        mac: eni.mac,
        router_mac: MacAddr([2, 0xfe, 0, 0, 0, last]),
        addresses: eni.addresses.to_vec(),
    }
}

/// The present namespace forwards whatever comes from wherever, says nothing itself and asks nobody for addresses.
fn forwarding() {
    for scope in ["all", "default"] {
        for (name, value) in [("forwarding", 1), ("rp_filter", 0), ("send_redirects", 0)] {
            set(&format!("ipv4/conf/{scope}/{name}"), value);
        }
        set(&format!("ipv6/conf/{scope}/forwarding"), 1);
    }
    set("ipv6/conf/default/addr_gen_mode", 1);
}

/// A guests' namespace: devices and nothing that would answer on them.
pub(crate) fn guests() -> Netns {
    let netns = Netns::create("guests");
    netns.enter(|| set("ipv6/conf/default/disable_ipv6", 1));
    netns
}

fn tune(settings: impl IntoIterator<Item = (String, u64)>) {
    for (name, value) in settings {
        set(&format!("netfilter/nf_conntrack_{name}"), value);
    }
}

fn set(name: &str, value: u64) {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, value.to_string()).unwrap_or_else(|why| panic!("{path}: {why}"));
}
