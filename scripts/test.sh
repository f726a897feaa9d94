#!/usr/bin/env bash
# Installs what is missing and runs every check and test of the project; see --help.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=lib/say.sh
. "$ROOT/scripts/lib/say.sh"
# shellcheck source=lib/cleanup.sh
. "$ROOT/scripts/lib/cleanup.sh"
# shellcheck source=lib/install.sh
. "$ROOT/scripts/lib/install.sh"

usage() {
    cat >&2 <<'USAGE'
usage: test.sh [lint] [unit] [fuzz] [netns]

Without arguments, all of them:

lint    rustfmt, clippy, cargo-deny, cargo-machete, typos, shellcheck, rustdoc, the coverage of the specification
unit    unit, property and scenario tests, documentation examples, model checks of what threads share, the oracle,
        the statistics of the comparison with peers
fuzz    the bodies of the fuzz targets, optimised, on stable Rust (PALISADE_FUZZ_ITERATIONS each)
netns   the daemon, optimised and with its assertions, between network namespaces, with real tools and crafted frames;
        the comparison with Linux's connection tracker; the scenarios on real devices; the demo; instructions
        per packet; a few figures of the comparison with peers, to see that it works (needs root)

Everything that was skipped or ignored counts as a failure. Logs are in target/test-logs.

PALISADE_FUZZ_ITERATIONS   per fuzz body, default 1,000,000; the walk gets ten times as many
PALISADE_TRANSFER_MIB      size of the file that the transfer tests send, default 64
PALISADE_TOOLS             where cargo-deny and others are installed that Debian lacks
USAGE
    exit 2
}

LOGS=$ROOT/target/test-logs
PASSED=0 FAILED=0 STEPS_FAILED=()
export CARGO_TERM_COLOR=never PALISADE_FUZZ_ITERATIONS=${PALISADE_FUZZ_ITERATIONS:-1000000}

