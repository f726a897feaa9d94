//! Files of a spool.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// A file that is sealed: it will not change, and waits for delivery.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Segment {
    /// Number in its spool, never given twice.
    pub number: u64,
    /// First second of the slot in which its records end.
    pub slot: u32,
    /// The file: a header and lines of text.
    pub path: PathBuf,
}

/// How a file's name tells whether it is sealed.
pub(super) const SEALED: &str = "seg";
/// A file that is still written.
pub(super) const OPEN: &str = "open";

impl Segment {
    /// The sealed files of a directory, the oldest first.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn list(directory: &Path) -> io::Result<Vec<Self>> {
        Self::list_with(directory, SEALED)
    }

    pub(super) fn list_with(directory: &Path, extension: &str) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension() == Some(OsStr::new(extension)) {
                found.extend(Self::at(path));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The file of a number and a slot.
    pub(super) fn named(directory: &Path, slot: u32, number: u64, extension: &str) -> Self {
        let path = directory.join(format!("{slot:010}-{number}.{extension}"));
        Self { number, slot, path }
    }

    fn at(path: PathBuf) -> Option<Self> {
        let (slot, number) = path.file_stem()?.to_str()?.split_once('-')?;
        Some(Self { number: number.parse().ok()?, slot: slot.parse().ok()?, path })
    }

    /// Eight hexadecimal digits that this segment has wherever and how often it is delivered, and no other of its flow log
    /// and slot.
    #[must_use]
    pub fn hash(&self, spool: &str, log: &str) -> String {
        let name = format!("{spool} {log} {} {}", self.slot, self.number);
        let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        format!("{:08x}", u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
    }
}
