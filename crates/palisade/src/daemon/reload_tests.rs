//! Changes of ports, and the way back from each step that can fail.

use std::cell::RefCell;
use std::collections::BTreeSet;

use palisade_packet::MacAddr;

use super::super::ports::tests::tap;
use super::*;

/// Devices that exist while they are held, and a data plane that holds them.
#[derive(Default)]
struct Bench {
    held: RefCell<BTreeMap<PortKey, String>>,
    open: std::rc::Rc<RefCell<BTreeSet<String>>>,
    refused: Option<&'static str>,
    unattachable: Option<PortKey>,
    log: RefCell<Vec<String>>,
}

struct FakeDevice {
    name: String,
    open: std::rc::Rc<RefCell<BTreeSet<String>>>,
}

impl Drop for FakeDevice {
    fn drop(&mut self) {
        self.open.borrow_mut().remove(&self.name);
    }
}

impl Workshop for Bench {
    type Device = FakeDevice;

    fn open(&self, plan: &PortPlan, _: u64) -> Result<(Attached, FakeDevice), Failure> {
        let name = plan.spec.place().1.to_owned();
        if self.refused == Some(name.as_str()) || !self.open.borrow_mut().insert(name.clone()) {
            return Err(Failure::new(format_args!("{name} is busy"), "wait"));
        }
        self.log.borrow_mut().push(format!("open {name}"));
        let attached = Attached { plan: plan.clone(), takeover: None, mac: MacAddr::default(), mtu: 1500 };
        Ok((attached, FakeDevice { name, open: std::rc::Rc::clone(&self.open) }))
    }

    fn attach(&self, plan: &PortPlan, device: FakeDevice) -> Result<(), RuntimeError> {
        let key = plan.key;
        if self.unattachable == Some(key) {
            return Err(RuntimeError::NoSuchPort);
        }
        self.log.borrow_mut().push(format!("attach {}", device.name));
        assert!(self.held.borrow_mut().insert(key, device.name.clone()).is_none(), "one port per key");
        std::mem::forget(device);
        Ok(())
    }

    fn reassign(&self, key: PortKey, worker: usize) -> Result<(), RuntimeError> {
        let name = self.held.borrow().get(&key).cloned().ok_or(RuntimeError::NoSuchPort)?;
        self.log.borrow_mut().push(format!("{name} to worker {worker}"));
        Ok(())
    }

    fn detach(&self, key: PortKey) -> Result<(), RuntimeError> {
        let name = self.held.borrow_mut().remove(&key).ok_or(RuntimeError::NoSuchPort)?;
        self.open.borrow_mut().remove(&name);
        self.log.borrow_mut().push(format!("detach {name}"));
        Ok(())
    }
}

impl Bench {
    /// With these ports attached.
    fn with(plans: &[PortPlan]) -> (Self, Ports) {
        let (bench, mut ports) = (Self::default(), Ports::new());
        let change = PortChange::new(&ports, plans.to_vec());
        Stage { workshop: &bench, generation: 1 }.prepare(&mut ports, &change).unwrap();
        bench.log.borrow_mut().clear();
        (bench, ports)
    }

    fn change(&self, ports: &mut Ports, wanted: &[PortPlan]) -> Result<Vec<String>, Failure> {
        let change = PortChange::new(ports, wanted.to_vec());
        let stage = Stage { workshop: self, generation: 2 };
        let opened = stage.prepare(ports, &change)?;
        self.log.borrow_mut().push("publish".to_owned());
        stage.finish(ports, &change, &mut Vec::new());
        Ok(opened)
    }

    fn log(&self) -> String {
        self.log.borrow().join(", ")
    }

    /// The attached devices, which must be the open ones.
    fn devices(&self) -> Vec<String> {
        let mut held: Vec<_> = self.held.borrow().values().cloned().collect();
        held.sort();
        assert_eq!(
            held,
            self.open.borrow().iter().cloned().collect::<Vec<_>>(),
            "no device is open for nobody"
        );
        held
    }
}

fn names(ports: &Ports) -> Vec<&str> {
    ports.values().map(|port| port.plan.name.as_str()).collect()
}

#[test]
fn a_guest_comes_and_one_goes() {
    let (bench, mut ports) = Bench::with(&[tap(1, "a", "tap-a"), tap(2, "b", "tap-b")]);
    let opened = bench.change(&mut ports, &[tap(1, "a", "tap-a"), tap(3, "c", "tap-c")]).unwrap();
    assert_eq!(opened, ["c"]);
    assert_eq!(bench.log(), "open tap-c, attach tap-c, publish, detach tap-b");
    assert_eq!(
        (names(&ports), bench.devices()),
        (vec!["a", "c"], vec!["tap-a".to_owned(), "tap-c".to_owned()])
    );
}

