//! Traffic mirroring in a configuration file, and which packets its sessions choose (TM-1..9, TM-20..28, TM-50..55).

use std::net::IpAddr;

use palisade_packet::{IpPacket, Tcp, TcpFlags, Transport};
use palisade_policy::diagnostics::Code;
use palisade_policy::model::MirrorTargetAt;
use palisade_policy::{Direction, MirrorTo, Snapshot};

use super::{kinds, load};

const WORLD: &str = "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n[subnet.a]\ncidr = \"10.0.1.0/24\"\n\
    [eni.web]\nsubnet = \"a\"\naddress = \"10.0.1.10\"\nattach = { tap = \"w0\" }\n\
    [eni.db]\nsubnet = \"a\"\naddress = \"10.0.1.30\"\nattach = { tap = \"d0\" }\n\
    [eni.ids]\nsubnet = \"a\"\naddress = \"10.0.1.20\"\nattach = { tap = \"i0\" }\n\
    [service.collector]\naddresses = [\"169.254.7.7\"]\nattach = { tap = \"c0\" }\n\
    [mirror_target.ids]\neni = \"ids\"\n[mirror_target.outside]\nservice = \"collector\"\n";
const ALL: &str = "\"100 accept all from 0.0.0.0/0 to 0.0.0.0/0\"";

/// Sessions of `web` with these filters' rules, numbered 1, 2, …; all rules of both directions are the same.
fn mirrored(filters: &[(&str, &str)], services: &str) -> String {
    let session = |(number, (ingress, egress)): (usize, &(&str, &str))| {
        format!(
            "[mirror_filter.f{number}]\ningress = [{ingress}]\negress = [{egress}]\nnetwork_services = [{services}]\n\
             [mirror_session.s{number}]\nsource = \"web\"\ntarget = \"ids\"\nfilter = \"f{number}\"\nnumber = {number}\n\
             virtual_network_id = {number}\n"
        )
    };
    WORLD.to_owned() + &(1..).zip(filters).map(session).collect::<String>()
}

fn packet(source: &str, destination: &str, protocol: u8, ports: (u16, u16)) -> IpPacket {
    let transport = match protocol {
        6 => Transport::Tcp(Tcp {
            source: ports.0,
            destination: ports.1,
            flags: TcpFlags::ACK,
            sequence: 1,
            acknowledgement: 1,
            window: 1,
            window_scale: None,
            header_len: 20,
        }),
        17 => Transport::Udp { source: ports.0, destination: ports.1 },
        _ => Transport::Other,
    };
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    IpPacket {
        source: address(source),
        destination: address(destination),
        protocol,
        hop_limit: 64,
        dont_fragment: false,
        ip_len: 60,
        network_offset: 14,
        transport_offset: 34,
        fragment: None,
        transport,
    }
}

/// The VNI with which a packet of `web` is copied.
fn vni(text: &str, direction: Direction, packet: &IpPacket, amazon_dns: bool) -> Option<u32> {
    let snapshot = Snapshot::compile(load(text), None);
    let plan = snapshot.eni_named("web").unwrap().mirror.clone()?;
    let choice = plan.choose(direction, packet, amazon_dns)?;
    plan.session(choice).map(|(session, _)| session.vni)
}

/// TM-2, TM-5
#[test]
fn sessions_know_their_ends() {
    let text = mirrored(&[(ALL, "")], "")
        + "[mirror_session.far]\nsource = \"db\"\ntarget = \"outside\"\n\
        filter = \"f1\"\nnumber = 7\npacket_length = 100\n";
    let vpc = load(&text);
    assert_eq!(vpc.mirror_targets[0].at, MirrorTargetAt::Eni(palisade_policy::model::EniIndex(2)));
    assert_eq!(vpc.mirror_targets[1].at, MirrorTargetAt::Service(0));
    let [near, far] = &vpc.mirror_sessions[..] else { panic!("two sessions") };
    assert!(near.id.starts_with("tms-") && vpc.mirror_filters[0].ingress[0].id.starts_with("tmfr-"));
    assert_eq!((near.vni, near.packet_length, far.packet_length), (1, None, Some(100)));
    assert!(
        far.vni < 1 << 24 && far.vni == load(&text).mirror_sessions[1].vni,
        "TM-5: derived, and the same again"
    );

    let snapshot = Snapshot::compile(vpc, None);
    let [web, db] = ["web", "db"].map(|name| snapshot.eni_named(name).unwrap());
    let choose = |eni: &palisade_policy::CompiledEni| {
        let plan = eni.mirror.clone().unwrap();
        let packet = packet("10.0.2.2", "10.0.1.10", 6, (1, 2));
        let choice = plan.choose(Direction::Ingress, &packet, false).unwrap();
        plan.session(choice).unwrap().0.clone()
    };
    let (near, far) = (choose(web), choose(db));
    assert_eq!(
        (near.source.to_string(), near.destination.to_string()),
        ("10.0.1.10".into(), "10.0.1.20".into())
    );
    assert_eq!(near.to, MirrorTo::Eni(snapshot.eni_named("ids").unwrap().key));
    assert_eq!(
        (far.destination.to_string(), far.to),
        ("169.254.7.7".into(), MirrorTo::Service(snapshot.services()[0].key))
    );
    assert!(snapshot.eni_named("ids").unwrap().mirror.is_none());
}

