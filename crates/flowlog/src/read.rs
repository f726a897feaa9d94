//! Published files, read back: ours and AWS's, whatever fields they have.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use palisade_policy::flow_log::Field;

/// First bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A file of records, being read.
pub struct Records {
    names: Vec<String>,
    lines: Lines,
}

type Lines = Box<dyn Iterator<Item = io::Result<String>>>;

impl Records {
    /// Opens a file: text, compressed or not, whose first line names the fields, or Parquet.
    ///
    /// # Errors
    ///
    /// It cannot be read, or names no field of flow-log records.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        #[cfg(feature = "parquet")]
        if file.fill_buf()?.starts_with(b"PAR1") {
            let (names, lines) = crate::columns::read(path)?;
            return Self::with(names, Box::new(lines));
        }
        let is_gzip = file.fill_buf()?.starts_with(&GZIP);
        if is_gzip { Self::text(MultiGzDecoder::new(file)) } else { Self::text(file) }
    }

    fn text(text: impl Read + 'static) -> io::Result<Self> {
        let mut lines = BufReader::with_capacity(1 << 16, text).lines();
        let header = lines.next().transpose()?.unwrap_or_default();
        Self::with(header.split_ascii_whitespace().map(str::to_owned).collect(), Box::new(lines))
    }

    fn with(names: Vec<String>, lines: Lines) -> io::Result<Self> {
        if !names.iter().any(|name| Field::named(name).is_some()) {
            let what = "no field of flow-log records is named there";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self { names, lines })
    }

    /// Names of the fields, in the order of the values.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl Iterator for Records {
    type Item = io::Result<String>;

    /// The next record: values between blanks.
    fn next(&mut self) -> Option<Self::Item> {
        self.lines.next()
    }
}

/// The published files that paths mean: files themselves, and of folders every `.log`, `.gz` and `.parquet` below, in
/// the order of their names.
///
/// # Errors
///
/// A path that is not there, or a folder that cannot be read; with its name.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    for path in paths {
        collect(path, true, &mut found).map_err(|error| (path.clone(), error))?;
    }
    Ok(found)
}

fn collect(path: &Path, named: bool, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    if fs::metadata(path)?.is_dir() {
        let entries: io::Result<Vec<_>> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect();
        let mut entries = entries?;
        entries.sort_unstable();
        return entries.iter().try_for_each(|entry| collect(entry, false, found));
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    if named || (!is_hidden && matches!(extension, Some("log" | "gz" | "parquet"))) {
        found.push(path.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn text_is_read_whether_compressed_or_not() {
        let root = tempfile::TempDir::new().unwrap();
        let text = "version srcaddr new-field-2\n2 10.0.0.1 x\n2 10.0.0.2 -\n";
        let (plain, packed) = (root.path().join("a.log"), root.path().join("sub/b.log.gz"));
        fs::create_dir(root.path().join("sub")).unwrap();
        fs::write(&plain, text).unwrap();
        fs::write(root.path().join("sub/.draft.gz"), text).unwrap();
        fs::write(root.path().join("sub/other.txt"), text).unwrap();
        crate::object::write_gzip(text.as_bytes(), File::create(&packed).unwrap()).unwrap();
        // AWS's files may be several members.
        crate::object::write_gzip(
            &b"2 10.0.0.3 y\n"[..],
            File::options().append(true).open(&packed).unwrap(),
        )
        .unwrap();
        let files = find(&[root.path().to_owned()]).unwrap();
        assert_eq!(files, [plain.clone(), packed.clone()]);
        let lines = |path: &Path| Records::open(path).unwrap().collect::<io::Result<Vec<_>>>().unwrap();
        assert_eq!(lines(&plain), ["2 10.0.0.1 x", "2 10.0.0.2 -"]);
        assert_eq!(lines(&packed).len(), 3);
        assert_eq!(Records::open(&plain).unwrap().names(), ["version", "srcaddr", "new-field-2"]);
    }

    #[test]
    fn what_is_no_flow_log_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        assert!(Records::open(file.path()).is_err(), "empty");
        file.write_all(b"2 123456789010 eni-1\n").unwrap();
        assert!(Records::open(file.path()).is_err(), "no header");
        assert_eq!(find(&["/no/such/path".into()]).unwrap_err().0, PathBuf::from("/no/such/path"));
    }
}
