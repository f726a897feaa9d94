//! The fuzz bodies on stable Rust: corpus, then `PALISADE_FUZZ_ITERATIONS` mutations each. A failing run prints its seed
//! (`PALISADE_FUZZ_SEED` repeats it) and leaves the input in `fuzz/artifacts/`.

use palisade_fuzz::driver::{self, Plan};

/// A configuration file costs some hundred times as much as a frame.
const CONFIG_SHARE: u64 = 100;

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

#[test]
fn config() {
    let plan = Plan::from_env();
    drive(
        "config",
        palisade_fuzz::config,
        Plan { iterations: plan.iterations.div_ceil(CONFIG_SHARE), ..plan },
    );
}

#[test]
fn walk() {
    let plan = Plan::from_env();
    drive("walk", palisade_fuzz::walk, Plan { iterations: plan.iterations * WALK_TIMES, ..plan });
}
