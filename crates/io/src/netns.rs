//! Named network namespaces: made and removed as `ip netns` does it, and work inside one, on a thread of its own.
//!
//! A thread that has entered a namespace never returns from it: it ends with the work. Descriptors opened there belong
//! to the namespace for as long as they live, whoever uses them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::PortError;

/// Where `ip netns` binds namespaces to names.
const DIRECTORY: &str = "/run/netns";

/// A network namespace under `/run/netns`, removed on drop, with all devices that are in it by then.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose own stack sends nothing by itself: IPv6 is off and there is no address.
    ///
    /// # Errors
    /// The name is taken or no file name, or a capability is missing.
    pub fn silent(name: &str) -> Result<Self, PortError> {
        let path = path(name)?;
        let failed = |source| PortError::NetnsMake { netns: name.to_owned(), source };
        fs::create_dir_all(DIRECTORY).and_then(|()| File::create_new(&path)).map_err(failed)?;
        // From here on its drop removes what there is.
        let made = Self { name: name.to_owned() };
        let setup = || {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(io::Error::from)
                .and_then(|()| hush())
                .and_then(|()| bind(&path))
        };
        thread::scope(|scope| {
            scope.spawn(setup).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .map_err(failed)?;
        Ok(made)
    }

    /// Takes over a namespace that somebody else has left behind.
    #[must_use]
    pub fn adopt(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let Ok(path) = path(&self.name) else { return };
        // Either fails only if somebody else has done it.
        let _ = umount2(&path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&path);
    }
}

/// Names of the namespaces under `/run/netns`.
///
/// # Errors
/// The directory cannot be read.
pub fn namespaces() -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Switches IPv6 off in the current thread's namespace, for interfaces to come. A kernel without it has no such file.
fn hush() -> io::Result<()> {
    for scope in ["all", "default"] {
        match fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives the current thread's namespace a name that keeps it alive.
fn bind(path: &Path) -> io::Result<()> {
    let none = None::<&str>;
    Ok(mount(Some("/proc/thread-self/ns/net"), path, none, MsFlags::MS_BIND, none)?)
}

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

fn path(netns: &str) -> Result<PathBuf, PortError> {
    if netns.is_empty() || netns.contains('/') || netns.starts_with('.') {
        return Err(PortError::NetnsMissing { netns: netns.to_owned() });
    }
    Ok(Path::new(DIRECTORY).join(netns))
}

/// A descriptor of the namespace.
pub(crate) fn open(netns: &str) -> Result<File, PortError> {
    File::open(path(netns)?).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => PortError::NetnsMissing { netns: netns.to_owned() },
        _ => PortError::NetnsEnter { netns: netns.to_owned(), source },
    })
}
