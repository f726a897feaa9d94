#!/usr/bin/env bash
# Palisade against its peers, on this machine; see --help.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=lib/say.sh
. "$ROOT/scripts/lib/say.sh"
# shellcheck source=lib/cleanup.sh
. "$ROOT/scripts/lib/cleanup.sh"
# shellcheck source=lib/install.sh
. "$ROOT/scripts/lib/install.sh"

# The harness itself is in benches/peers. This builds and installs what it needs, and removes what it leaves if it is killed.
HARNESS=$ROOT/benches/peers

main() {
    local needed
    need_commands python3
    if [[ " $* " =~ \ (-h|--help|--list|--read)[\ =] ]]; then
        exec python3 "$HARNESS" "$@" # measures nothing
    fi
    needed=$(python3 "$HARNESS" --needs "$@") || exit $?
    need_root bench.sh
    begin_run bench
    at_exit remove_netns_of_run
    # shellcheck disable=SC2086
    need_commands $needed
    build
    export RUN TMP PALISADE_BIN PALISADE_LOAD
    run python3 "$HARNESS" "$@"
}

# Each is built unless it was given.
build() {
    if [[ ! ${PALISADE_BIN:-} ]]; then
        build_release "the daemon" -p palisade
        PALISADE_BIN=$ROOT/target/release/palisade
    fi
    if [[ ! ${PALISADE_LOAD:-} ]]; then
        build_release "the load generator" -p palisade-benches --bin load
        PALISADE_LOAD=$ROOT/target/release/load
    fi
}

build_release() {
    local what=$1
    shift
    need_rust
    say "building $what"
    run cargo build --quiet --locked --release --manifest-path "$ROOT/Cargo.toml" "$@" || die "the build failed"
}

main "$@"
