//! Objects in a local directory.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::Path;

use palisade_policy::flow_log::Objects;

use crate::object::{self, Key};
use crate::spool::{Address, Segment, sync_directory};

/// Writes a segment as an object. It appears whole, under the same key whenever it is put, or not at all.
pub(super) fn put(address: &Address, root: &Path, objects: &Objects, segment: &Segment) -> io::Result<()> {
    let hash = segment.hash(&address.spool, &address.log);
    let object = root.join(key(address, objects, segment));
    let folder = object.parent().unwrap_or(root);
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".{}-{hash}.draft", address.log));
    write(segment, objects, &draft).inspect_err(|_| drop(fs::remove_file(&draft)))?;
    fs::rename(&draft, &object)?;
    sync_directory(&object)
}

/// The key of a segment's object, the same however often it is asked for.
pub(super) fn key(address: &Address, objects: &Objects, segment: &Segment) -> String {
    let key = Key {
        objects,
        account: &address.account,
        region: &address.region,
        log: &address.log,
        slot: segment.slot,
        hash: &segment.hash(&address.spool, &address.log),
    };
    key.path()
}

fn write(segment: &Segment, objects: &Objects, draft: &Path) -> io::Result<()> {
    let text = BufReader::new(File::open(&segment.path)?);
    let mut out = BufWriter::new(File::create(draft)?);
    object::write(objects.format, text, &mut out)?;
    out.flush()?;
    out.get_ref().sync_all()
}
