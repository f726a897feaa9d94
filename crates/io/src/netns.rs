//! Work inside a named network namespace, on a thread of its own.
//!
//! A thread that has entered a namespace never returns from it: it ends with the work. Descriptors opened there belong
//! to the namespace for as long as they live, whoever uses them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::error::PortError;

/// Where `ip netns` binds namespaces to names.
const DIRECTORY: &str = "/run/netns";

/// Runs `work` inside the namespace, or, without one, inside the caller's, and returns what it returns.
pub(crate) fn inside<T: Send>(
    netns: Option<&str>,
    work: impl FnOnce() -> Result<T, PortError> + Send,
) -> Result<T, PortError> {
    let namespace = netns.map(open).transpose()?;
    let enter = move || {
        if let (Some(namespace), Some(name)) = (namespace, netns) {
            setns(namespace, CloneFlags::CLONE_NEWNET)
                .map_err(|errno| PortError::NetnsEnter { netns: name.to_owned(), source: errno.into() })?;
        }
        work()
    };
    thread::scope(|scope| scope.spawn(enter).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

fn open(netns: &str) -> Result<File, PortError> {
    if netns.is_empty() || netns.contains('/') || netns.starts_with('.') {
        return Err(PortError::NetnsMissing { netns: netns.to_owned() });
    }
    File::open(Path::new(DIRECTORY).join(netns)).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => PortError::NetnsMissing { netns: netns.to_owned() },
        _ => PortError::NetnsEnter { netns: netns.to_owned(), source },
    })
}
