//! Couriers side by side: one that fails or hangs keeps nobody waiting but itself.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use palisade_flowlog::{FlowLog, Spool};
use tempfile::TempDir;

use super::*;
use crate::daemon::flow_logs::testing::{eventually, files, vpc};

/// 2026-11-26 14:20:00.
const BEGIN: u32 = 1_795_702_800;

struct Folders {
    root: TempDir,
}

impl Folders {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        fs::write(root.path().join("keys"), "[default]\naws_access_key_id = A\naws_secret_access_key = S\n")
            .unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A spool with one sealed record for a destination.
    fn spool(&self, destination: &str) -> Spool {
        let vpc = vpc(&format!("[flow_log.one]\ndestination = {destination}\n"));
        let mut spool = Spool::open(&self.path("spool"), &FlowLog::all(&vpc)[0], 1 << 20).unwrap();
        assert!(spool.append("a record\n", BEGIN, Some(1)));
        spool.seal(|_| true);
        spool
    }

    fn courier(&self, destination: &str) -> Courier {
        Courier::new(Arc::clone(self.spool(destination).store()), Some(self.path("keys")))
    }
}

fn directory(path: &Path) -> String {
    format!("{{ directory = \"{}\" }}", path.display())
}

fn figures(couriers: &Couriers) -> Vec<Figures> {
    let mut figures: Vec<_> = couriers.figures().into_iter().collect();
    figures.sort_by_key(|(log, _)| (*log).to_owned());
    figures.into_iter().map(|(_, figures)| figures).collect()
}

/// A service takes the connection and says nothing, for as long as the test lasts.
#[test]
fn one_that_hangs_keeps_nobody_but_itself() {
    let folders = Folders::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bucket = format!("{{ s3 = \"flows\", endpoint = \"http://{}\" }}", listener.local_addr().unwrap());
    let mut couriers = Couriers::default();
    couriers.send(vec![folders.courier(&bucket)]);
    let (hanging, _) = listener.accept().unwrap();
    couriers.send(vec![folders.courier(&directory(&folders.path("published")))]);
    eventually("the directory has its object", || {
        figures(&couriers).iter().map(|figures| figures.delivered).sum::<u64>() == 1
    });
    assert_eq!(files(&folders.path("published")).len(), 1);
    let begun = Instant::now();
    couriers.recall(Duration::from_millis(200));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?}");
    let waiting = files(&folders.path("spool"));
    assert_eq!(waiting.iter().filter(|path| path.contains("-0.seg")).count(), 1, "it waits on: {waiting:?}");
    drop(hanging);
}

/// FL-77: why the last attempt failed is told until one succeeds, and counted for ever.
#[test]
fn fl_77_a_failure_is_told_until_it_is_over() {
    let folders = Folders::new();
    let published = folders.path("published");
    fs::write(&published, "a file stands where the directory should be").unwrap();
    let mut couriers = Couriers::default();
    couriers.send(vec![folders.courier(&directory(&published))]);
    eventually("it has failed", || figures(&couriers)[0].error.is_some());
    assert_eq!(figures(&couriers)[0].delivered, 0);
    fs::remove_file(&published).unwrap();
    eventually("it is delivered", || figures(&couriers)[0].delivered == 1);
    let figures = &figures(&couriers)[0];
    assert!(figures.failures >= 1 && figures.error.is_none(), "{figures:?}");
    couriers.recall(Duration::from_secs(5));
}

/// What is sealed is delivered when the daemon stops, without waiting for the next look.
#[test]
fn recalled_they_deliver_what_there_is() {
    let folders = Folders::new();
    let published = folders.path("published");
    let mut spool = folders.spool(&directory(&published));
    let mut couriers = Couriers::default();
    couriers.send(vec![Courier::new(Arc::clone(spool.store()), None)]);
    eventually("the first is delivered", || figures(&couriers)[0].delivered == 1);
    assert!(spool.append("another\n", BEGIN, Some(1)));
    spool.seal(|_| true);
    couriers.recall(Duration::from_secs(5));
    assert_eq!(files(&published).len(), 2);
}

#[test]
fn who_has_done_its_work_is_forgotten() {
    let folders = Folders::new();
    let mut spool = folders.spool(&directory(&folders.path("published")));
    let mut couriers = Couriers::default();
    couriers.send(vec![Courier::new(Arc::clone(spool.store()), None)]);
    spool.end();
    let is_gone = |couriers: &mut Couriers| {
        couriers.send(Vec::new());
        couriers.figures().is_empty()
    };
    eventually("its thread has ended", || is_gone(&mut couriers));
    assert_eq!(files(&folders.path("spool")), Vec::<String>::new(), "the spool is removed");
}
