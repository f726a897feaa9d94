# Daily commands. `just` alone lists them.

_default:
    @just --list --unsorted

# Everything that continuous integration runs (parts: lint unit fuzz netns)
test *parts:
    scripts/test.sh {{ parts }}

# Format, clippy, licences, spelling, shell scripts, documentation
lint:
    scripts/test.sh lint

# Format everything
fmt:
    cargo fmt --all

# Unit, property and scenario tests
unit:
    scripts/test.sh unit

# Model checks of what threads share: connection entries, the table, publication
models *options:
    RUSTFLAGS='--cfg palisade_loom' cargo test --profile storm --target-dir target/models --lib \
        -p palisade-conntrack -p palisade-publication {{ options }}

# Random worlds against the oracle written from the specification (options of tests/oracle/run.py)
oracle *options='--seed 1 --packets 20000 --jobs 2':
    cargo build -p palisade
    python3 tests/oracle/run.py {{ options }}

# The same with an optimised binary, for long runs
oracle-long *options='--packets 1000000':
    cargo build --profile storm -p palisade
    PALISADE_BIN=target/storm/palisade python3 tests/oracle/run.py --jobs $(nproc) {{ options }}

# Whether the oracle notices when one of its statements is made wrong
oracle-teeth *options='--jobs 2':
    cargo build --profile storm -p palisade
    PALISADE_BIN=target/storm/palisade python3 tests/oracle/teeth.py {{ options }}

# The same traces through Palisade and through Linux's connection tracker, with a table (root)
conntrack:
    cargo test -p palisade-tests --test conntrack -- --nocapture

# Write the JSON Schemas of configuration and scenario files anew
schemas:
    cargo build --quiet -p palisade
    target/debug/palisade schema > configs/palisade.schema.json
    target/debug/palisade schema scenario > tests/scenarios/scenario.schema.json

# Write docs/conformance.md anew: each statement of the specification, and what shows it
conformance:
    python3 scripts/conformance.py

# Real traffic between namespaces (root); a filter is part of a test's name
netns filter='':
    cargo build --release -p palisade
    cargo test -p palisade-tests -- --test-threads=1 {{ filter }}

# Scenarios on real devices, between namespaces of the runner's own (root)
scenarios-on-devices *paths='tests/scenarios':
    cargo build -p palisade
    target/debug/palisade scenario --netns {{ paths }}

# Published flow logs, read by VRL's own parser, which takes ten minutes to build
vrl *directory:
    scripts/check-vrl.sh {{ directory }}

# The main job on real packets, with a summary (root)
demo:
    scripts/demo.sh

# Palisade against nftables, Open vSwitch and others, with docs/benchmarks.md (root; --quick, --only SYSTEM/FIGURE, --help)
peers *options:
    scripts/bench.sh {{ options }}

# In-process benchmarks: time and allocations
bench *options:
    cargo bench -p palisade-benches {{ options }}

# Instructions per packet, under callgrind (--check, --record)
instructions *options:
    scripts/instructions.sh {{ options }}

# The daemon on a configuration (root)
run config='configs/two-subnets.toml' *options:
    cargo run --release -p palisade -- run {{ config }} {{ options }}

# What a configuration says, and every error in it
check config:
    cargo run --quiet -p palisade -- check {{ config }}

# Documentation of the crates
doc:
    cargo doc --workspace --no-deps --open
