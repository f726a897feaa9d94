//! Runs a fuzz body over its corpus and seeded mutations of it, on stable Rust and for a bounded time.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{env, fs, io, thread};

use fastrand::Rng;

/// Longest input made by mutation, in bytes: a little more than a segmentation-offload frame.
const MAX_LEN: usize = 70_000;

/// What a run is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// How many mutated inputs follow the corpus.
    pub iterations: u64,
    /// Start of the random sequence: the same seed and corpus give the same inputs.
    pub seed: u64,
    /// What inputs are made of.
    pub matter: Matter,
}

/// What inputs are made of, and so what changes are likely to get far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Matter {
    /// Fields of bytes.
    Bytes,
    /// Lines, words and numbers.
    Text,
}

impl Plan {
    /// `PALISADE_FUZZ_ITERATIONS` (default 20,000) and `PALISADE_FUZZ_SEED` (default: a random one).
    #[must_use]
    pub fn from_env() -> Self {
        let number = |name| env::var(name).ok().and_then(|value| value.parse().ok());
        Self {
            iterations: number("PALISADE_FUZZ_ITERATIONS").unwrap_or(20_000),
            seed: number("PALISADE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..)),
            matter: Matter::Bytes,
        }
    }
}

/// Runs `body` over the files of `regressions/<target>/`, which found faults once, then over those of `corpus/<target>/`,
/// each in the order of their names, then over `plan.iterations` mutations of the corpus. Returns the number of inputs.
///
/// # Errors
///
/// If the corpus cannot be read or is empty.
///
/// # Panics
///
/// If `body` does; the input is then in `artifacts/<target>/`, where `cargo fuzz` puts its own.
pub fn run(target: &str, body: fn(&[u8]), plan: Plan) -> io::Result<u64> {
    let (regressions, corpus) = (files("regressions", target)?, corpus(target)?);
    for input in regressions.iter().chain(&corpus) {
        watched(target, input, body);
    }
    let mut rng = Rng::with_seed(plan.seed);
    for _ in 0..plan.iterations {
        watched(target, &mutated(&mut rng, &corpus, plan.matter), body);
    }
    Ok((regressions.len() + corpus.len()) as u64 + plan.iterations)
}

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

pub(crate) fn corpus(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let corpus = files("corpus", target)?;
    if corpus.is_empty() { Err(io::Error::other("the corpus is empty")) } else { Ok(corpus) }
}

/// The files of a folder in the order of their names; none if there is no such folder.
fn files(kind: &str, target: &str) -> io::Result<Vec<Vec<u8>>> {
    let folder = folder(kind, target);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}

fn watched(target: &str, input: &[u8], body: fn(&[u8])) {
    let keeper = Keeper { target, input };
    body(input);
    drop(keeper);
}

/// Saves the input if it is dropped by a panic.
struct Keeper<'a> {
    target: &'a str,
    input: &'a [u8],
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let folder = folder("artifacts", self.target);
        let path = folder.join(format!("crash-{}-bytes", self.input.len()));
        // Nothing more can be done for a test that is failing already.
        let _ = fs::create_dir_all(&folder).and_then(|()| fs::write(path, self.input));
    }
}

/// A corpus entry after one to eight changes; one time in twenty random bytes.
fn mutated(rng: &mut Rng, corpus: &[Vec<u8>], matter: Matter) -> Vec<u8> {
    if rng.u8(..20) == 0 {
        return (0..rng.usize(..200)).map(|_| rng.u8(..)).collect();
    }
    let mut input = pick(rng, corpus).to_vec();
    match matter {
        Matter::Bytes => (0..rng.usize(1..=8)).for_each(|_| mutate(rng, corpus, &mut input)),
        Matter::Text => (0..rng.usize(1..=4)).for_each(|_| reword(rng, corpus, &mut input)),
    }
    input.truncate(MAX_LEN);
    input
}

fn pick<'a>(rng: &mut Rng, corpus: &'a [Vec<u8>]) -> &'a [u8] {
    rng.choice(corpus).map_or(&[], Vec::as_slice)
}

/// Values that stand at the edges of length fields.
const EDGES: [u8; 12] = [0, 1, 2, 4, 6, 7, 8, 0x0f, 0x7f, 0x80, 0xfe, 0xff];

