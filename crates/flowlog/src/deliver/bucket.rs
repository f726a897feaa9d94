//! Objects in a bucket of S3, or of a store that speaks its protocol.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use palisade_policy::flow_log::{Objects, Service};
use sha2::{Digest as _, Sha256};

use super::directory;
use super::service::{Body, Client, Clock, Fault, Keyring, domain};
use crate::object;
use crate::spool::{Address, Segment};

/// File beside the segments in which an object is made ready. It is written anew for each.
const DRAFT: &str = "object.draft";

/// A bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    client: Client,
    /// What stands before keys: a slash, or the bucket between two.
    root: String,
    objects: Objects,
}

impl Bucket {
    /// Without an endpoint the bucket is part of the host's name, as AWS wants it, unless it has dots, which certificates of
    /// wildcards do not cover; stores behind an endpoint have it in the path.
    pub(super) fn new(bucket: &str, objects: &Objects, service: &Service, keyring: Keyring) -> Self {
        let host = format!("s3.{}.{}", service.region, domain(&service.region));
        let is_host = service.endpoint.is_none() && !bucket.contains('.');
        let (host, root) = if is_host {
            (format!("{bucket}.{host}"), "/".to_owned())
        } else {
            (host, format!("/{bucket}/"))
        };
        Self { client: Client::new(service, "s3", &host, keyring), root, objects: objects.clone() }
    }

    /// Puts a segment as one object. A store shows it whole, under the same key however often it is put, or not at all.
    pub(super) fn put(&mut self, address: &Address, segment: &Segment, clock: Clock) -> io::Result<()> {
        let draft = segment.path.with_file_name(DRAFT);
        let sha256 = write(segment, &self.objects, &draft)?;
        let path = format!("{}{}", self.root, directory::key(address, &self.objects, segment));
        let body = Body::File { file: &File::open(&draft)?, sha256 };
        self.client.put(&path, &body, clock).map_err(named)?;
        fs::remove_file(&draft)
    }
}

/// AWS's words for what it refuses when a flow log is created, and we find when we deliver (FL-74).
fn named(fault: Fault) -> Fault {
    let word = match &*fault.code {
        "NoSuchBucket" => "LogDestinationNotFound",
        "AccessDenied" => "LogDestinationPermissionIssue",
        _ => return fault,
    };
    Fault { code: format!("{word}: {}", fault.code), ..fault }
}

/// Writes the object; gives the SHA-256 of its bytes.
fn write(segment: &Segment, objects: &Objects, draft: &Path) -> io::Result<[u8; 32]> {
    let text = BufReader::new(File::open(&segment.path)?);
    let mut out = Hashing { inner: BufWriter::new(File::create(draft)?), digest: Sha256::new() };
    object::write(objects.format, text, &mut out)?;
    out.flush()?;
    Ok(out.digest.finalize().into())
}

/// Hashes what it writes.
struct Hashing<W> {
    inner: W,
    digest: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
