//! Runs a fuzz body over its corpus and seeded mutations of it, on stable Rust and for a bounded time.

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
}

impl Plan {
    /// `PALISADE_FUZZ_ITERATIONS` (default 20,000) and `PALISADE_FUZZ_SEED` (default: a random one).
    #[must_use]
    pub fn from_env() -> Self {
        let number = |name| env::var(name).ok().and_then(|value| value.parse().ok());
        Self {
            iterations: number("PALISADE_FUZZ_ITERATIONS").unwrap_or(20_000),
            seed: number("PALISADE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..)),
        }
    }
}

/// Runs `body` over the files of `corpus/<target>/`, in the order of their names, then over `plan.iterations` mutations of
/// them. Returns the number of inputs.
///
/// # Errors
///
/// If the corpus cannot be read or is empty.
///
/// # Panics
///
/// If `body` does; the input is then in `artifacts/<target>/`, where `cargo fuzz` puts its own.
pub fn run(target: &str, body: fn(&[u8]), plan: Plan) -> io::Result<u64> {
    let corpus = corpus(target)?;
    for input in &corpus {
        watched(target, input, body);
    }
    let mut rng = Rng::with_seed(plan.seed);
    for _ in 0..plan.iterations {
        watched(target, &mutated(&mut rng, &corpus), body);
    }
    Ok(corpus.len() as u64 + plan.iterations)
}

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

fn corpus(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut paths = fs::read_dir(folder("corpus", target))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    let corpus = paths.iter().map(fs::read).collect::<io::Result<Vec<_>>>()?;
    if corpus.is_empty() { Err(io::Error::other("the corpus is empty")) } else { Ok(corpus) }
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
fn mutated(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    if rng.u8(..20) == 0 {
        return (0..rng.usize(..200)).map(|_| rng.u8(..)).collect();
    }
    let mut input = pick(rng, corpus).to_vec();
    for _ in 0..rng.usize(1..=8) {
        mutate(rng, corpus, &mut input);
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
        let inputs = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..200).map(|_| mutated(&mut rng, &corpus)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }

    #[test]
    fn inputs_stay_bounded() {
        let corpus = vec![vec![0; MAX_LEN]];
        let mut rng = Rng::with_seed(1);
        assert!((0..200).all(|_| mutated(&mut rng, &corpus).len() <= MAX_LEN));
    }

    #[test]
    fn a_target_without_corpus_is_an_error() {
        assert!(run("no-such-target", |_| {}, Plan { iterations: 1, seed: 1 }).is_err());
    }
}
