//! A running `palisade` daemon, ended and checked when it is dropped.

use std::borrow::Cow;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Netns;
use crate::tool::Ran;

/// How long a daemon may take to be ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon in a namespace of its own, with its own control socket.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    config: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    stopped: bool,
}

impl Daemon {
    /// Starts the daemon on a configuration and waits until it says that it forwards.
    ///
    /// # Errors
    /// What it wrote, if it ended or was silent for ten seconds instead.
    pub fn start(fabric: &Netns, dir: &Path, config: &str, options: &[&str]) -> Result<Self, String> {
        let (file, socket, log) =
            (dir.join("palisade.toml"), dir.join("palisade.sock"), dir.join("daemon.log"));
        fs::write(&file, config).expect("the bed's directory is writable");
        let notify = dir.join("notify");
        let _ = fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).expect("the bed's directory takes sockets");
        let mut command = fabric.command(binary().to_str().expect("a path in UTF-8"));
        command.args(["run", "--log-format", "json", "--socket"]).arg(&socket).args(options).arg(&file);
        command.env("NOTIFY_SOCKET", &notify).stdin(Stdio::null());
        let output = fs::File::create(&log).expect("the bed's directory is writable");
        command.stdout(output.try_clone().expect("a descriptor is left")).stderr(output);
        let child = command.spawn().unwrap_or_else(|why| panic!("ip netns exec: {why}"));
        let mut daemon = Self { child, config: file, socket, log, stopped: false };
        daemon.await_ready(&ready).map(|()| daemon)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where its configuration lies.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Where its control socket lies.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A client command such as `status`, told which daemon is meant.
    #[must_use]
    pub fn client(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(binary());
        command.args(words).env("PALISADE_SOCKET", &self.socket).stdin(Stdio::null());
        command.output().unwrap_or_else(|why| panic!("palisade: {why}")).into()
    }

    /// A client command whose answer is JSON.
    #[must_use]
    pub fn ask(&self, words: &[&str]) -> Value {
        let mut all = words.to_vec();
        all.extend(["--output", "json"]);
        let out = self.client(&all).expect(&format!("palisade {}", words.join(" ")));
        serde_json::from_str(&out).unwrap_or_else(|why| panic!("palisade {}: {why}\n{out}", words.join(" ")))
    }

    /// `palisade status`.
    #[must_use]
    pub fn status(&self) -> Value {
        self.ask(&["status"])
    }

    /// Number of the policy in force.
    #[must_use]
    pub fn generation(&self) -> u64 {
        find(&self.status(), "generation").and_then(|it| it.as_u64()).expect("status has a generation")
    }

    /// Wire packets dropped for a reason since the start.
    #[must_use]
    pub fn drops(&self, reason: &str) -> u64 {
        drops(&self.status(), reason)
    }

    /// Drops of all reasons, for a message.
    #[must_use]
    pub fn all_drops(&self) -> String {
        find(&self.status(), "counters").expect("status has counters")["dropped"].to_string()
    }

    /// `palisade explain` against the running policy and connections: the text for people.
    #[must_use]
    pub fn explain(&self, packet: &str) -> String {
        self.client(&["explain", packet]).expect("palisade explain")
    }

    /// Writes a new configuration and asks for it.
    ///
    /// # Errors
    /// What `palisade reload` wrote when it was refused.
    pub fn reload(&self, config: &str) -> Result<(), String> {
        fs::write(&self.config, config).expect("the bed's directory is writable");
        let ran = self.client(&["reload"]);
        if ran.ok { Ok(()) } else { Err(format!("{}{}", ran.out, ran.err)) }
    }

    /// Stops it by SIGTERM, asserts that it ended well and that its books balance.
    pub fn stop(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        self.stopped = true;
        self.signal(Signal::SIGTERM);
        let status = self.wait(PATIENCE).unwrap_or_else(|| {
            let _ = self.child.kill();
            panic!("the daemon did not stop on SIGTERM; log:\n{}", self.log())
        });
        assert!(status.success(), "the daemon ended with {status}; log:\n{}", self.log());
        assert!(!self.socket.exists(), "the control socket was left behind");
        let laws = self.laws();
        assert_conservation(&laws);
    }

    /// Kills it as a crash would: it has no time to clean up.
    pub fn kill(mut self) {
        self.stopped = true;
        self.child.kill().expect("the daemon runs");
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("pids fit");
        let _ = kill(Pid::from_raw(pid), signal);
    }

    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }

    fn await_ready(&mut self, ready: &UnixDatagram) -> Result<(), String> {
        ready.set_read_timeout(Some(Duration::from_millis(50))).expect("a positive time-out");
        let (start, mut message) = (Instant::now(), [0; 256]);
        while start.elapsed() < PATIENCE {
            if let Ok(length) = ready.recv(&mut message)
                && message[..length].split(|&byte| byte == b'\n').any(|line| line == b"READY=1")
            {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                self.stopped = true;
                return Err(format!("{status}: {}", self.log()));
            }
        }
        Err(format!("not ready after {PATIENCE:?}: {}", self.log()))
    }

    /// What the log says of the conservation laws, which are checked last of all.
    fn laws(&self) -> Value {
        let log = self.log();
        let mut lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found = lines.find_map(|line| find(&line, "laws").map(Cow::into_owned));
        found.unwrap_or_else(|| panic!("the daemon reported no laws:\n{log}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        if thread::panicking() {
            #[allow(clippy::print_stderr, reason = "the test runner shows it with the failure")]
            {
                eprintln!("log of the daemon:\n{}", self.log());
            }
            self.signal(Signal::SIGTERM);
            if self.wait(PATIENCE).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            return;
        }
        self.finish();
    }
}

/// Wire packets dropped for a reason, as a `status` answer says.
#[must_use]
pub fn drops(status: &Value, reason: &str) -> u64 {
    let counters = find(status, "counters").expect("status has counters");
    counters["dropped"][reason].as_u64().unwrap_or(0)
}

/// The binary under test: `PALISADE_BIN`, else the release build, else the debug build.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(given) = std::env::var_os("PALISADE_BIN") {
        return PathBuf::from(given);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let built = ["release", "debug"].map(|profile| target.join(profile).join("palisade"));
    let found = built.into_iter().find(|path| path.exists());
    found.expect("cargo build -p palisade comes first, or name a binary in PALISADE_BIN")
}

/// The first value of this key, however deep; a log carries structures as text, which is looked into.
fn find<'a>(value: &'a Value, key: &str) -> Option<Cow<'a, Value>> {
    match value {
        Value::Object(fields) => {
            let deeper = || fields.values().find_map(|field| find(field, key));
            fields.get(key).map(Cow::Borrowed).or_else(deeper)
        }
        Value::Array(items) => items.iter().find_map(|item| find(item, key)),
        Value::String(text) if text.starts_with('{') => {
            let inner: Value = serde_json::from_str(text).ok()?;
            find(&inner, key).map(|found| Cow::Owned(found.into_owned()))
        }
        _ => None,
    }
}

/// The laws of `docs/ARCHITECTURE.md`, which the daemon checks itself: every one must hold, and none may be missing.
fn assert_conservation(laws: &Value) {
    let laws = laws.as_array().expect("a list of laws");
    assert!(laws.len() >= 3, "too few laws were checked: {laws:?}");
    for law in laws {
        assert_eq!(law["left"], law["right"], "{}", law["name"]);
    }
}
