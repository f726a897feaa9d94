//! What the stage must notice by itself, on real devices. These tests need root and fail without it.

use palisade_io::namespaces;
use palisade_scenario::notation;

use super::super::{Served, leftovers};
use super::*;
use crate::cli::Attach;
use crate::interrupt::Interrupt;

const WORLD: &str = "
    [vpc]
    cidr_blocks = ['10.0.0.0/16']
    [subnet.a]
    cidr = '10.0.1.0/24'
    [security_group.open]
    ingress = ['tcp 22 from 10.0.1.0/24']
    [eni.a1]
    subnet = 'a'
    address = '10.0.1.10'
    groups = ['open']
    attach = { tap = 'a1' }
    [eni.a2]
    subnet = 'a'
    address = '10.0.1.11'
    groups = ['open']
    attach = { tap = 'a2' }";

const OPEN: &str = "a1 tcp 10.0.1.10:1 > 10.0.1.11:22 S";
const SHUT: &str = "a1 tcp 10.0.1.10:1 > 10.0.1.11:23 S";

fn world() -> Table {
    toml::from_str(WORLD).unwrap()
}

fn lab(attach: Attach) -> Arc<Lab> {
    Lab::make(attach, Interrupt::never()).unwrap_or_else(|failure| panic!("this needs root: {failure}"))
}

fn stage(lab: &Arc<Lab>) -> LabStage {
    lab.stage(Path::new("a-test.toml"), &world()).unwrap()
}

fn frame(stage: &LabStage, text: &str) -> Frame {
    notation::parse(text).unwrap().frame(&stage.snapshot()).unwrap()
}

fn broken(laws: &[Law]) -> Vec<&'static str> {
    laws.iter().filter(|law| law.left != law.right).map(|law| law.name).collect()
}

/// The device of `a2`, which `OPEN` and `SHUT` are meant for.
fn receiver(stage: &LabStage) -> Arc<Device> {
    let port = frame(stage, "a2 udp 10.0.1.11:1 > 10.0.1.10:1").port;
    stage.places.device(port).unwrap()
}

#[test]
fn what_is_delivered_arrives_and_what_is_dropped_does_not() {
    for attach in [Attach::Tap, Attach::Packet, Attach::Mixed] {
        let lab = lab(attach);
        let mut stage = stage(&lab);
        let (open, shut) = (frame(&stage, OPEN), frame(&stage, SHUT));
        let seen = stage.send(&open).unwrap();
        assert_eq!(seen.reasons, [""; 0], "{attach:?}");
        let [arrival] = &*seen.arrivals else { panic!("{attach:?}: one frame, not {:?}", seen.arrivals) };
        assert_eq!(arrival.bytes[12..], open.bytes[12..], "{attach:?}");
        let seen = stage.send(&shut).unwrap();
        assert_eq!((seen.arrivals, seen.reasons), (vec![], vec!["group-ingress"]), "{attach:?}");
        assert_eq!(
            stage.connections().len(),
            3,
            "{attach:?}: one at either end, and one at the sender of the other"
        );
        assert_eq!(broken(&stage.close().unwrap()), [""; 0], "{attach:?}");
    }
}

/// A data plane that lets through what it says it drops is found out, since its word is not taken for it.
#[test]
fn a_frame_that_passes_the_data_plane_by_is_seen_and_breaks_a_law() {
    for attach in [Attach::Tap, Attach::Packet] {
        let lab = lab(attach);
        let mut stage = stage(&lab);
        let shut = frame(&stage, SHUT);
        receiver(&stage).intrude(&shut.bytes);
        let seen = stage.send(&shut).unwrap();
        assert_eq!(seen.reasons, ["group-ingress"], "the data plane did not see it");
        assert_eq!(seen.arrivals.len(), 1, "{attach:?}");
        assert_eq!(broken(&stage.close().unwrap()), ["frames sent by ports = frames arrived at guests"]);
    }
}

#[test]
fn a_guest_that_speaks_by_itself_ends_the_play() {
    let lab = lab(Attach::Mixed);
    let mut stage = stage(&lab);
    let shut = frame(&stage, SHUT);
    receiver(&stage).send(VnetHeader::default(), &shut.bytes).unwrap();
    let ends = [stage.send(&shut).map(drop), stage.send(&shut).map(drop)];
    let spoke = |end: &Result<(), Halt>| matches!(end, Err(Halt::Failed(why)) if why.contains("of its own"));
    assert!(ends.iter().any(spoke), "{ends:?}");
}

