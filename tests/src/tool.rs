//! Real tools with a time limit.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Netns;

/// What a tool printed and whether it succeeded.
#[derive(Debug)]
pub struct Ran {
    /// Exit status 0.
    pub ok: bool,
    /// Exit status, 124 if the time limit ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Standard output, or a panic that shows everything.
    #[must_use]
    pub fn expect(self, what: &str) -> String {
        assert!(self.ok, "{what}: exit {}\n{}\n{}", self.code, self.out, self.err);
        self.out
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            ok: output.status.success(),
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a program of the host's namespace that must succeed; gives its output.
pub fn must(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|why| panic!("{program}: {why}"));
    Ran::from(output).expect(&format!("{program} {}", words.join(" ")))
}

/// Runs a command line (words separated by blanks, no quoting) inside a namespace for at most `limit`.
#[must_use]
pub fn run(netns: &Netns, limit: Duration, line: &str) -> Ran {
    let words: Vec<&str> = line.split_whitespace().collect();
    run_words(netns, limit, &words)
}

/// Like [`run`], for arguments that hold blanks.
#[must_use]
pub fn run_words(netns: &Netns, limit: Duration, words: &[&str]) -> Ran {
    let mut command = netns.command("timeout");
    command.args(["-k", "1", &format!("{:.1}", limit.as_secs_f64())]).args(words).stdin(Stdio::null());
    command.output().unwrap_or_else(|why| panic!("{}: {why}", words.join(" "))).into()
}

/// A program that waits for its input.
#[derive(Debug)]
pub struct Fed {
    line: String,
    child: Child,
}

impl Fed {
    /// Starts a command line (words separated by blanks, no quoting) inside a namespace.
    #[must_use]
    pub fn start(netns: &Netns, line: &str) -> Self {
        let mut words = line.split_whitespace();
        let mut command = netns.command(words.next().expect("a program"));
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|why| panic!("{line}: {why}"));
        Self { line: line.to_owned(), child }
    }

    /// Gives it all its input and waits for its end.
    #[must_use]
    pub fn finish(mut self, input: &str) -> Ran {
        let fed = self.child.stdin.take().expect("it was piped").write_all(input.as_bytes());
        let output = self.child.wait_with_output().unwrap_or_else(|why| panic!("{}: {why}", self.line));
        let ran = Ran::from(output);
        assert!(fed.is_ok() || !ran.ok, "{} did not read its input", self.line);
        ran
    }
}

/// `ping` with extra options; the share of answered requests, 0 to 1.
#[must_use]
pub fn ping(netns: &Netns, target: &str, options: &str) -> f64 {
    let ran = run(netns, Duration::from_secs(10), &format!("ping -n -c 3 -i 0.1 -W 0.6 {options} {target}"));
    let line = ran.out.lines().find(|line| line.contains("packets transmitted"));
    let line = line.unwrap_or_else(|| panic!("ping {options} {target} said: {}{}", ran.out, ran.err));
    let number = |field: &str| -> f64 {
        let part = line.split(',').find(|part| part.contains(field)).unwrap_or("0");
        part.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
    };
    number("received") / number("transmitted").max(1.0)
}

/// Every integer of one `Prefix: name name …` / `Prefix: 1 2 …` pair of lines in `/proc/net/snmp` or `netstat`.
#[must_use]
pub fn kernel_counter(netns: &Netns, file: &str, prefix: &str, name: &str) -> u64 {
    let text = run(netns, Duration::from_secs(5), &format!("cat /proc/net/{file}")).expect("kernel counters");
    let mut lines = text.lines().filter(|line| line.split(':').next() == Some(prefix));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let at = names.split_whitespace().position(|word| word == name);
    let value = at.and_then(|at| values.split_whitespace().nth(at)).and_then(|word| word.parse().ok());
    value.unwrap_or_else(|| panic!("no {prefix} {name} in /proc/net/{file}"))
}

/// A program that runs beside the test, ended on drop.
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    /// Starts a command line (words separated by blanks, no quoting) inside a namespace, its output thrown away.
    pub fn start(netns: &Netns, line: &str) -> Self {
        let mut words = line.split_whitespace();
        let mut command = netns.command(words.next().expect("a program"));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap_or_else(|why| panic!("{line}: {why}")))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One `iperf3` run from one namespace to an address of another; gives its JSON report.
#[must_use]
pub fn iperf(client: &Netns, server: &Netns, to: IpAddr, options: &str) -> Value {
    let _server = Background::start(server, "iperf3 -s -1 -p 5201");
    await_listener(server, 5201);
    let line = format!("iperf3 --json -c {to} -p 5201 --connect-timeout 3000 {options}");
    let ran = run(client, Duration::from_mins(1), &line);
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_default();
    assert!(ran.ok && report["error"].is_null(), "{line}: {}{}", ran.out, ran.err);
    report
}

/// Waits until something listens on a TCP port of a namespace.
pub fn await_listener(netns: &Netns, port: u16) {
    let start = Instant::now();
    let filter = format!("ss -Htnl sport = :{port}");
    while run(netns, Duration::from_secs(5), &filter).expect("ss").trim().is_empty() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "nothing listens on port {port} of {}",
            netns.name()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
