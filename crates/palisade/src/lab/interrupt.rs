//! SIGINT, SIGTERM and SIGHUP: noted, so that the play ends at its next step and everything is removed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Whether a signal came.
#[derive(Clone, Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes the signals over, on a thread of its own, until the process ends.
    pub(super) fn watch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listen = |kind| runtime.block_on(async { signal(kind) });
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut hangup = listen(SignalKind::hangup())?;
        let came = Arc::new(AtomicBool::new(false));
        let note = Arc::clone(&came);
        thread::Builder::new().name("palisade-signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
            });
            note.store(true, Ordering::Relaxed);
        })?;
        Ok(Self(came))
    }

    /// Takes over none.
    #[cfg(test)]
    pub(super) fn never() -> Self {
        Self(Arc::default())
    }

    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
