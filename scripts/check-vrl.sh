#!/usr/bin/env bash
# Reads published flow logs with VRL's own parser; see --help.
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
usage: check-vrl.sh [DIRECTORY]

Parses every line of the flow logs in a directory, text of the default format, with parse_aws_vpc_flow_log of the Vector Remap
Language, and compares what it finds field by field. Without a directory: files that are published for the purpose. The first
run builds VRL, which takes some ten minutes on two cores; so this is no part of test.sh.
USAGE
    exit 2
}

main() {
    case ${1-} in
    -*) usage ;;
    esac
    (($# <= 1)) || usage
    begin_run check-vrl
    need_rust
    cd "$ROOT"
    local directory=${1-$TMP/text} files
    if ((!$#)); then
        run cargo build --quiet --locked -p palisade-flowlog --example publish
        run target/debug/examples/publish "$TMP"
    fi
    [[ -d $directory ]] || die "there is no directory $directory"
    mapfile -d '' files < <(find "$directory" -name '*.log.gz' -print0)
    ((${#files[@]})) || die "no objects of text (*.log.gz) are in $directory"
    run cargo build --quiet --locked --manifest-path tests/flowlogs/vrl/Cargo.toml --target-dir target/vrl
    gzip -dc "${files[@]}" | target/vrl/debug/palisade-check-vrl
}

main "$@"