fn mutate(rng: &mut Rng, corpus: &[Vec<u8>], input: &mut Vec<u8>) {
    let at = rng.usize(..=input.len());
    match rng.u8(..8) {
        0 => change(input, at, |byte| byte ^ (1 << rng.u8(..8))),
        1 => change(input, at, |_| rng.u8(..)),
        2 => change(input, at, |_| rng.choice(EDGES).unwrap_or_default()),
        3 => change(input, at, |byte| byte.wrapping_add(rng.u8(..9)).wrapping_sub(4)),
        4 => input.truncate(at),
        5 => insert(input, at, &vec![rng.u8(..); rng.usize(..64)]),
        6 => remove(input, at, rng.usize(..64)),
        _ => {
            let other = pick(rng, corpus);
            splice(rng, input, at, other);
        }
    }
}

/// Numbers that stand at the edges of what fields hold.
const NUMBERS: [&str; 10] =
    ["0", "1", "7", "8", "255", "256", "65535", "65536", "4294967296", "18446744073709551615"];

/// Exchanges a line, a word or a number, one time in eight a byte.
fn reword(rng: &mut Rng, corpus: &[Vec<u8>], input: &mut Vec<u8>) {
    let other = pick(rng, corpus);
    match rng.u8(..8) {
        0 => mutate(rng, corpus, input),
        1 | 2 => exchange(rng, input, other, |byte| byte == b'\n'),
        3 | 4 => exchange(rng, input, other, |byte| b" \n\"[]{},=".contains(&byte)),
        5 => {
            let end = rng.usize(..=input.len());
            insert(input, end, other);
        }
        _ => {
            let number = rng.choice(NUMBERS).unwrap_or_default();
            exchange(rng, input, number.as_bytes(), |byte| !byte.is_ascii_digit());
        }
    }
}

/// Puts a piece of `other` in the place of one of `input`, or beside it; pieces are what stands between two separators.
fn exchange(rng: &mut Rng, input: &mut Vec<u8>, other: &[u8], separates: fn(u8) -> bool) {
    let mut old = piece(rng, input, separates);
    let new = other[piece(rng, other, separates)].to_vec();
    match rng.u8(..4) {
        0 => old.end = old.start,
        1 => return drop(input.drain(old)),
        _ => {}
    }
    input.splice(old, new);
}

fn piece(rng: &mut Rng, text: &[u8], separates: fn(u8) -> bool) -> Range<usize> {
    let at = rng.usize(..=text.len());
    let start = text[..at].iter().rposition(|byte| separates(*byte)).map_or(0, |before| before + 1);
    let len = text[at..].iter().position(|byte| separates(*byte));
    start..len.map_or(text.len(), |len| at + len)
}

fn change(input: &mut [u8], at: usize, to: impl FnOnce(u8) -> u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte = to(*byte);
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

fn remove(input: &mut Vec<u8>, at: usize, len: usize) {
    input.drain(at..input.len().min(at + len));
}

/// Overwrites or inserts a piece of another entry.
fn splice(rng: &mut Rng, input: &mut Vec<u8>, at: usize, other: &[u8]) {
    let start = rng.usize(..=other.len());
    let end = rng.usize(start..=other.len());
    let overwritten = if rng.bool() { (end - start).min(input.len() - at) } else { 0 };
    input.splice(at..at + overwritten, other[start..end].iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let corpus = vec![vec![1; 40], vec![2; 90]];
        for matter in [Matter::Bytes, Matter::Text] {
            let inputs = |seed| {
                let mut rng = Rng::with_seed(seed);
                (0..200).map(|_| mutated(&mut rng, &corpus, matter)).collect::<Vec<_>>()
            };
            assert_eq!(inputs(7), inputs(7));
            assert_ne!(inputs(7), inputs(8));
        }
    }

    #[test]
    fn inputs_stay_bounded() {
        let corpus = vec![vec![0; MAX_LEN]];
        let mut rng = Rng::with_seed(1);
        for matter in [Matter::Bytes, Matter::Text] {
            assert!((0..200).all(|_| mutated(&mut rng, &corpus, matter).len() <= MAX_LEN));
        }
    }

    #[test]
    fn a_target_without_corpus_is_an_error() {
        assert!(run("no-such-target", |_| {}, Plan { iterations: 1, ..Plan::from_env() }).is_err());
    }
}
