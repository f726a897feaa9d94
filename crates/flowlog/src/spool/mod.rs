//! The spool: a flow log's records on disk, until their destination has taken them.
//!
//! Lines are written to a file per slot of five minutes, which is sealed, under its final number, when the slot is over. What was
//! written survives the process; of a file that was not sealed, the whole lines are taken up by the next one. Owned by the
//! flow-log thread; the store is shared with whoever delivers.

mod segment;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

pub use segment::Segment;
pub(crate) use store::sync_directory;
pub use store::{Address, Store};

use palisade_policy::flow_log::Destination;

use crate::object::{LARGEST, SLOT};
use crate::subscription::FlowLog;
use segment::{OPEN, SEALED};
use store::write_whole;

/// File that holds the number of the next segment.
const NEXT: &str = "next";

/// What stands before the fields where each record belongs to a stream.
const STREAM: &str = "log-stream timestamp ";

/// Bytes of text after which a segment is sealed whose destination does not make an object of it: as much as a failure or a
/// crash may make come again, and as is held in memory at once.
const LARGEST_PORTION: u64 = 4 << 20;

/// Bytes after which lines are written to the file without being asked.
const BUFFER: usize = 256 * 1024;

/// Writes the records of one flow log.
#[derive(Debug)]
pub struct Spool {
    store: Arc<Store>,
    header: String,
    /// Bytes of text after which a segment is sealed.
    largest: u64,
    next: u64,
    files: BTreeMap<u32, Writing>,
    lost: Lost,
    error: Option<String>,
}

/// Records of flows that had no room, or could not be written before the process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lost {
    /// Records.
    pub records: u64,
    /// Packets that they told of.
    pub packets: u64,
}

/// A file that is not sealed.
#[derive(Debug)]
struct Writing {
    segment: Segment,
    file: File,
    written: u64,
    buffer: Vec<u8>,
    /// What is in the buffer.
    pending: Lost,
}

impl Spool {
    /// The spool of a flow log under `root`, of at most `limit` bytes. What an earlier process left there is sealed.
    ///
    /// # Errors
    ///
    /// A file or directory cannot be read or written.
    pub fn open(root: &Path, log: &FlowLog, limit: u64) -> io::Result<Self> {
        seal_all_left(&root.join(&log.id))?;
        let store = Store::open(root, log, limit)?;
        let streams = matches!(log.destination, Destination::CloudWatchLogs { .. });
        let header = format!("{}{}\n", if streams { STREAM } else { "" }, log.format.header());
        Self::with(store, header)
    }