#[test]
fn tm_21_tm_22_tm_50_tm_51_the_first_match_decides() {
    let rules =
        "\"20 accept tcp from 0.0.0.0/0 to 0.0.0.0/0\", \"10 reject tcp from 10.0.0.0/8 to 0.0.0.0/0 22\"";
    let text = mirrored(&[(rules, "")], "");
    let asked = |direction, packet: &IpPacket| vni(&text, direction, packet, false);
    let ssh = packet("10.1.1.1", "10.0.1.10", 6, (40000, 22));
    assert_eq!(asked(Direction::Ingress, &ssh), None, "TM-50");
    assert_eq!(asked(Direction::Ingress, &packet("11.1.1.1", "10.0.1.10", 6, (40000, 22))), Some(1));
    assert_eq!(asked(Direction::Ingress, &packet("10.1.1.1", "10.0.1.10", 6, (40000, 23))), Some(1));
    assert_eq!(asked(Direction::Ingress, &packet("10.1.1.1", "10.0.1.10", 17, (40000, 23))), None);
    assert_eq!(asked(Direction::Egress, &packet("10.0.1.10", "10.1.1.1", 6, (22, 40000))), None, "TM-51");
}

#[test]
fn tm_22_ports_mean_tcp_and_udp_whatever_the_protocol_of_the_rule() {
    let text = mirrored(&[("\"1 accept all from 0.0.0.0/0 1000-2000 to 0.0.0.0/0 any\"", "")], "");
    for (protocol, source, copied) in [
        (6, 1000, true),
        (17, 2000, true),
        (6, 2001, false),
        (6, 999, false),
        (47, 0, false),
        (1, 1500, false),
    ] {
        let packet = packet("10.1.1.1", "10.0.1.10", protocol, (source, 9));
        assert_eq!(vni(&text, Direction::Ingress, &packet, false).is_some(), copied, "{protocol} {source}");
    }
}

#[test]
fn tm_24_tm_52_tm_53_the_first_session_that_accepts_copies() {
    let tcp = packet("10.1.1.1", "10.0.1.10", 6, (40000, 80));
    let rejects = "\"1 reject tcp from 0.0.0.0/0 to 0.0.0.0/0\"";
    assert_eq!(
        vni(&mirrored(&[(rejects, ""), (ALL, "")], ""), Direction::Ingress, &tcp, false),
        Some(2),
        "TM-52"
    );
    let accepts = "\"1 accept tcp from 0.0.0.0/0 to 0.0.0.0/0 80\"";
    assert_eq!(
        vni(&mirrored(&[(accepts, ""), (ALL, "")], ""), Direction::Ingress, &tcp, false),
        Some(1),
        "TM-53"
    );
}

#[test]
fn tm_26_tm_54_tm_55_the_resolver_is_a_matter_of_its_own() {
    let query = packet("10.0.1.10", "10.0.0.2", 17, (40000, 53));
    let without = mirrored(&[(ALL, ALL)], "");
    assert_eq!(vni(&without, Direction::Egress, &query, true), None, "TM-54");
    let with = mirrored(&[("", "")], "\"amazon-dns\"");
    assert_eq!(vni(&with, Direction::Egress, &query, true), Some(1), "TM-55");
    assert_eq!(vni(&with, Direction::Ingress, &query, true), Some(1), "TM-55");
    assert_eq!(vni(&with, Direction::Egress, &query, false), None, "other traffic needs rules");
}

#[test]
fn tm_47_a_change_restamps_the_source_and_nobody_else() {
    let first = Snapshot::compile(load(&mirrored(&[(ALL, "")], "")), None);
    let same = Snapshot::compile(load(&mirrored(&[(ALL, "")], "")), Some(&first));
    let changed = Snapshot::compile(load(&mirrored(&[(ALL, ALL)], "")), Some(&same));
    let gone = Snapshot::compile(load(WORLD), Some(&changed));
    let stamps = |snapshot: &Snapshot, name| snapshot.eni_named(name).unwrap().stamp;
    assert_eq!([&first, &same, &changed, &gone].map(|snapshot| stamps(snapshot, "web")), [1, 1, 3, 4]);
    assert_eq!([&first, &same, &changed, &gone].map(|snapshot| stamps(snapshot, "ids")), [1; 4]);
}

