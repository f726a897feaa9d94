//! What the writer of a spool and whoever delivers from it share.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use palisade_policy::flow_log::Destination;
use serde::{Deserialize, Serialize};

use super::segment::Segment;
use crate::subscription::FlowLog;

/// File in which a spool says whose it is.
const ADDRESS: &str = "address.json";

/// A flow log's directory on disk, and the room in it. Shared by the thread that writes records and the one that delivers.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    address: Address,
    /// Bytes of all its files at most.
    limit: u64,
    used: AtomicU64,
    life: Mutex<Life>,
}

/// Where the records of a spool go, as long as there are any: kept on disk, because the flow log may be gone by then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Address {
    /// `fl-…`.
    pub log: String,
    /// Account that owns it.
    pub account: String,
    /// Its Region.
    pub region: String,
    /// Where its records go.
    pub destination: Destination,
    /// Name of this spool, drawn by lot when it was made: segments of another one are others, whatever their numbers.
    pub spool: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    /// Records come.
    Fed,
    /// The flow log is deleted; what there is will be delivered.
    Ended,
    /// All is delivered, and the directory is removed.
    Removed,
}

impl Address {
    /// Of a new spool.
    fn new(log: &FlowLog) -> Self {
        Self {
            log: log.id.clone(),
            account: log.account.clone(),
            region: log.region.clone(),
            destination: log.destination.clone(),
            spool: lot(),
        }
    }
}

impl Store {
    /// Makes the directory of a flow log under `root`, or takes up what an earlier process left there.
    ///
    /// # Errors
    ///
    /// A file or directory cannot be read or written, or records wait there that were to go somewhere else.
    pub(super) fn open(root: &Path, log: &FlowLog, limit: u64) -> io::Result<Self> {
        let directory = root.join(&log.id);
        fs::create_dir_all(&directory)?;
        let file = directory.join(ADDRESS);
        let address = Address::new(log);
        let known: Option<Address> = match fs::read(&file) {
            Ok(text) => Some(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match known {
            Some(known) if known == (Address { spool: known.spool.clone(), ..address.clone() }) => {
                return Ok(Self::with(directory, known, limit));
            }
            Some(known) if !Segment::list(&directory)?.is_empty() => {
                let (place, id, to) = (directory.display(), &log.id, &known.destination);
                let what = format!(
                    "records of {id} wait in {place} that go to {to}; give the changed flow log another id (FL-5)"
                );
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
            }
            // Whatever goes to the new place has names of its own there, as the spool has.
            _ => write_whole(&file, &serde_json::to_vec_pretty(&address)?)?,
        }
        Ok(Self::with(directory, address, limit))
    }

    /// Takes up the directory of a flow log that may be gone.
    ///
    /// # Errors
    ///
    /// It is none, or cannot be read.
    pub(super) fn reopen(directory: PathBuf, limit: u64) -> io::Result<Self> {
        let address = serde_json::from_slice(&fs::read(directory.join(ADDRESS))?)?;
        Ok(Self::with(directory, address, limit))
    }

    fn with(directory: PathBuf, address: Address, limit: u64) -> Self {
        Self { directory, address, limit, used: AtomicU64::new(0), life: Mutex::new(Life::Fed) }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whose it is.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Bytes that wait for delivery, those that are not on disk yet included.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// Takes room; false, and nothing taken, if there is not enough.
    pub(super) fn reserve(&self, bytes: u64) -> bool {
        let take = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    /// Takes room for what is there already, whether there is enough or not.
    pub(super) fn occupy(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Gives room back.
    pub(crate) fn release(&self, bytes: u64) {
        let give = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, give);
    }

    /// No more records come.
    pub(super) fn end(&self) {
        self.change(|life| if life == Life::Fed { Life::Ended } else { life });
    }

    /// Records come again; false if the directory is gone.
    pub(super) fn revive(&self) -> bool {
        self.change(|life| if life == Life::Ended { Life::Fed } else { life }) != Life::Removed
    }

    /// Removes the directory, if no more records come and none are left. True if it is removed.
    pub(crate) fn remove_if_ended(&self) -> bool {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        if *life == Life::Ended && self.used() == 0 {
            // What cannot be removed is taken up by the next process, which finds nothing to deliver.
            let _ = fs::remove_dir_all(&self.directory);
            *life = Life::Removed;
        }
        *life == Life::Removed
    }

    fn change(&self, to: impl Fn(Life) -> Life) -> Life {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        *life = to(*life);
        *life
    }
}

/// Writes a file so that it is there wholly or not at all, also after a crash.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_directory(path)
}

/// Makes a change of the directory that holds a file last.
pub(crate) fn sync_directory(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Sixteen random digits.
fn lot() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
