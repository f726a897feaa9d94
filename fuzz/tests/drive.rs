//! The fuzz bodies on stable Rust: regressions, corpus, then `PALISADE_FUZZ_ITERATIONS` mutations each. A failing run prints its seed
//! (`PALISADE_FUZZ_SEED` repeats it) and leaves the input in `fuzz/artifacts/`.

use palisade_fuzz::driver::{self, Matter, Plan};

/// One iteration in so many, where one costs so many times as much as a frame.
const CONFIG_SHARE: u64 = 100;
const FRAGMENTS_SHARE: u64 = 50;
const SCENARIO_SHARE: u64 = 20;
const TCP_SHARE: u64 = 2;

/// The walk is what hostile frames are for: ten times as many as the others get.
const WALK_TIMES: u64 = 10;

#[expect(clippy::print_stdout, reason = "the seed is what a reader of a failed run needs")]
fn drive(target: &str, body: fn(&[u8]), plan: Plan) {
    println!("{target}: {} iterations, PALISADE_FUZZ_SEED={}", plan.iterations, plan.seed);
    driver::run(target, body, plan).expect("a corpus");
}

#[test]
fn frame() {
    drive("frame", palisade_fuzz::frame, Plan::from_env());
}

#[test]
fn vnet_header() {
    drive("vnet_header", palisade_fuzz::vnet_header, Plan::from_env());
}

fn drive_share(target: &str, body: fn(&[u8]), share: u64, matter: Matter) {
    let plan = Plan::from_env();
    drive(target, body, Plan { iterations: plan.iterations.div_ceil(share), matter, ..plan });
}

#[test]
fn config() {
    drive_share("config", palisade_fuzz::config, CONFIG_SHARE, Matter::Text);
}

#[test]
fn fragments() {
    drive_share("fragments", palisade_fuzz::fragments, FRAGMENTS_SHARE, Matter::Bytes);
}

#[test]
fn notation() {
    drive_share("notation", palisade_fuzz::notation, 1, Matter::Text);
}

#[test]
fn scenario() {
    drive_share("scenario", palisade_fuzz::scenario, SCENARIO_SHARE, Matter::Text);
}

#[test]
fn tcp() {
    drive_share("tcp", palisade_fuzz::tcp, TCP_SHARE, Matter::Bytes);
}

#[test]
fn words() {
    drive_share("words", palisade_fuzz::words, 1, Matter::Text);
}

#[test]
fn walk() {
    let plan = Plan::from_env();
    drive("walk", palisade_fuzz::walk, Plan { iterations: plan.iterations * WALK_TIMES, ..plan });
}