/// TM-1, TM-5, TM-6, TM-7, TM-9
#[test]
fn faults_of_targets_and_sessions() {
    let session = |more: &str| mirrored(&[(ALL, "")], "") + more;
    for (text, code, place) in [
        (format!("{WORLD}[mirror_target.x]\n"), Code::MissingKey, "x"),
        (
            format!("{WORLD}[mirror_target.x]\neni = \"web\"\nservice = \"collector\"\n"),
            Code::ConflictingKeys,
            "collector",
        ),
        (format!("{WORLD}[mirror_target.x]\neni = \"nobody\"\n"), Code::UnknownReference, "nobody"),
        (format!("{WORLD}[mirror_target.x]\nservice = \"dns\"\n"), Code::UnknownReference, "dns"),
        (
            session("[mirror_session.x]\nsource = \"web\"\ntarget = \"ids\"\nfilter = \"f1\"\nnumber = 1\n"),
            Code::DuplicateRuleNumber,
            "1",
        ),
        (
            session(
                "[mirror_session.x]\nsource = \"ids\"\ntarget = \"outside\"\nfilter = \"f1\"\nnumber = 1\n",
            ),
            Code::ConflictingKeys,
            "ids",
        ),
        (
            session("[mirror_session.x]\nsource = \"db\"\ntarget = \"ids\"\nfilter = \"f2\"\nnumber = 1\n"),
            Code::UnknownReference,
            "f2",
        ),
        (
            session("[mirror_session.x]\nsource = \"db\"\ntarget = \"ids\"\nfilter = \"f1\"\nnumber = 0\n"),
            Code::OutOfRange,
            "0",
        ),
        (
            session(
                "[mirror_session.x]\nsource = \"db\"\ntarget = \"ids\"\nfilter = \"f1\"\nnumber = 1\nvirtual_network_id = 16777216\n",
            ),
            Code::OutOfRange,
            "16777216",
        ),
        (
            session(
                "[mirror_session.x]\nsource = \"db\"\ntarget = \"ids\"\nfilter = \"f1\"\nnumber = 1\npacket_length = 8501\n",
            ),
            Code::OutOfRange,
            "8501",
        ),
        (mirrored(&[(ALL, ""); 4], ""), Code::Quota, "web"),
    ] {
        assert_eq!(kinds(&text), [(code, place.to_owned())], "{text}");
    }
}

/// TM-2, TM-3, TM-4
#[test]
fn faults_of_filters() {
    for (rule, code, place) in [
        ("100 accept tcp from 0.0.0.0/0", Code::BadRule, ""),
        ("100 accept tcp to 0.0.0.0/0 from 0.0.0.0/0", Code::BadRule, "to"),
        ("100 allow tcp from 0.0.0.0/0 to 0.0.0.0/0", Code::BadRule, "allow"),
        (
            "accept tcp from 0.0.0.0/0 to 0.0.0.0/0",
            Code::BadRuleNumber,
            "accept tcp from 0.0.0.0/0 to 0.0.0.0/0",
        ),
        ("32767 accept tcp from 0.0.0.0/0 to 0.0.0.0/0", Code::BadRuleNumber, "32767"),
        ("1 accept tpc from 0.0.0.0/0 to 0.0.0.0/0", Code::BadProtocol, "tpc"),
        ("1 accept tcp 443 from 0.0.0.0/0 to 0.0.0.0/0", Code::BadRule, "443"),
        ("1 accept tcp from 0.0.0.0/0 to ::/0", Code::MixedFamilies, "::/0"),
        ("1 accept tcp from 10.0.0.1/8 to 0.0.0.0/0", Code::HostBits, "10.0.0.1/8"),
        ("1 accept tcp from sg:web to 0.0.0.0/0", Code::BadCidr, "sg:web"),
        ("1 accept tcp from 0.0.0.0/0 2-1 to 0.0.0.0/0", Code::BadPorts, "2-1"),
        ("1 accept tcp from 0.0.0.0/0 1 2 to 0.0.0.0/0", Code::BadRule, "2"),
        ("1 accept tcp from to 0.0.0.0/0", Code::BadRule, ""),
        ("1 accept from 0.0.0.0/0 to 0.0.0.0/0", Code::BadRule, ""),
    ] {
        let text = format!("{WORLD}[mirror_filter.f]\nbogus = 1\ningress = [\"{rule}\"]\n");
        let found: Vec<_> = kinds(&text).into_iter().filter(|(code, _)| *code != Code::UnknownKey).collect();
        assert_eq!(found, [(code, place.to_owned())], "{rule}");
    }
    let repeated = format!("{WORLD}[mirror_filter.f]\negress = [{ALL}, {ALL}]\n");
    assert_eq!(kinds(&repeated), [(Code::DuplicateRuleNumber, "100".to_owned())]);
    let rules: Vec<_> = (1..=11).map(|n| format!("\"{n} accept all from ::/0 to ::/0\"")).collect();
    let many = format!("{WORLD}[mirror_filter.f]\negress = [{}]\n", rules.join(","));
    assert_eq!(kinds(&many).iter().map(|(code, _)| *code).collect::<Vec<_>>(), [Code::Quota], "TM-4");
    let service = format!("{WORLD}[mirror_filter.f]\nnetwork_services = [\"amazon-dsn\"]\n");
    assert_eq!(kinds(&service), [(Code::BadForm, "amazon-dsn".to_owned())]);
}
