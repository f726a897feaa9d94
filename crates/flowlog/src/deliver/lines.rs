//! A JSON object per line, on standard output or to a unix socket.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use palisade_policy::flow_log::{Format, LineTarget};

use super::batch::Progress;
use crate::row;
use crate::spool::Segment;

/// How long a listener may leave a line unread before the segment is tried again later.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that a pipe takes at once, or not at all, when it says that there is room: `PIPE_BUF` of Linux.
const PIPE: usize = 4096;

/// Somebody who reads lines.
#[derive(Debug)]
pub(super) struct Lines {
    target: LineTarget,
    progress: Progress,
}

impl Lines {
    pub(super) fn new(target: &LineTarget) -> Self {
        Self { target: target.clone(), progress: Progress::default() }
    }

    /// Writes a segment's records. If that fails half-way, a socket's next listener gets all of them; standard output is the
    /// same reader as before, and gets the rest.
    pub(super) fn put(&mut self, segment: &Segment) -> io::Result<()> {
        match &self.target {
            LineTarget::Stdout => {
                self.progress.with(segment);
                // Not by way of `Stdout`, whose lock somebody may hold for as long as the process lives.
                let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                write_portions(jsons(segment)?, &mut self.progress.done, &out)
            }
            LineTarget::Socket(path) => write_to_socket(jsons(segment)?, path),
        }
    }
}

/// A segment's records as JSON, each with its line break.
fn jsons(segment: &Segment) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>>> {
    let mut lines = BufReader::new(File::open(&segment.path)?).lines();
    let header = lines.next().transpose()?.unwrap_or_default();
    let format = Format::parse_header(&header).map_err(io::Error::other)?;
    Ok(lines.map(move |line| {
        let mut text = serde_json::to_vec(&row::json(&format, &line?))?;
        text.push(b'\n');
        Ok(text)
    }))
}

fn write_to_socket(lines: impl Iterator<Item = io::Result<Vec<u8>>>, path: &Path) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let stream = UnixStream::connect(path).map_err(named)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut out = BufWriter::new(stream);
    for line in lines {
        out.write_all(&line?).map_err(named)?;
    }
    out.flush().map_err(named)
}

/// Writes whole lines, as many as a pipe surely takes at once, each time that there is room; counts those that are written. So a
/// reader that has stopped holds up neither this thread nor anybody who wants to write there too.
fn write_portions(
    lines: impl Iterator<Item = io::Result<Vec<u8>>>,
    done: &mut usize,
    mut out: &File,
) -> io::Result<()> {
    let (mut portion, mut count) = (Vec::new(), 0);
    let mut lines = lines.skip(*done).peekable();
    while let Some(line) = lines.next() {
        portion.extend_from_slice(&line?);
        count += 1;
        let next = lines.peek().and_then(|line| line.as_ref().ok()).map_or(PIPE, Vec::len);
        if portion.len() + next > PIPE {
            wait(out)?;
            out.write_all(&portion)?;
            *done += std::mem::take(&mut count);
            portion.clear();
        }
    }
    Ok(())
}

/// Waits until there is room.
fn wait(out: &File) -> io::Result<()> {
    let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    let mut asked = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut asked, timeout) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "standard output: nobody reads")),
        // What is wrong, if anything is, the writing finds.
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    use super::*;

    fn lines(count: usize) -> impl Iterator<Item = io::Result<Vec<u8>>> {
        (0..count).map(|at| Ok(format!("{at} {}\n", "x".repeat(100)).into_bytes()))
    }

    /// A reader that stops reading gets whole lines only, is waited for, and gets the rest and nothing twice.
    #[test]
    fn a_reader_that_stops_gets_the_rest_later() {
        let (mut from, into) = io::pipe().unwrap();
        let into = File::from(OwnedFd::from(into));
        let mut done = 0;
        let write = |done: &mut usize| write_portions(lines(5_000), done, &into);
        let error = write(&mut done).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(done > 100 && done < 5_000, "{done}");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            from.read_to_string(&mut text).unwrap();
            text
        });
        write(&mut done).unwrap();
        assert_eq!(done, 5_000);
        drop(into);
        let expected: Vec<u8> = lines(5_000).flat_map(Result::unwrap).collect();
        assert!(reader.join().unwrap().as_bytes() == expected, "lines are missing, doubled or torn");
    }
}
