//! What people and programs are shown of a daemon, to the letter.

use super::*;

/// A daemon with two ports and a few drops.
pub(crate) fn status() -> StatusReport {
    let worker = Worker { name: "palisade-w0".to_owned(), running: true, generation: 3, ports: 2 };
    StatusReport {
        version: "0.1.0".to_owned(),
        pid: 17,
        vpc: "vpc-1".to_owned(),
        config: "/etc/palisade/vpc.toml".to_owned(),
        generation: 3,
        published_generation: 3,
        uptime_seconds: 3725,
        workers: vec![worker],
        ports: vec![port("web-1", Some("web-1")), port("dns", None)],
        counters: counters(),
        connections: Connections {
            alive: 2,
            limit: 262_144,
            created: 5,
            expired: 3,
            instances: vec![allowance("web-1", 2), allowance("db-1", 0)],
            ..Connections::default()
        },
        held: Held::default(),
        flow_logs: Vec::new(),
    }
}

fn port(name: &str, netns: Option<&str>) -> PortReport {
    PortReport {
        name: name.to_owned(),
        id: netns.map(|_| "eni-1".to_owned()),
        kind: if netns.is_some() { "eni" } else { "service" }.to_owned(),
        attachment: if netns.is_some() { "tap" } else { "packet" }.to_owned(),
        device: "eth0".to_owned(),
        netns: netns.map(str::to_owned),
        state: "up".to_owned(),
        takeover: netns.is_none().then(|| "tcx BPF drop at ingress and egress".to_owned()),
        mtu: 1500,
        mac: "02:00:00:00:00:01".to_owned(),
        worker: "palisade-w0".to_owned(),
        received: Volume { packets: 100, frames: 10, bytes: 123_456 },
        sent: Volume { packets: 7, frames: 7, bytes: 890 },
        dropped: PortDrops { full: 1, down: 2, refused: 3 },
        unread: 0,
        conntrack_allowance_exceeded: netns.map(|_| 0),
    }
}

fn counters() -> Counters {
    let dropped = [("group-ingress", 12), ("vlan-tag", 1), ("bad-offload", 40)];
    Counters {
        received: 200,
        received_bytes: 246_912,
        delivered: 14,
        delivered_bytes: 1780,
        generated: 2,
        dropped: dropped.map(|(reason, count)| (reason.to_owned(), count)).into(),
        consumed: BTreeMap::from([("arp".to_owned(), 4)]),
        group_ingress: Stage { reached: 20, by_default: 12, related: 0 },
        ..Counters::default()
    }
}

fn allowance(name: &str, tracked: u32) -> Allowance {
    Allowance {
        instance: name.to_owned(),
        id: "i-1".to_owned(),
        tracked,
        limit: 65_536,
        conntrack_allowance_available: 65_536 - tracked,
    }
}

fn written(report: &StatusReport) -> String {
    let mut out = anstream::StripStream::new(Vec::new());
    report.write(&mut out).unwrap();
    String::from_utf8(out.into_inner()).unwrap()
}

#[test]
fn status_is_told_on_one_page() {
    let expected = "\
vpc-1  up 1h2m, pid 17, version 0.1.0
generation 3 of /etc/palisade/vpc.toml
worker palisade-w0: 2 ports
packets: 200 received (246.9 kB), 14 delivered (1.7 kB), 2 generated, 53 dropped, 4 consumed
connections: 2 of 262144; 5 created, 3 expired, 0 closed, 0 removed

PORT   KIND     ATTACHED TO        STATE  RX PACKETS  RX BYTES  TX PACKETS  TX BYTES  DROPS  UNREAD  TAKEOVER
web-1  eni      tap eth0 in web-1  up            100    123456           7       890      6       0  -
dns    service  packet eth0        up            100    123456           7       890      6       0  tcx BPF drop at ingress and egress

DROPPED        PACKETS  WHY
bad-offload         40  The virtio-net header asks for an offload that does not fit the packet.
group-ingress       12  No inbound rule of the receiver's security groups matches (SG-20).
vlan-tag             1  The frame carries a VLAN tag; a VPC has none.

INSTANCE  TRACKED  ALLOWANCE  conntrack_allowance_available
web-1           2      65536                          65534
";
    assert_eq!(written(&status()), expected);
}

#[test]
fn trouble_is_pointed_out() {
    let mut report = status();
    report.published_generation = 4;
    report.workers[0].running = false;
    report.held = Held { fragments: 3, bytes: 4500 };
    report.connections.removed = 5;
    report.connections.revoked = 2;
    report.ports[0].conntrack_allowance_exceeded = Some(7);
    let text = written(&report);
    assert!(
        text.contains("generation 3 of /etc/palisade/vpc.toml (generation 4 is being taken up)"),
        "{text}"
    );
    assert!(text.contains("worker palisade-w0: 2 ports does not run any more"), "{text}");
    assert!(text.contains("\nfragments held: 3 (4.5 kB)\n"), "{text}");
    assert!(text.contains(", 5 removed (2 revoked)\n"), "{text}");
    let refusals = "\nENI    conntrack_allowance_exceeded\nweb-1                             7\n";
    assert!(text.ends_with(refusals), "{text}");
}

#[test]
fn the_keys_of_the_json_form_stay() {
    let json = serde_json::to_value(status()).unwrap();
    let keys = |value: &serde_json::Value| {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(
        keys(&json),
        "config connections counters flow_logs generation held pid ports published_generation uptime_seconds version vpc workers"
    );
    assert_eq!(
        keys(&json["ports"][0]),
        "attachment conntrack_allowance_exceeded device dropped id kind mac mtu name netns received sent state takeover \
         unread worker"
    );
    assert_eq!(
        keys(&json["counters"]),
        "acl_egress acl_ingress consumed copies delivered delivered_bytes dropped generated group_egress group_ingress \
         received received_bytes"
    );
    assert_eq!(keys(&json["counters"]["copies"]), "dropped made sent sent_bytes");
    assert_eq!(json["counters"]["dropped"]["bad-offload"], 40);
    assert_eq!(keys(&json["connections"]), "alive closed created expired instances limit removed revoked");
    assert_eq!(
        keys(&json["connections"]["instances"][0]),
        "conntrack_allowance_available id instance limit tracked"
    );
    assert_eq!(keys(&json["held"]), "bytes fragments");
    assert_eq!(serde_json::from_value::<StatusReport>(json).unwrap(), status());
}
