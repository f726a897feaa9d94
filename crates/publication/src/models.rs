//! Model checks: no worker uses what it must not any more, and nobody waits for ever.
//!
//! The checker's waits never time out, so a notification or wake-up that is lost ends a model as a deadlock. Policies
//! and tables of ports are numbers here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::thread;

use super::*;

type Numbers = Publication<u64, u64>;
type Worker = Reader<u64, u64>;

/// How things are published and taken up: as they are, or with a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    AsItIs,
    /// The epoch is raised before the slot is swapped.
    RaisedEarly,
    /// The ports are loaded before the policy.
    PortsFirst,
    /// The epoch is acknowledged before the slots are loaded.
    AcknowledgedEarly,
    /// The notification does not wait for the waiter to sleep.
    Unguarded,
    /// A worker silences its bell after it has looked at the epoch.
    SilencedLate,
}

impl Way {
    fn publish_policy(self, publication: &Numbers, policy: u64) -> (Arc<u64>, u64) {
        if self != Self::RaisedEarly {
            return publication.publish_policy(Arc::new(policy));
        }
        let epoch = publication.mark();
        (publication.policy.swap(Arc::new(policy)), epoch)
    }

    fn refresh(self, worker: &mut Worker) {
        let epoch = worker.publication.epoch.load(Ordering::Acquire);
        match self {
            Self::AsItIs | Self::RaisedEarly | Self::SilencedLate => worker.refresh(),
            _ if epoch == worker.epoch => {}
            Self::PortsFirst => {
                worker.ports = worker.publication.ports.load_full();
                worker.policy = worker.publication.policy.load_full();
                worker.acknowledge(epoch);
                let _guard = worker.publication.guard.lock();
                worker.publication.acknowledged.notify_all();
            }
            Self::AcknowledgedEarly => {
                worker.mark.generation.store(*worker.publication.policy(), Ordering::Relaxed);
                worker.mark.epoch.store(epoch, Ordering::Release);
                worker.take_up(epoch);
            }
            Self::Unguarded => {
                (worker.policy, worker.ports) = worker.publication.load();
                worker.acknowledge(epoch);
                worker.publication.acknowledged.notify_all();
            }
        }
    }
}

/// Stands in for a worker's eventfd: goes on ringing until it is silenced.
#[derive(Default)]
struct Bell(Mutex<bool>, Condvar);

impl Bell {
    fn ring(&self) {
        *self.0.lock().expect("a panic ends the model") = true;
        self.1.notify_all();
    }

    fn sleep(&self) {
        let mut rung = self.0.lock().expect("a panic ends the model");
        while !*rung {
            rung = self.1.wait(rung).expect("a panic ends the model");
        }
    }

    fn silence(&self) {
        *self.0.lock().expect("a panic ends the model") = false;
    }
}

/// Everything that control side and workers share.
struct Stage {
    way: Way,
    publication: Arc<Numbers>,
    marks: Vec<Arc<Mark>>,
    bells: Vec<Bell>,
    /// The generation that the control side has reported as live.
    live: AtomicU64,
}

impl Stage {
    fn new(way: Way, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            way,
            publication: Arc::new(Publication::new(Arc::new(1), 1, |policy| *policy)),
            marks: (0..workers).map(|_| Arc::new(Mark::default())).collect(),
            bells: (0..workers).map(|_| Bell::default()).collect(),
            live: AtomicU64::new(0),
        })
    }

    fn start(stage: &Arc<Self>) -> Vec<thread::JoinHandle<()>> {
        let worker = |index| {
            let stage = Arc::clone(stage);
            thread::spawn(move || stage.work(index))
        };
        (0..stage.marks.len()).map(worker).collect()
    }

    /// As the loop of a worker: a burst boundary, a look whether to leave, a sleep, a burst.
    fn work(&self, index: usize) {
        let mut worker = Reader::new(Arc::clone(&self.publication), Arc::clone(&self.marks[index]));
        let bell = &self.bells[index];
        loop {
            self.way.refresh(&mut worker);
            self.judge(&worker);
            if worker.stopping() {
                return;
            }
            if self.way == Way::SilencedLate {
                bell.silence();
            }
            bell.sleep();
            self.way.refresh(&mut worker);
            self.judge(&worker);
            if self.way != Way::SilencedLate {
                bell.silence();
            }
        }
    }

    /// What a packet of a burst would be judged by.
    fn judge(&self, worker: &Worker) {
        let live = self.live.load(Ordering::Acquire);
        let (policy, ports) = (**worker.policy(), **worker.ports());
        assert!(policy >= live, "judged by {policy} when {live} was live");
        assert!(ports >= policy, "a policy without its ports");
    }

    /// Wakes the workers and waits until all have an epoch.
    fn settle(&self, epoch: u64) {
        self.bells.iter().for_each(Bell::ring);
        let all = || self.marks.iter().all(|mark| mark.has(epoch));
        assert!(self.publication.wait(Duration::from_secs(3_600), all), "an hour would not have been enough");
    }
}

/// The control side changes ports and policy once, then stops the workers.
fn a_change_reaches_all(way: Way, workers: usize, preemptions: usize) {
    explore(preemptions, move || {
        let stage = Stage::new(way, workers);
        let threads = Stage::start(&stage);
        let publication = &stage.publication;
        publication.publish_ports(2);
        let (old, epoch) = way.publish_policy(publication, 2);
        stage.settle(epoch);
        // As the data plane does. It also shows the checker that the order of this and a worker's look at the slot matters,
        // which it cannot tell by the count of references.
        assert_eq!(*publication.policy(), 2);
        assert!(stage.marks.iter().all(|mark| mark.generation() == 2), "acknowledged, not taken up");
        assert_eq!(Arc::strong_count(&old), 1, "the old policy is used");
        stage.live.store(2, Ordering::Release);
        publication.stop();
        stage.bells.iter().for_each(Bell::ring);
        for thread in threads {
            thread.join().expect("a panic ends the model");
        }
    });
}

fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}

fn finds(complaint: &str, check: impl FnOnce()) -> bool {
    let Err(end) = catch_unwind(AssertUnwindSafe(check)) else {
        return false;
    };
    let text = end.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| end.downcast_ref::<&str>().copied()).unwrap_or_default().contains(complaint)
}

#[test]
fn a_change_reaches_a_worker() {
    a_change_reaches_all(Way::AsItIs, 1, 3);
}

#[test]
fn a_change_reaches_every_worker() {
    a_change_reaches_all(Way::AsItIs, 2, 2);
}

#[test]
fn wrong_ways_are_found() {
    let finds = |way, complaint| finds(complaint, || a_change_reaches_all(way, 1, 3));
    assert!(finds(Way::RaisedEarly, "acknowledged, not taken up"));
    assert!(finds(Way::PortsFirst, "a policy without its ports"));
    assert!(finds(Way::AcknowledgedEarly, "the old policy is used"));
    assert!(finds(Way::Unguarded, "deadlock"));
    assert!(finds(Way::SilencedLate, "deadlock"));
}
