//! Keeping the kernel's own stack off an interface that a packet socket serves.
//!
//! A packet socket taps an interface: the stack behind it still receives every frame and answers, so that a guest
//! reaches the host by the interface's link-local address. A takeover drops all that the stack would receive, behind
//! the tap, and all that it would send. It ends with the process, whatever ends that.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::error::{Place, PortError};
use crate::spec::TakeoverMethod;
use crate::sys::bpf::{self, Hook};

/// How the kernel's own stack is kept off an interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Takeover {
    /// BPF programs at the interface's tcx ingress and egress hooks.
    Tcx,
    /// An nftables table of family `netdev` with ingress and egress hooks, owned by an `nft` process.
    Nftables,
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcx => "tcx BPF drop at ingress and egress",
            Self::Nftables => "nftables netdev drop at ingress and egress",
        })
    }
}

/// A takeover in force until it is dropped.
pub(crate) enum Guard {
    /// The links that attach the program; each detaches when its descriptor closes.
    Tcx { _links: [OwnedFd; 2] },
    /// The process that owns the table.
    Nftables { owner: Child },
}

impl Guard {
    pub(crate) fn describe(&self) -> Takeover {
        match self {
            Self::Tcx { .. } => Takeover::Tcx,
            Self::Nftables { .. } => Takeover::Nftables,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Self::Nftables { owner } = self {
            // The end of its input ends the process, and the end of the process the table.
            drop(owner.stdin.take());
            let _ = owner.wait();
        }
    }
}

/// Takes an interface of the current thread's namespace over for `socket`, which must bypass queueing disciplines.
pub(crate) fn take_over(
    method: TakeoverMethod,
    place: &Place,
    index: u32,
    socket: &OwnedFd,
) -> Result<Guard, PortError> {
    let mut tcx = "not asked for".to_owned();
    if method != TakeoverMethod::Nftables {
        match by_tcx(index) {
            Ok(guard) => return Ok(guard),
            Err(error) => tcx = error.to_string(),
        }
    }
    let mut nftables = "not asked for".to_owned();
    if method != TakeoverMethod::Tcx {
        match by_nftables(place, index, socket) {
            Ok(guard) => return Ok(guard),
            Err(error) => nftables = error.to_string(),
        }
    }
    Err(PortError::Takeover { place: place.clone(), tcx, nftables })
}

/// Our own frames pass the egress hook by, since they bypass the queueing discipline.
fn by_tcx(index: u32) -> io::Result<Guard> {
    let program = bpf::load_drop()?;
    let ingress = bpf::attach(&program, index, Hook::Ingress)?;
    let egress = bpf::attach(&program, index, Hook::Egress)?;
    Ok(Guard::Tcx { _links: [ingress, egress] })
}

/// Our own frames meet the egress hook and pass it by their mark. The table has the flag `owner`: the kernel removes
/// it with the netlink socket of the process that made it, and that process ends with its input.
fn by_nftables(place: &Place, index: u32, socket: &OwnedFd) -> io::Result<Guard> {
    setsockopt(socket, sockopt::Mark, &MARK)?;
    let table = format!("palisade_{index}");
    let mut owner = Command::new("nft")
        .arg("-i")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A terminal's interrupt is for the daemon alone, which may need the table until its port is closed.
        .process_group(0)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start nft: {error}")))?;
    let input = owner.stdin.as_mut().expect("the process was started with a pipe as its input");
    let written = writeln!(input, "{}", ruleset(&table, &place.device));
    let guard = Guard::Nftables { owner };
    written?;
    wait_for(&table)?;
    Ok(guard)
}

/// Value of `SO_MARK` by which the egress chain knows our frames ("pali"). A veth clears it on the way to another
/// namespace.
const MARK: u32 = 0x7061_6c69;

fn ruleset(table: &str, device: &str) -> String {
    let hook = |hook| format!("type filter hook {hook} device \"{device}\" priority -300; policy drop;");
    let (ingress, egress) = (hook("ingress"), hook("egress"));
    let pass = format!("meta mark {MARK:#x} accept;");
    format!(
        "table netdev {table} {{ flags owner; chain ingress {{ {ingress} }}; chain egress {{ {egress} {pass} }}; }}"
    )
}

/// Waits until the kernel lists the table with both of its chains.
fn wait_for(table: &str) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let start = Instant::now();
    loop {
        let listing = Command::new("nft").args(["list", "table", "netdev", table]).output()?;
        let text = String::from_utf8_lossy(&listing.stdout);
        if listing.status.success() && text.contains("hook ingress") && text.contains("hook egress") {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other("nft did not make a table with netdev ingress and egress hooks"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