    /// The spools under `root` of flow logs other than `present`: they get no more records, and what they hold is sealed.
    ///
    /// # Errors
    ///
    /// The directory cannot be read. A spool that cannot be taken up is left alone and told beside the others.
    pub fn orphans(root: &Path, present: &[&str], limit: u64) -> io::Result<Vec<io::Result<Arc<Store>>>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_dir() && !present.iter().any(|id| name == **id) {
                let spool =
                    Store::reopen(entry.path(), limit).and_then(|store| Self::with(store, String::new()));
                found.push(spool.map(|spool| {
                    spool.store.end();
                    spool.store
                }));
            }
        }
        Ok(found)
    }

    fn with(store: Store, header: String) -> io::Result<Self> {
        let directory = store.directory();
        let makes_objects = store.address().destination.objects().is_some();
        let largest = if makes_objects { LARGEST } else { LARGEST_PORTION };
        seal_all_left(directory)?;
        let sealed = Segment::list(directory)?;
        for segment in &sealed {
            store.occupy(fs::metadata(&segment.path)?.len());
        }
        let noted = fs::read_to_string(directory.join(NEXT)).ok().and_then(|text| text.trim().parse().ok());
        let after = sealed.iter().map(|segment| segment.number + 1).max();
        let next = noted.max(after).unwrap_or(0);
        Ok(Self {
            store: Arc::new(store),
            header,
            largest,
            next,
            files: BTreeMap::new(),
            lost: Lost::default(),
            error: None,
        })
    }

    /// What whoever delivers shares.
    #[must_use]
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Takes a line, with its line break, of a record that ends at a second; `packets` if it is one of a flow. False if
    /// there is no room for it, or no file can be begun: then it is counted as lost.
    pub fn append(&mut self, line: &str, end: u32, packets: Option<u64>) -> bool {
        let one = packets.map_or_else(Lost::default, |packets| Lost { records: 1, packets });
        let slot = end - end % SLOT;
        let begun = if self.files.contains_key(&slot) { Ok(()) } else { self.start(slot) };
        let writing = begun.ok().and_then(|()| self.files.get_mut(&slot));
        let Some(writing) = writing.filter(|_| self.store.reserve(line.len() as u64)) else {
            self.lost.add(one);
            return false;
        };
        writing.buffer.extend_from_slice(line.as_bytes());
        writing.pending.add(one);
        if writing.buffer.len() >= BUFFER {
            self.write(slot);
        }
        true
    }

    /// Writes what was taken to the files: from here on it survives the process. What cannot be written stays in memory,
    /// within the bound of the spool, and is tried again.
    pub fn flush(&mut self) {
        let slots: Vec<_> = self.files.keys().copied().collect();
        for slot in slots {
            self.write(slot);
        }
    }

    /// Seals the files of slots that a condition holds for; those without a record vanish.
    pub fn seal(&mut self, is_over: impl Fn(u32) -> bool) {
        self.flush();
        let over: Vec<_> = self.files.keys().copied().filter(|slot| is_over(*slot)).collect();
        for slot in over {
            self.seal_slot(slot);
        }
    }

    /// Seals everything: no more records come.
    pub fn end(&mut self) {
        self.seal(|_| true);
        self.store.end();
    }

    /// Whether records may come again after [`Spool::end`]; false if the directory is gone.
    #[must_use]
    pub fn revive(&self) -> bool {
        self.store.revive()
    }

    /// Counts what is still in memory as lost: the process ends.
    pub fn give_up(&mut self) {
        for writing in self.files.values_mut() {
            self.lost.add(std::mem::take(&mut writing.pending));
        }
    }

    /// Why the last write failed, if it did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// What was lost since the spool was opened.
    #[must_use]
    pub const fn lost(&self) -> Lost {
        self.lost
    }

    /// Begins the file of a slot. Its number is noted first, so that no later process gives it to another.
    fn start(&mut self, slot: u32) -> io::Result<()> {
        let header = self.header.len() as u64;
        if !self.store.reserve(header) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let begin = || {
            write_whole(&self.store.directory().join(NEXT), (self.next + 1).to_string().as_bytes())?;
            let segment = Segment::named(self.store.directory(), slot, self.next, OPEN);
            let mut file = OpenOptions::new().append(true).create_new(true).open(&segment.path)?;
            file.write_all(self.header.as_bytes())?;
            Ok((segment, file))
        };
        let (segment, file) = begin().inspect_err(|_: &io::Error| self.store.release(header))?;
        self.next += 1;
        let writing =
            Writing { segment, file, written: header, buffer: Vec::new(), pending: Lost::default() };
        self.files.insert(slot, writing);
        Ok(())
    }

    fn write(&mut self, slot: u32) {
        let Some(writing) = self.files.get_mut(&slot) else { return };
        match writing.file.write_all(&writing.buffer) {
            Ok(()) => {
                writing.written += writing.buffer.len() as u64;
                writing.buffer.clear();
                writing.pending = Lost::default();
                self.error = None;
            }
            Err(error) => {
                // Half a line must not stay behind; if this fails as well, the next process cuts it off.
                let _ = writing.file.set_len(writing.written);
                self.error = Some(error.to_string());
            }
        }
        if writing.written >= self.largest {
            self.seal_slot(slot);
        }
    }

    fn seal_slot(&mut self, slot: u32) {
        if self.files.get(&slot).is_none_or(|writing| !writing.buffer.is_empty()) {
            return;
        }
        let Some(Writing { segment, file, written, .. }) = self.files.remove(&slot) else { return };
        if written <= self.header.len() as u64 {
            let _ = fs::remove_file(&segment.path);
            self.store.release(written);
            return;
        }
        let sealed = Segment::named(self.store.directory(), slot, segment.number, SEALED);
        // Without the rename the next process seals it; the lines are there.
        let _ = file
            .sync_all()
            .and_then(|()| fs::rename(&segment.path, &sealed.path))
            .and_then(|()| sync_directory(&sealed.path));
    }
}

impl Lost {
    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.packets += other.packets;
    }
}

/// Seals what an earlier process has left open in a directory, if there is one.
fn seal_all_left(directory: &Path) -> io::Result<()> {
    let left = match Segment::list_with(directory, OPEN) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        left => left?,
    };
    left.iter().try_for_each(|left| seal_left(directory, left))
}

/// Seals a file that an earlier process did not: its whole lines. One without a record is removed.
fn seal_left(directory: &Path, left: &Segment) -> io::Result<()> {
    let text = fs::read(&left.path)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if text[..whole].split_inclusive(|byte| *byte == b'\n').nth(1).is_none() {
        return fs::remove_file(&left.path);
    }
    let file = OpenOptions::new().write(true).open(&left.path)?;
    file.set_len(whole as u64)?;
    file.sync_all()?;
    let sealed = Segment::named(directory, left.slot, left.number, SEALED);
    fs::rename(&left.path, &sealed.path)?;
    sync_directory(&sealed.path)
}
