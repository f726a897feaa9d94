//! One ACL and one set of groups, asked about a packet that only the last rule matches, and compiled from nothing.

use divan::{AllocProfiler, Bencher, black_box};
use palisade_benches::world;
use palisade_packet::Direction;
use palisade_policy::{FilterKey, Match};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const SIZES: [usize; 4] = [20, 60, 1_000, 16_000];

fn main() {
    divan::main();
}

fn key() -> FilterKey {
    FilterKey { address: [10, 0, 1, 10].into(), protocol: 6, selector: Match::Port(443) }
}

#[divan::bench(args = SIZES)]
fn network_acl(bencher: Bencher<'_, '_>, rules: usize) {
    let snapshot = world(rules, 1);
    let acl = &snapshot.subnet(snapshot.enis()[1].subnet).acl;
    bencher.bench(|| acl.decide(Direction::Ingress, black_box(&key())));
}

#[divan::bench(args = SIZES)]
fn security_groups(bencher: Bencher<'_, '_>, rules: usize) {
    let snapshot = world(1, rules);
    let groups = &snapshot.enis()[1].groups;
    bencher.bench(|| groups.decide(Direction::Ingress, black_box(&key()), true));
}

/// Reading the configuration included.
#[divan::bench(args = SIZES, sample_count = 3, sample_size = 1)]
fn compiling(rules: usize) {
    black_box(world(rules, rules));
}
