//! The control socket: how the commands and the running daemon talk. See `docs/control-socket.md`.

pub(crate) mod client;
pub(crate) mod protocol;
pub(crate) mod server;
pub(crate) mod socket;
