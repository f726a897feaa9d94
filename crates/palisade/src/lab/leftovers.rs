//! Names of a run's namespaces, and what runs that were killed have left behind.
//!
//! The name says whose it is: a namespace of a process that is gone, or that is no palisade, belongs to nobody.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use palisade_io::{Namespace, namespaces};

const PREFIX: &str = "palisade-lab-";

/// A name that no namespace has.
pub(super) fn fresh_name(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{PREFIX}{}-{}-{what}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes the namespaces of runs that have ended without doing so.
pub(super) fn remove() {
    for name in namespaces().unwrap_or_default() {
        if owner(&name).is_some_and(|pid| !is_running(pid)) {
            drop(Namespace::adopt(&name));
        }
    }
}

/// The process that has made a namespace of this name.
fn owner(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    pid.parse().ok()
}

fn is_running(pid: u32) -> bool {
    // The kernel keeps fifteen bytes of the program's name.
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("palisade"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_namespaces_have_an_owner() {
        assert_eq!(owner(&fresh_name("guest")), Some(std::process::id()));
        for name in ["web-1", "palisade-lab-", "palisade-lab-x-1", "palisade-lab-77"] {
            assert_eq!(owner(name), None, "{name}");
        }
    }

    #[test]
    fn this_process_runs_and_the_first_one_is_no_palisade() {
        assert!(is_running(std::process::id()));
        assert!(!is_running(1));
        assert!(!is_running(u32::MAX));
    }
}
