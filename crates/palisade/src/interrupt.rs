//! SIGINT, SIGTERM and SIGHUP: noted, so that what is under way ends at its next step and leaves everything in order.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Whether a signal came.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<Note>);

#[derive(Debug, Default)]
struct Note {
    came: Mutex<bool>,
    bell: Condvar,
}

impl Interrupt {
    /// Takes the signals over, on a thread of its own, until the process ends.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub(crate) fn watch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listen = |kind| runtime.block_on(async { signal(kind) });
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut hangup = listen(SignalKind::hangup())?;
        let note = Arc::<Note>::default();
        let own = Arc::clone(&note);
        thread::Builder::new().name("palisade-signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
            });
            *own.came() = true;
            own.bell.notify_all();
        })?;
        Ok(Self(note))
    }

    /// Takes over none.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(Arc::default())
    }

    /// Whether one came.
    pub(crate) fn came(&self) -> bool {
        *self.0.came()
    }

    /// Waits so long, or until one comes; whether one came.
    pub(crate) fn comes_within(&self, time: Duration) -> bool {
        let waited = self.0.bell.wait_timeout_while(self.0.came(), time, |came| !*came);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Note {
    fn came(&self) -> MutexGuard<'_, bool> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
