//! The host's own network stack and an interface that a packet port has taken over.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddrV6, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{Netns, arp_request, open_again, packet_spec, send, veth, within};
use palisade_io::{PacketSpec, Takeover, TakeoverMethod, open_packet};
use palisade_packet::{MacAddr, VnetHeader};

const METHODS: [(TakeoverMethod, Takeover); 3] = [
    (TakeoverMethod::Auto, Takeover::Tcx),
    (TakeoverMethod::Tcx, Takeover::Tcx),
    (TakeoverMethod::Nftables, Takeover::Nftables),
];

/// A host and a guest joined by a veth, and the link-local address by which the guest would reach the host.
struct Topology {
    host: Netns,
    guest: Netns,
    host_address: String,
    guest_address: String,
}

impl Topology {
    fn new() -> Self {
        let (host, guest) = (Netns::new(), Netns::new());
        veth(&host, "h0", &guest);
        let (host_address, guest_address) = (host.link_local("h0"), guest.link_local("eth0"));
        Self { host, guest, host_address, guest_address }
    }

    fn spec(&self, takeover: TakeoverMethod) -> PacketSpec {
        PacketSpec { takeover, ..packet_spec(&self.host, "h0") }
    }

    fn host_answers_ping(&self) -> bool {
        self.guest.succeeds(&format!("ping -6 -c1 -W1 {}%eth0", self.host_address))
    }

    /// Whether the guest reaches a TCP server of the host. The guest is given the host's MAC address, so that no
    /// neighbour discovery decides this.
    fn host_answers_tcp(&self) -> bool {
        let mac = self.host.ip_json("link show h0")[0]["address"].as_str().unwrap().to_owned();
        self.guest.ip(&format!("neigh replace {} lladdr {mac} dev eth0 nud permanent", self.host_address));
        let listener = self.host.inside(|| TcpListener::bind("[::]:7777").unwrap()).join().unwrap();
        let server = SocketAddrV6::new(self.host_address.parse().unwrap(), 7777, 0, self.guest.index("eth0"));
        let attempt = move || TcpStream::connect_timeout(&server.into(), Duration::from_secs(1)).is_ok();
        let connected = self.guest.inside(attempt).join().unwrap();
        self.guest.ip(&format!("neigh del {} dev eth0", self.host_address));
        drop(listener);
        connected
    }

    /// Whether the host's kernel answers an ARP request for an address of its own: it does so on every interface.
    fn host_answers_arp(&self) -> bool {
        let _ = self.host.try_run("ip addr add 192.0.2.1/32 dev lo");
        let _ = self.guest.try_run("ip addr add 192.0.2.2/24 dev eth0");
        self.guest.succeeds("arping -q -c1 -w1 -I eth0 192.0.2.1")
    }

    /// Makes the host's stack send: multicast, neighbour discovery, membership reports.
    fn provoke_host(&self) {
        let _ = self.host.try_run("ping -6 -c2 -i0.1 -W1 ff02::1%h0");
        let _ = self.host.try_run(&format!("ping -6 -c1 -W1 {}%h0", self.guest_address));
        let index = self.host.index("h0");
        let join = move || {
            let socket = std::net::UdpSocket::bind("[::]:0").unwrap();
            socket.join_multicast_v6(&"ff02::1234".parse().unwrap(), index).unwrap();
            std::thread::sleep(Duration::from_millis(300));
        };
        self.host.inside(join).join().unwrap();
    }
}

#[test]
fn the_host_neither_answers_nor_speaks() {
    for (method, used) in METHODS {
        let topology = Topology::new();
        within("answer to a ping without a takeover", || topology.host_answers_ping().then_some(()));
        within("answer of a server without a takeover", || topology.host_answers_tcp().then_some(()));
        within("answer to ARP without a takeover", || topology.host_answers_arp().then_some(()));
        let before = topology.guest.received("eth0");
        topology.provoke_host();
        let heard = || (topology.guest.received("eth0") > before).then_some(());
        within("frame of the host without a takeover", heard);

        let port = open_packet(&topology.spec(method)).unwrap();
        assert_eq!(port.takeover, Some(used));
        std::thread::sleep(Duration::from_millis(100));
        let before = topology.guest.received("eth0");
        assert!(!topology.host_answers_ping(), "{used}: ping");
        assert!(!topology.host_answers_tcp(), "{used}: TCP");
        assert!(!topology.host_answers_arp(), "{used}: ARP");
        topology.provoke_host();
        assert_eq!(topology.guest.received("eth0"), before, "{used}: the guest hears nothing of the host");

        let frame = arp_request(MacAddr([2, 0, 0, 0, 0, 1]), [192, 0, 2, 9], [192, 0, 2, 2]);
        send(&port, VnetHeader::default(), &frame).unwrap();
        within("frame of the port", || (topology.guest.received("eth0") == before + 1).then_some(()));

        drop(port);
        within("answer of the host that has its interface back", || {
            topology.host_answers_ping().then_some(())
        });
        within("empty ruleset", || ruleset(&topology.host).is_empty().then_some(()));
    }
}

const HOLDER_NETNS: &str = "PAL_IO_HOLD_NETNS";
const HOLDER_METHOD: &str = "PAL_IO_HOLD_METHOD";
const HELD: &str = "the port is held";

#[test]
fn the_takeover_ends_with_a_killed_process() {
    // The process that is killed is this test once more, told by its environment to be that process.
    if let Ok(netns) = std::env::var(HOLDER_NETNS) {
        return hold_a_port(netns);
    }
    for method in ["tcx", "nftables"] {
        let topology = Topology::new();
        within("answer to a ping without a takeover", || topology.host_answers_ping().then_some(()));
        let mut holder = start_holder(&topology, method);
        assert!(!topology.host_answers_ping(), "{method}: taken over");
        let busy = open_packet(&topology.spec(TakeoverMethod::Auto)).unwrap_err().to_string();
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert!(busy.contains("taken over by another process"), "{method}: {busy}");
        within("answer of the host", || topology.host_answers_ping().then_some(()));
        within("empty ruleset", || ruleset(&topology.host).is_empty().then_some(()));
        open_again(&topology.spec(TakeoverMethod::Auto));
    }
}

/// Returns once the process holds the port.
fn start_holder(topology: &Topology, method: &str) -> Child {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "takeover::the_takeover_ends_with_a_killed_process", "--nocapture"])
        .env(HOLDER_NETNS, &topology.host.name)
        .env(HOLDER_METHOD, method)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let held = lines.map_while(Result::ok).any(|line| line.contains(HELD));
    assert!(held, "{method}: the holder ended without a port");
    holder
}

fn hold_a_port(netns: String) {
    let takeover = match std::env::var(HOLDER_METHOD).as_deref() {
        Ok("nftables") => TakeoverMethod::Nftables,
        _ => TakeoverMethod::Tcx,
    };
    let spec = PacketSpec { device: "h0".to_owned(), netns: Some(netns), mtu: 1500, offload: true, takeover };
    let _port = open_packet(&spec).unwrap();
    std::io::stdout().write_all(format!("{HELD}\n").as_bytes()).unwrap();
    std::thread::sleep(Duration::from_mins(1));
    unreachable!("a holder is killed");
}

fn ruleset(netns: &Netns) -> String {
    String::from_utf8(netns.try_run("nft list ruleset").stdout).unwrap()
}