main() {
    local part parts=("$@")
    ((${#parts[@]})) || parts=(lint unit fuzz netns)
    for part in "${parts[@]}"; do [[ $part == @(lint|unit|fuzz|netns) ]] || usage; done
    cd "$ROOT"
    mkdir -p "$LOGS"
    begin_run test
    need_rust
    for part in "${parts[@]}"; do
        heading "$part"
        "prepare_$part"
        "$part"
    done
    summary
}

prepare_lint() {
    need_commands python3 shellcheck
    rustup component add rustfmt clippy >/dev/null 2>&1 || true # with a toolchain not from rustup they are packages
    need_cargo_tool cargo-deny 0.20.2
    need_cargo_tool cargo-machete 0.9.2
    need_wheel typos 1.52.0
}

lint() {
    step fmt cargo fmt --all --check
    step shellcheck shellcheck -x -P SCRIPTDIR .ci/run scripts/*.sh scripts/lib/*.sh scripts/netns/*.sh
    step typos typos
    step conformance python3 scripts/conformance.py --check
    step machete cargo machete
    step deny deny
    step clippy cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' step rustdoc cargo doc --quiet --locked --workspace --no-deps
}

# Advisories need a database from the network and are left to whoever has it.
deny() {
    cargo fetch --quiet --locked
    cargo deny --offline --log-level error check licenses bans sources
}

prepare_unit() {
    need_root "the unit part"
    need_commands arping ethtool ip nft ping python3 tshark
    need_module flowlogs_reader 5.0.1
    need_module duckdb 2.0.0
    need_module moto 5.2.5 server,s3,logs,firehose
}

unit() {
    step unit cargo test --locked --no-fail-fast --workspace --exclude palisade-tests --exclude palisade-fuzz --exclude palisade-benches
    step readers readers
    RUSTFLAGS='--cfg palisade_loom -D warnings' step models \
        cargo test --locked --profile storm --target-dir target/models --lib -p palisade-conntrack -p palisade-publication
    step oracle-build cargo build --quiet --locked -p palisade
    export PALISADE_BIN=$ROOT/target/debug/palisade
    step oracle-check python3 tests/oracle/check.py tests/scenarios
    step oracle-teeth python3 tests/oracle/teeth.py --check
    step oracle python3 tests/oracle/run.py --seed 14 --packets 20000 --jobs "$(nproc)" --every-branch
    step oracle-fresh python3 tests/oracle/run.py --packets 20000 --jobs "$(nproc)" # prints its seed
    unset PALISADE_BIN
    step peers peers
}

peers() {
    python3 -m unittest discover -s benches/peers 2>&1 | awk '{ print } /^Ran / { ran = $2 } { well = $0 == "OK" }
        END { if (well) printf "test result: ok. %d passed; 0 failed\n", ran; exit !well }'
}

# Published flow logs, read by readers that others wrote, and delivered to a server that speaks S3, CloudWatch Logs and Firehose.
readers() {
    cargo build --quiet --locked -p palisade-flowlog --example publish
    "$TOOLS/venv/bin/python" tests/flowlogs/readers.py target/debug/examples/publish
    "$TOOLS/venv/bin/python" tests/flowlogs/services.py target/debug/examples/publish "$TOOLS/venv/bin/moto_server"
}

prepare_fuzz() { :; }

fuzz() {
    step fuzz cargo test --locked --profile storm -p palisade-fuzz
}

prepare_netns() {
    need_root "the netns part"
    need_commands conntrack curl dig dnsmasq ethtool faketime ip iperf3 jq nft nmap ping python3 tc tcpdump timeout tshark
    need_module scapy 2.8.0
    need_module flowlogs_reader 5.0.1
    need_module duckdb 2.0.0
    need_module moto 5.2.5 server,s3,logs,firehose
}

netns() {
    # Optimised, and as wary as a debug build: an assertion that fails or a number that overflows ends the daemon under test.
    step build cargo build --quiet --locked --profile storm -p palisade
    local daemon=$ROOT/target/storm/palisade python=$TOOLS/venv/bin/python moto=$TOOLS/venv/bin/moto_server
    at_exit remove_netns_of_run
    TMPDIR=$TMP PALISADE_TEST_RUN=$RUN PALISADE_BIN=$daemon PALISADE_PYTHON=$python \
        step netns cargo test --locked --no-fail-fast -p palisade-tests -- --test-threads=1 --show-output
    step flow-logs "$python" tests/flowlogs/daemon.py "$daemon" "$moto"
    step flow-log-kills "$python" tests/flowlogs/outages.py "$daemon" "$moto"
    step flow-log-files "$python" tests/flowlogs/traffic.py "$daemon"
    step scenarios scenarios_on_devices "$daemon"
    PALISADE_BIN=$daemon step demo scripts/demo.sh
    # What is counted and timed is built as it is shipped.
    step build-release cargo build --quiet --locked --release -p palisade-benches --bins
    step instructions scripts/instructions.sh --check
    step million cargo bench --quiet --locked -p palisade-benches --bench million
    PALISADE_BIN=$daemon PALISADE_LOAD=$ROOT/target/release/load step bench scripts/bench.sh --smoke
}

# Each scenario counts as a test. The few that devices cannot carry are listed in the log and bounded by the number asked for.
scenarios_on_devices() {
    "$1" scenario --netns --at-least 575 tests/scenarios tests/conntrack/traces | awk '{ print }
        / passed, .* not playable; / { printf "test result: %s. %d passed; %d failed\n", $3 ? "FAILED" : "ok", $1, $3 }'
}

# step NAME COMMAND...: runs it with its output in a log, which is shown if it failed.
step() {
    local name=$1 log=$LOGS/$1.log start status=0
    shift
    start=$(now_ms)
    [[ ! -t 2 ]] || printf '  %-14s …\r' "$name" >&2
    run "$@" >"$log" 2>&1 || status=$?
    count "$log" || status=1
    report "$name" "$status" $(($(now_ms) - start)) "$log"
}

report() {
    local name=$1 status=$2 took=$3 log=$4 note
    note=$(awk '/^test result:/ { n += $4 } /^seed / { seed = $0 } END { if (n) print n " tests"; else print seed }' "$log")
    if ((status == 0)); then
        printf '  %-14s %sok%s   %7s s  %s\n' "$name" "$GREEN" "$PLAIN" "$(seconds "$took")" "$note" >&2
        return
    fi
    [[ $note == seed* ]] && name+=" ($note)" # without it nobody could play it again
    STEPS_FAILED+=("$name")
    printf '  %-14s %sFAIL%s %7s s  %s\n' "$name" "$RED" "$PLAIN" "$(seconds "$took")" "$log" >&2
    tail -n 400 "$log" | sed 's/^/    | /' >&2
    failures "$log" | sed 's/^/    > /' >&2
}

# What the test runner says of the tests that failed, which may stand far from the end of the log.
failures() {
    awk '/^failures:$/ { shown = 1 } shown && lines++ < 400 { print } /^test result:/ { shown = 0 }' "$1"
}

# Adds up what the test runner counted; false if a test was ignored or filtered out.
count() {
    local passed failed ignored
    read -r passed failed ignored < <(awk '/^test result:/ { p += $4; f += $6; i += $8 + $12 }
        END { print p + 0, f + 0, i + 0 }' "$1")
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
    ((ignored == 0)) || printf '%d tests were ignored or filtered out\n' "$ignored" >>"$1"
    ((ignored == 0))
}

summary() {
    heading "summary"
    if ((${#STEPS_FAILED[@]})); then say "  failed steps: ${STEPS_FAILED[*]}"; else say "  every step passed"; fi
    ((FAILED || ${#STEPS_FAILED[@]} == 0)) || FAILED=${#STEPS_FAILED[@]} # a step that failed without a test counts
    say "  took $SECONDS s"
    ((PASSED + FAILED == 0)) || printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
    ((${#STEPS_FAILED[@]} == 0))
}

main "$@"
