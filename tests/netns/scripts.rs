//! The shell scripts clean up after themselves, whatever ends them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_tests::{Bed, Setup, daemon, tool};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name)
}

/// Namespaces, processes and directories whose names hold a text.
fn leftovers(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let names = |dir: &str| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    found.extend(names("/run/netns").into_iter().filter(|name| name.contains(text)));
    found.extend(names("/tmp").into_iter().filter(|name| name.contains(text)));
    for pid in names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if command.contains(text) {
            found.push(format!("{pid}: {}", command.replace('\0', " ")));
        }
    }
    found
}

/// With signals as a terminal has them: what runs in the background of a script ignores SIGINT, and so would its children.
fn start_demo() -> Child {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,QUIT").arg(script("demo.sh"));
    command.env("PALISADE_BIN", daemon::binary()).env_remove("PALISADE_SOCKET");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("demo.sh can be run")
}

/// Waits for a child; whether it succeeded, `None` if it goes on after the time.
fn wait(child: &mut Child, within: Duration) -> Option<bool> {
    let start = Instant::now();
    while start.elapsed() < within {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.success());
        }
        thread::sleep(Duration::from_millis(20));
    }
    None
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let _bed = Bed::prepare(Setup::taps()); // for its lock: two runs would disturb each other
    for (signal, after) in [(Signal::SIGINT, 700), (Signal::SIGTERM, 4000), (Signal::SIGINT, 9000)] {
        let mut demo = start_demo();
        let prefix = format!("pal-demo{}", demo.id());
        assert_eq!(
            wait(&mut demo, Duration::from_millis(after)),
            None,
            "the demo ended before it was interrupted"
        );
        assert!(!leftovers(&prefix).is_empty(), "the demo has made something after {after} ms");
        kill(Pid::from_raw(demo.id().cast_signed()), signal).unwrap();
        assert_eq!(wait(&mut demo, Duration::from_secs(20)), Some(false), "{signal} after {after} ms");
        assert_eq!(leftovers(&prefix), Vec::<String>::new(), "{signal} after {after} ms");
    }
}

/// The topology of a file with packet attachments is all that the daemon and its guests need.
#[test]
fn a_topology_can_be_used_and_leaves_nothing_behind() {
    let bed = Bed::prepare(Setup::taps());
    let tag = format!("pal-top{}", std::process::id());
    let text = format!(
        "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\nipv6_cidr_block = \"2001:db8:1::/56\"\n\
         [subnet.x]\ncidr = \"10.0.1.0/24\"\nipv6_cidr = \"2001:db8:1:1::/64\"\n\
         [subnet.y]\ncidr = \"10.0.2.0/24\"\nipv6_cidr = \"2001:db8:1:2::/64\"\n\
         [eni.{tag}-p]\nsubnet = \"x\"\naddress = \"10.0.1.10\"\nipv6_address = \"2001:db8:1:1::10\"\n\
         attach = {{ packet = \"veth-p\" }}\n\
         [eni.t]\nsubnet = \"y\"\naddress = \"10.0.2.10\"\nipv6_address = \"2001:db8:1:2::10\"\n\
         attach = {{ tap = \"eth0\", netns = \"{tag}-t\", configure = true }}\n"
    );
    let config = bed.dir().join("topology.toml");
    fs::write(&config, text).unwrap();
    let fabric = format!("{tag}-fabric");
    let topology = |action: &str| {
        let mut command = Command::new(script("netns/topology.sh"));
        command.args([action, config.to_str().unwrap(), "--fabric", &fabric]);
        tool::Ran::from(command.env("PALISADE_BIN", daemon::binary()).output().unwrap()).expect(action)
    };
    let made = topology("create");
    assert!(made.contains("10.0.1.10/24 2001:db8:1:1::10/64"), "{made}");
    let socket = bed.dir().join("topology.sock");
    let mut running = Command::new("ip")
        .args(["netns", "exec", &fabric, daemon::binary().to_str().unwrap(), "run", "--socket"])
        .args([&socket, &config])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ping = |target: &str| {
        let line =
            ["netns", "exec", &format!("{tag}-p"), "ping", "-c", "1", "-W", "1", target].map(str::to_owned);
        Command::new("ip").args(line).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };
    let reached = (0..10).any(|_| ping("10.0.2.10")) && ping("2001:db8:1:2::10");
    kill(Pid::from_raw(running.id().cast_signed()), Signal::SIGTERM).unwrap();
    running.wait().unwrap();
    topology("destroy");
    assert!(reached, "the guests of the topology did not reach each other");
    assert_eq!(leftovers(&tag), Vec::<String>::new());
}
