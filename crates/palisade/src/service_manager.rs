//! What systemd, or whatever started the daemon, is told; nothing where there is none.

use sd_notify::NotifyState;

/// The daemon forwards.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The daemon is about to end.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The daemon reads its configuration again; [`ready`] ends that, whatever came of it.
pub(crate) fn reloading() {
    // Type=notify-reload asks for the time; the other types do without.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
