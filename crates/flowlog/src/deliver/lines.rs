//! A JSON object per line, on standard output or to a unix socket.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use palisade_policy::flow_log::{Format, LineTarget};

use crate::row;
use crate::spool::Segment;

/// How long a listener may leave a line unread before the segment is tried again later.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes a segment's records. If that fails half-way, those that were written come again.
pub(super) fn put(target: &LineTarget, segment: &Segment) -> io::Result<()> {
    match target {
        LineTarget::Stdout => write(segment, io::stdout().lock()),
        LineTarget::Socket(path) => {
            let stream = UnixStream::connect(path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            write(segment, stream)
        }
    }
}

fn write(segment: &Segment, into: impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(into);
    let mut lines = BufReader::new(File::open(&segment.path)?).lines();
    let header = lines.next().transpose()?.unwrap_or_default();
    let format = Format::parse_header(&header).map_err(io::Error::other)?;
    for line in lines {
        serde_json::to_writer(&mut out, &row::json(&format, &line?))?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
