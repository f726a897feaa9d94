//! A wrapper that writes the frames of a port to a pcapng file, readable by Wireshark.
//!
//! Frames are copied into a bounded queue; a thread of the file's own writes them. The packet path never waits for the
//! disk: what the queue cannot take is left out and counted.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::{DataLink, Endianness, PcapError};

use crate::burst::Burst;
use crate::error::PortError;
use crate::port::{Capabilities, Outgoing, Receive, Transmit, TransmitError};

/// Most frames that wait for the disk.
const QUEUE_FRAMES: usize = 16_384;

/// Most bytes that wait for the disk.
const QUEUE_BYTES: usize = 64 << 20;

/// A capture file being written. It is complete when the last owner, the wrapped ends among them, has dropped it.
pub struct PcapWriter {
    queue: Option<Sender<Record>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    written: AtomicU64,
    lost: AtomicU64,
}

/// Direction as pcapng counts it (draft-ietf-opsawg-pcapng, section 4.3.1), seen from the port.
#[derive(Clone, Copy)]
enum Way {
    /// From the guest.
    Inbound = 1,
    /// To the guest.
    Outbound = 2,
}

struct Record {
    time: Duration,
    way: Way,
    frame: Box<[u8]>,
}

impl PcapWriter {
    /// Creates the file, or empties it, and starts its thread.
    ///
    /// # Errors
    /// The file cannot be created or its head not be written.
    pub fn create(path: &Path, interface: &str) -> Result<Arc<Self>, PortError> {
        let failed = |source| PortError::Capture { path: path.to_owned(), source };
        let file = File::create(path).map_err(failed)?;
        let writer = start(file, interface).map_err(|error| failed(into_io(error)))?;
        let (queue, records) = bounded(QUEUE_FRAMES);
        let counts = Arc::new(Counts::default());
        let work = Work { writer, records, counts: Arc::clone(&counts), path: path.to_owned() };
        let thread =
            thread::Builder::new().name("capture".to_owned()).spawn(|| work.run()).map_err(failed)?;
        Ok(Arc::new(Self { queue: Some(queue), thread: Some(thread), counts }))
    }

    /// Wraps an end of the port.
    pub fn wrap<T>(self: &Arc<Self>, inner: T) -> Captured<T> {
        Captured { inner, writer: Arc::clone(self) }
    }

    /// Frames written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.counts.written.load(Relaxed)
    }

    /// Frames left out so far, because they came faster than they could be written or because the disk is full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Relaxed)
    }

    fn record(&self, time: Duration, way: Way, frame: &[u8]) {
        let Some(queue) = &self.queue else { return };
        let fits = self.counts.waiting_bytes.load(Relaxed) + frame.len() <= QUEUE_BYTES;
        if !fits || queue.is_full() {
            self.counts.lost.fetch_add(1, Relaxed);
            return;
        }
        self.counts.waiting_bytes.fetch_add(frame.len(), Relaxed);
        if let Err(refused) = queue.try_send(Record { time, way, frame: frame.into() }) {
            self.counts.waiting_bytes.fetch_sub(refused.into_inner().frame.len(), Relaxed);
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for PcapWriter {
    fn drop(&mut self) {
        // The thread writes what waits and ends when it finds the queue empty and closed.
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An end of a port whose frames are captured: those received, and those that went out.
pub struct Captured<T> {
    inner: T,
    writer: Arc<PcapWriter>,
}

impl<T: Receive> Receive for Captured<T> {
    fn receive(&mut self, burst: &mut Burst) -> io::Result<usize> {
        let received = self.inner.receive(burst)?;
        if received > 0 {
            let time = now();
            burst.iter().for_each(|(frame, _)| self.writer.record(time, Way::Inbound, frame));
        }
        Ok(received)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    fn lost(&mut self) -> u64 {
        self.inner.lost()
    }
}

impl<T: Transmit> Transmit for Captured<T> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn transmit(&self, frames: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, TransmitError)) {
        let time = now();
        let mut next = 0;
        let mut record_until = |end: usize| {
            frames[next..end].iter().for_each(|sent| self.writer.record(time, Way::Outbound, &sent.whole()));
            next = end + 1;
        };
        self.inner.transmit(frames, &mut |index, error| {
            record_until(index);
            failed(index, error);
        });
        record_until(frames.len());
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What the thread owns.
struct Work {
    writer: PcapNgWriter<BufWriter<File>>,
    records: Receiver<Record>,
    counts: Arc<Counts>,
    path: PathBuf,
}

impl Work {
    fn run(mut self) {
        let mut result = Ok(());
        while let Some(record) = self.next() {
            self.counts.waiting_bytes.fetch_sub(record.frame.len(), Relaxed);
            if result.is_ok() {
                result = write(&mut self.writer, &record);
                if let Err(error) = &result {
                    tracing::error!(path = %self.path.display(), %error, "capture stopped");
                }
            }
            let count = if result.is_ok() { &self.counts.written } else { &self.counts.lost };
            count.fetch_add(1, Relaxed);
        }
        let end = finish(&mut self.writer, &self.counts);
        if let (Ok(()), Err(error)) = (result, end) {
            tracing::error!(path = %self.path.display(), %error, "capture file not completed");
        }
    }

    /// The next frame. When there is none the file is brought up to date before the wait, for those who follow it.
    fn next(&mut self) -> Option<Record> {
        match self.records.try_recv() {
            Ok(record) => Some(record),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                let _ = self.writer.get_mut().flush();
                self.records.recv().ok()
            }
        }
    }
}

/// Writes the head of the file. Big-endian, because the library writes the two halves of the time in a statistics
/// block in the order of a big-endian number.
fn start(file: File, interface: &str) -> Result<PcapNgWriter<BufWriter<File>>, PcapError> {
    const NANOSECONDS: u8 = 9;
    let mut writer = PcapNgWriter::with_endianness(BufWriter::with_capacity(1 << 20, file), Endianness::Big)?;
    writer.write_pcapng_block(InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: 0,
        options: vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed(interface)),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ],
    })?;
    writer.get_mut().flush().map_err(PcapError::IoError)?;
    Ok(writer)
}

fn write(writer: &mut PcapNgWriter<BufWriter<File>>, record: &Record) -> Result<(), PcapError> {
    let block = EnhancedPacketBlock {
        interface_id: 0,
        timestamp: record.time,
        original_len: u32::try_from(record.frame.len()).unwrap_or(u32::MAX),
        data: Cow::Borrowed(&record.frame),
        options: vec![EnhancedPacketOption::Flags(record.way as u32)],
    };
    writer.write_pcapng_block(block).map(|_| ())
}

/// Writes the totals and brings the file up to date.
fn finish(writer: &mut PcapNgWriter<BufWriter<File>>, counts: &Counts) -> Result<(), PcapError> {
    let (written, lost) = (counts.written.load(Relaxed), counts.lost.load(Relaxed));
    writer.write_pcapng_block(InterfaceStatisticsBlock {
        interface_id: 0,
        timestamp: u64::try_from(now().as_nanos()).unwrap_or(u64::MAX),
        options: vec![
            InterfaceStatisticsOption::IsbIfRecv(written + lost),
            InterfaceStatisticsOption::IsbIfDrop(lost),
        ],
    })?;
    writer.get_mut().flush().map_err(PcapError::IoError)
}

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
