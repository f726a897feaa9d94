//! What published objects are called, and their plain-text form (FL-71, FL-72, FL-73).

use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};

use flate2::{Compression, GzBuilder};
use palisade_policy::flow_log::{FileFormat, Objects};

use crate::stamp::Stamp;

/// Seconds of the slots by which records are published.
pub const SLOT: u32 = 300;

/// Bytes of text after which an object is published before its slot has ended.
pub const LARGEST: u64 = 75_000_000;

/// What an object's key is made of.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Layout of the flow log.
    pub objects: &'a Objects,
    /// Account that owns the flow log.
    pub account: &'a str,
    /// Its Region.
    pub region: &'a str,
    /// `fl-…`.
    pub log: &'a str,
    /// First second of the slot in which the records end.
    pub slot: u32,
    /// Eight hexadecimal digits that tell the objects of a slot apart, the same for the same object.
    pub hash: &'a str,
}

impl Key<'_> {
    /// The key, without a slash at its beginning.
    #[must_use]
    pub fn path(&self) -> String {
        let Self { objects, account, region, log, slot, hash } = self;
        let Stamp { year, month, day, hour, minute } = Stamp::of(*slot);
        let slash = if objects.prefix.is_empty() { "" } else { "/" };
        let mut path = format!("{}{slash}AWSLogs/", objects.prefix);
        // Writing to a String cannot fail.
        let _ = if objects.hive_compatible {
            let owner = format_args!("aws-account-id={account}/aws-service=vpcflowlogs/aws-region={region}");
            write!(path, "{owner}/year={year}/month={month:02}/day={day:02}/")
        } else {
            write!(path, "{account}/vpcflowlogs/{region}/{year}/{month:02}/{day:02}/")
        };
        if objects.per_hour {
            let _ = write!(path, "{}{hour:02}/", if objects.hive_compatible { "hour=" } else { "" });
        }
        let stamp = format_args!("{year}{month:02}{day:02}T{hour:02}{minute:02}Z");
        let _ =
            write!(path, "{account}_vpcflowlogs_{region}_{log}_{stamp}_{hash}{}", objects.format.suffix());
        path
    }
}

/// Writes a segment's text in the form that objects have.
///
/// # Errors
///
/// Those of the reader and the writer.
pub(crate) fn write(format: FileFormat, text: impl BufRead, into: impl Write + Send) -> io::Result<()> {
    match format {
        FileFormat::PlainText => write_gzip(text, into),
        #[cfg(feature = "parquet")]
        FileFormat::Parquet => crate::columns::write(text, into),
        #[cfg(not(feature = "parquet"))]
        FileFormat::Parquet => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "this build writes no Parquet"))
        }
    }
}

/// Writes a segment's text as gzip; the same text gives the same bytes.
///
/// # Errors
///
/// Those of the reader and the writer.
pub(crate) fn write_gzip(mut text: impl Read, into: impl Write) -> io::Result<()> {
    let mut encoder = GzBuilder::new().mtime(0).write(into, Compression::default());
    io::copy(&mut text, &mut encoder)?;
    encoder.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(objects: &Objects) -> String {
        let key = Key {
            objects,
            account: "123456789012",
            region: "us-east-1",
            log: "fl-1234abcd",
            slot: 1_534_868_400,
            hash: "fe123456",
        };
        key.path()
    }

    /// FL-71: AWS's own example of a name.
    #[test]
    fn fl_71_keys() {
        let name = "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20180821T1620Z_fe123456.log.gz";
        let plain = Objects::default();
        assert_eq!(key(&plain), format!("AWSLogs/123456789012/vpcflowlogs/us-east-1/2018/08/21/{name}"));
        let prefixed = Objects { prefix: "a/b".into(), per_hour: true, ..plain };
        assert_eq!(
            key(&prefixed),
            format!("a/b/AWSLogs/123456789012/vpcflowlogs/us-east-1/2018/08/21/16/{name}")
        );
    }

    /// FL-72: with and without an hour.
    #[test]
    fn fl_72_hive_compatible_keys() {
        let name = "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20180821T1620Z_fe123456.log.gz";
        let folder = "AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=us-east-1/year=2018/month=08/day=21";
        let hive = Objects { hive_compatible: true, ..Objects::default() };
        assert_eq!(key(&hive), format!("{folder}/{name}"));
        assert_eq!(key(&Objects { per_hour: true, ..hive }), format!("{folder}/hour=16/{name}"));
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn fl_73_parquet_keys() {
        let parquet = Objects { format: FileFormat::Parquet, ..Objects::default() };
        assert!(key(&parquet).ends_with("_20180821T1620Z_fe123456.log.parquet"));
    }

    /// FL-73; a segment delivered twice must be the same object.
    #[test]
    fn fl_73_gzip_is_the_same_for_the_same_text() {
        let text = "version srcaddr\n2 10.0.0.1\n";
        let [one, two] = [(), ()].map(|()| {
            let mut out = Vec::new();
            write_gzip(text.as_bytes(), &mut out).unwrap();
            out
        });
        assert_eq!(one, two);
        let mut back = String::new();
        flate2::read::GzDecoder::new(&*one).read_to_string(&mut back).unwrap();
        assert_eq!(back, text);
    }
}