#[test]
fn a_device_that_cannot_be_opened_changes_nothing() {
    let (mut bench, mut ports) = Bench::with(&[tap(1, "a", "tap-a")]);
    bench.refused = Some("tap-c");
    let failure = bench.change(&mut ports, &[tap(2, "b", "tap-b"), tap(3, "c", "tap-c")]).unwrap_err();
    assert_eq!(failure.what, "tap-c is busy");
    assert_eq!((names(&ports), bench.devices()), (vec!["a"], vec!["tap-a".to_owned()]));
    assert!(!bench.log().contains("detach"), "the old port was served throughout: {}", bench.log());
}

#[test]
fn a_displaced_port_is_put_back_if_its_successor_cannot_be_opened() {
    let (mut bench, mut ports) = Bench::with(&[tap(1, "a", "tap-a"), tap(2, "b", "tap-b")]);
    bench.unattachable = Some(tap(3, "c", "tap-a").key);
    let wanted = [tap(3, "c", "tap-a"), tap(2, "b", "tap-z")];
    assert!(bench.change(&mut ports, &wanted).is_err());
    assert_eq!(
        (names(&ports), bench.devices()),
        (vec!["a", "b"], vec!["tap-a".to_owned(), "tap-b".to_owned()])
    );
}

#[test]
fn devices_can_be_swapped() {
    let (bench, mut ports) = Bench::with(&[tap(1, "a", "tap-a"), tap(2, "b", "tap-b")]);
    bench.change(&mut ports, &[tap(1, "a", "tap-b"), tap(2, "b", "tap-a")]).unwrap();
    assert_eq!(
        bench.log(),
        "detach tap-a, detach tap-b, open tap-b, open tap-a, attach tap-b, attach tap-a, publish"
    );
    assert_eq!(bench.devices(), ["tap-a", "tap-b"]);
}

#[test]
fn a_port_moves_to_the_worker_named_for_it_and_its_device_stays() {
    let (bench, mut ports) = Bench::with(&[tap(1, "a", "tap-a")]);
    let named = PortPlan { worker: Some(1), ..tap(1, "a", "tap-a") };
    bench.change(&mut ports, std::slice::from_ref(&named)).unwrap();
    bench.change(&mut ports, &[named]).unwrap();
    bench.change(&mut ports, &[tap(1, "a", "tap-a")]).unwrap();
    assert_eq!(bench.log(), "publish, tap-a to worker 1, publish, publish");
}

#[test]
fn settings_that_need_a_restart_are_named() {
    let settings = |daemon: &str| {
        let text = format!("[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n[daemon]\n{daemon}\n");
        palisade_policy::draft::load("test", &text).unwrap_or_else(|errors| panic!("{errors}")).daemon
    };
    let waiting = settings_that_wait(&settings(""), &settings("workers = 2"));
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].starts_with("daemon.workers"), "{waiting:?}");
}

/// FL-5.
#[test]
fn fl_5_a_flow_log_that_keeps_its_id_cannot_be_changed() {
    let vpc = |flow_logs: &str| {
        let text = format!("[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n{flow_logs}");
        palisade_policy::draft::load("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let log = |name: &str, id: &str, to: &str| {
        format!("[flow_log.{name}]\n{id}\ndestination = {{ json_lines = \"{to}\" }}\n")
    };
    let id = "id = \"fl-0a000001\"";
    let old = vpc(&log("a", id, "stdout"));
    let change = FlowLogChange::between(&old, &vpc(&log("b", id, "stdout"))).unwrap();
    assert_eq!(change, FlowLogChange::default(), "a name is no part of it");
    let refusal = FlowLogChange::between(&old, &vpc(&log("a", id, "/run/s"))).unwrap_err();
    assert!(refusal.message.contains("fl-0a000001") && refusal.message.contains("FL-5"), "{refusal:?}");
    let derived = vpc(&log("a", "", "stdout"));
    let change = FlowLogChange::between(&derived, &vpc(&log("a", "", "/run/s"))).unwrap();
    assert_eq!((&*change.begun, &*change.ended), (&["a".to_owned()][..], &["a".to_owned()][..]));
}
