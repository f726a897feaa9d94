//! Network namespaces that live as long as the value that made them.

use std::fs::{self, File};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::tool;

/// A network namespace under `/run/netns`, deleted on drop.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace whose name ends in `tag` and starts with the prefix of this run, loopback up.
    #[must_use]
    pub fn create(tag: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(nix::unistd::geteuid().is_root(), "tests between network namespaces must run as root");
        let name = format!("{}-{}-{tag}", run_prefix(), NEXT.fetch_add(1, Ordering::Relaxed));
        tool::must("ip", &["netns", "add", &name]);
        let made = Self { name };
        made.ip("link set lo up");
        made.enter(skip_duplicate_detection);
        made
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// `ip -n NAME …`, words separated by blanks; panics if it fails. Gives its output.
    pub fn ip(&self, words: &str) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(words.split_whitespace());
        tool::must("ip", &all)
    }

    /// Runs a closure on a thread inside the namespace and gives its value.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let place = self.open();
        let inside = move || {
            go(&place);
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts a thread inside the namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let place = self.open();
        thread::spawn(move || {
            go(&place);
            work()
        })
    }

    fn open(&self) -> File {
        let path = format!("/run/netns/{}", self.name);
        File::open(&path).unwrap_or_else(|why| panic!("{path}: {why}"))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Moves the present thread, which must have been made for it, into a namespace.
fn go(place: &File) {
    setns(place, CloneFlags::CLONE_NEWNET).expect("setns needs CAP_SYS_ADMIN");
}

/// Interfaces made from now on use their link-local addresses at once, which saves each test two seconds.
fn skip_duplicate_detection() {
    fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0")
        .expect("root may write this of its namespace");
}

/// `PALISADE_TEST_RUN` lets whoever starts the tests find leftovers of a run that was killed.
fn run_prefix() -> String {
    std::env::var("PALISADE_TEST_RUN").unwrap_or_else(|_| format!("pal-t{}", std::process::id()))
}
