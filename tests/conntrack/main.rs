//! Linux's connection tracker as a second opinion: the same packets at the same times through Palisade and through a
//! router with nftables, whose rules are made from the same security groups.
//!
//! `docs/nf-conntrack.md` tells what is compared and how, and lists the differences that are meant to be; the list that
//! counts is `differences.toml`. Each trace under `traces` is a scenario file like those of `tests/scenarios`.
#![allow(clippy::panic, reason = "a failing test panics")]

mod compare;
mod differences;
mod fate;
mod pace;
mod recording;
mod replay;
mod rounds;
mod router;
mod rules;

use std::path::{Path, PathBuf};

use palisade_scenario::find;

use compare::{Comparison, compare, table};
use differences::{Difference, Known};
use recording::Recording;
use rounds::play_all;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conntrack")
}

/// Every trace, by name.
fn traces() -> Vec<(String, PathBuf)> {
    let root = folder().join("traces");
    let paths = find(&root).unwrap_or_else(|why| panic!("{why}"));
    let named = paths.into_iter().map(|path| {
        let name = path.strip_prefix(&root).expect("found below it").with_extension("");
        (name.to_str().expect("a name in UTF-8").to_owned(), path)
    });
    named.collect()
}

/// Whether a trace is, or is in the folder, that is named so.
fn is_or_in(trace: &str, name: &str) -> bool {
    trace.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn record(known: &Known) -> Vec<Recording> {
    let all = traces();
    let unknown: Vec<_> =
        known.mentioned().filter(|name| !all.iter().any(|(it, _)| is_or_in(it, name))).collect();
    assert!(unknown.is_empty(), "differences.toml mentions traces that are not there: {unknown:?}");
    let made = all.iter().map(|(name, path)| {
        Recording::make(name, path, known.pace(name)).map_err(|why| format!("{}: {why}", path.display()))
    });
    let (good, bad): (Vec<_>, Vec<_>) = made.partition(Result::is_ok);
    let bad: Vec<_> = bad.into_iter().filter_map(Result::err).collect();
    assert!(bad.is_empty(), "traces that cannot be compared:\n{}", bad.join("\n"));
    good.into_iter().filter_map(Result::ok).collect()
}

fn compare_all(known: &Known, recordings: &[Recording]) -> Vec<Comparison> {
    let played = play_all(recordings);
    recordings.iter().zip(&played).map(|(recording, played)| compare(known, recording, played)).collect()
}

fn faults(comparisons: &[Comparison]) -> String {
    let told =
        comparisons.iter().flat_map(|it| it.faults.iter().map(move |fault| format!("{}: {fault}", it.trace)));
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn linux_agrees_but_for_what_is_listed() {
    let known = Known::load(&folder().join("differences.toml"));
    let recordings = record(&known);
    assert!(recordings.len() >= 40, "only {} traces", recordings.len());
    let comparisons = compare_all(&known, &recordings);
    let (table, faults) = (table(&comparisons), faults(&comparisons));
    println!("{table}");
    assert!(faults.is_empty(), "{table}\n{faults}");
}

/// Everything above rests on this: a router with other rules is noticed, and so is a listed difference that does not occur.
#[test]
fn a_disagreement_is_told() {
    let mut known = Known::load(&folder().join("differences.toml"));
    let make = |name: &str| {
        let path = folder().join("traces").join(name).with_extension("toml");
        Recording::make(name, &path, known.pace(name)).unwrap_or_else(|why| panic!("{why}"))
    };
    let (honest, mut other) = (make("tcp/handshake-and-data"), make("tcp/close-by-client"));
    other.world = make("other/gre").world;
    let sight = "{ trace = 'tcp/handshake-and-data', step = 2, palisade = 'a1', linux = 'nothing' }";
    known.differences.push(Difference::made_up(sight));
    let found = compare_all(&known, &[honest, other]);
    let told =
        |at: usize, words: &str| assert!(found[at].faults.iter().any(|it| it.contains(words)), "{words}");
    assert_eq!((found[0].faults.len(), found[0].agreed), (1, found[0].packets));
    told(0, "does not occur any more");
    assert_eq!(found[1].agreed, 0);
    told(1, "step 1 `a1 tcp 10.0.1.10:40000 > 10.0.2.10:22 S seq 1000`\n  Palisade: b1\n  Linux:    nothing");
    told(1, "SYN_SENT src=10.0.1.10 dst=10.0.2.10");
}

/// What the documentation lists is what the test allows.
#[test]
fn the_documented_list_is_the_one_that_counts() {
    let path = folder().join("../../docs/nf-conntrack.md");
    let page = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let table = Known::load(&folder().join("differences.toml")).table();
    assert!(page.contains(&table), "{} wants this table:\n{table}", path.display());
}
