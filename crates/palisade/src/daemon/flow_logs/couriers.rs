//! Threads that deliver, one per spool: a destination that hangs keeps nobody waiting but itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use palisade_flowlog::{Courier, Figures, Round};

/// Longest time between two looks at a spool, so that what is sealed is delivered at once for a person (FL-78).
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long all couriers together may take for what is sealed when the daemon stops.
pub(super) const LAST_CALL: Duration = Duration::from_secs(5);

/// Who delivers.
#[derive(Debug, Default)]
pub(super) struct Couriers(Vec<OnTheRoad>);

#[derive(Debug)]
struct OnTheRoad {
    log: String,
    news: Arc<News>,
    thread: JoinHandle<()>,
}

/// What a courier's thread and the others tell each other.
#[derive(Debug, Default)]
struct News {
    figures: Mutex<Figures>,
    stopping: AtomicBool,
}

impl Couriers {
    /// Sends couriers out. One for which no thread is to be had leaves its spool to the next daemon.
    pub(super) fn send(&mut self, couriers: Vec<Courier>) {
        self.0.retain(|courier| !courier.thread.is_finished());
        for courier in couriers {
            let log = courier.address().log.clone();
            let news = Arc::new(News::default());
            let own = Arc::clone(&news);
            match thread::Builder::new().name("palisade-post".to_owned()).spawn(move || own.run(courier)) {
                Ok(thread) => self.0.push(OnTheRoad { log, news, thread }),
                Err(error) => {
                    tracing::error!(log, %error, "no thread delivers its records; restart the daemon");
                }
            }
        }
    }

    /// What those of each flow log have done.
    pub(super) fn figures(&self) -> HashMap<&str, Figures> {
        let figures = self.0.iter().map(|courier| {
            let figures = courier.news.figures.lock().unwrap_or_else(PoisonError::into_inner);
            (&*courier.log, figures.clone())
        });
        figures.collect()
    }

    /// Has them deliver what is sealed, and ends them. One that takes too long, longer than the patience that there is for all of
    /// them, is left behind; it ends with the process, and what it has not delivered stays in its spool.
    pub(super) fn recall(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        for courier in &self.0 {
            courier.news.stopping.store(true, Ordering::Release);
            courier.thread.thread().unpark();
        }
        for courier in self.0.drain(..) {
            while !courier.thread.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
            match courier.thread.is_finished() {
                true if courier.thread.join().is_err() => {
                    tracing::error!(log = courier.log, "its courier has panicked; records wait in the spool");
                }
                true => {}
                false => {
                    tracing::warn!(log = courier.log, "its records wait in the spool for the next start");
                }
            }
        }
    }
}

impl News {
    fn run(&self, mut courier: Courier) {
        let mut error = None;
        loop {
            let is_last = self.stopping.load(Ordering::Acquire);
            let round = courier.deliver(now());
            let figures = courier.figures().clone();
            if figures.error != error {
                tell(&courier.address().log, figures.error.as_deref());
                error.clone_from(&figures.error);
            }
            *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures;
            if is_last || round == Round::Done {
                return;
            }
            thread::park_timeout(LOOK_EVERY);
        }
    }
}

/// Destinations go by the wall clock, whatever the clock of the packets.
fn now() -> u32 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn tell(log: &str, error: Option<&str>) {
    if let Some(error) = error {
        tracing::warn!(log, error, "records of a flow log cannot be delivered; they wait");
    } else {
        tracing::info!(log, "records of a flow log are delivered again");
    }
}

#[cfg(test)]
#[path = "couriers_tests.rs"]
mod tests;