#[test]
fn what_devices_cannot_carry_is_not_played() {
    let raw = |len: usize| format!("a1 raw {}", "02".repeat(len));
    let udp = "a1 udp 10.0.1.10:1 > 10.0.1.11:2 len 100";
    let cases = [
        (raw(13), Unplayable::FrameTooShort),
        (raw(65_600), Unplayable::FrameTooLong),
        (format!("{udp} vnet flags=1,start=900,offset=6"), Unplayable::HeaderRefused),
        (format!("{udp} vnet flags=8"), Unplayable::FrameChanged),
    ];
    for attach in [Attach::Tap, Attach::Packet] {
        let lab = lab(attach);
        let mut stage = stage(&lab);
        for (packet, why) in &cases {
            let frame = frame(&stage, packet);
            assert_eq!(stage.send(&frame), Err((*why).into()), "{attach:?}");
        }
        assert_eq!(broken(&stage.close().unwrap()), [""; 0]);
    }
}

#[test]
fn the_clock_stands_still_between_steps() {
    let lab = lab(Attach::Mixed);
    let mut stage = stage(&lab);
    let open = frame(&stage, OPEN);
    stage.send(&open).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let left = |stage: &LabStage| stage.connections().iter().map(|conn| conn.left).collect::<Vec<_>>();
    let whole = left(&stage);
    stage.advance(Duration::from_nanos(1)).unwrap();
    let less: Vec<_> = whole.iter().map(|left| left.saturating_sub(Duration::from_nanos(1))).collect();
    assert_eq!(left(&stage), less);
}

#[test]
fn devices_serve_one_scenario_after_the_other_and_go_with_the_laboratory() {
    let lab = lab(Attach::Mixed);
    let mine = |lab: &Lab| {
        let fabric = lab.fabric.name().to_owned();
        let devices = lab.devices.lock().unwrap();
        let names = devices.iter().map(|device| device.namespace().to_owned());
        names.chain([fabric]).collect::<Vec<_>>()
    };
    drop(stage(&lab));
    let names = mine(&lab);
    assert_eq!(names.len(), 3);
    let mut second = stage(&lab);
    assert_eq!(mine(&lab), names);
    let open = frame(&second, OPEN);
    assert_eq!(second.send(&open).unwrap().arrivals.len(), 1);
    let third = stage(&lab);
    assert_eq!(mine(&lab).len(), 5, "those in use are not lent twice");
    drop((second, third));
    let names = mine(&lab);
    drop(lab);
    let left = namespaces().unwrap();
    assert!(names.iter().all(|name| !left.contains(name)), "{left:?}");
}

#[test]
fn ports_are_counted_by_the_kind_of_their_devices() {
    for (attach, taps, packets) in [(Attach::Tap, 4, 0), (Attach::Packet, 0, 4), (Attach::Mixed, 2, 2)] {
        let lab = lab(attach);
        drop(stage(&lab));
        drop(stage(&lab));
        assert_eq!(lab.served(), Served { taps, packets }, "{attach:?}");
    }
}

#[test]
fn a_panic_leaves_no_namespace_behind() {
    let lab = lab(Attach::Mixed);
    let fabric = lab.fabric.name().to_owned();
    let play = std::thread::spawn(move || {
        let stage = stage(&lab);
        panic!("in the middle of {} steps", stage.sent);
    });
    assert!(play.join().is_err());
    assert!(!namespaces().unwrap().contains(&fabric));
}

#[test]
fn the_namespaces_of_a_dead_process_are_removed_and_others_are_not() {
    let abandoned = format!("palisade-lab-{}-0-fabric", u32::MAX);
    std::mem::forget(palisade_io::Namespace::silent(&abandoned).unwrap());
    let lab = lab(Attach::Tap);
    leftovers::remove();
    let left = namespaces().unwrap();
    assert!(!left.contains(&abandoned));
    assert!(left.iter().any(|name| name == lab.fabric.name()));
}

#[test]
fn a_change_opens_and_closes_devices() {
    let lab = lab(Attach::Mixed);
    let mut stage = stage(&lab);
    let mut smaller = world();
    let gone = smaller["eni"].as_table_mut().unwrap().remove("a2").unwrap();
    let (device, open) = (receiver(&stage), frame(&stage, OPEN));
    stage.publish(&smaller).unwrap();
    assert!(device.is_free());
    assert_eq!(stage.send(&open).unwrap().arrivals, []);
    smaller["eni"].as_table_mut().unwrap().insert("a3".to_owned(), gone);
    stage.publish(&smaller).unwrap();
    let seen = stage.send(&frame(&stage, OPEN)).unwrap();
    assert_eq!(seen.arrivals.len(), 1);
    assert_eq!(broken(&stage.close().unwrap()), [""; 0]);
}
