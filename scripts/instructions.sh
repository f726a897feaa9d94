#!/usr/bin/env bash
# Counts the instructions that paths of the data plane take per packet; see --help.
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
usage: instructions.sh [--check | --record]

Counts instructions per packet under callgrind, which does not depend on how busy the machine is:

acl-N       one network ACL of N entries, asked about a packet that only the last matches
groups-N    security groups of N rules, likewise
parse       bytes to summary, a TCP segment without payload
hit         a segment of an established connection, served from the flow cache
logged      the same with flow logs, which are told of the flow once in a thousand packets
delta       the same, where every packet tells the ledger of both ENIs' flows, and what is in it goes on every minute
unmirrored  a hit, in a world with mirror sessions that copy none of it
mirrored    the same, with two copies made: at the sender's session, and at the receiver's
vxlan       one copy of that segment into VXLAN, by itself
miss        the first packet of a flow at 1,000 ACL entries and 1,000 group rules per side

--check    exit 1 if a count is more than a tenth above the one in benches/instructions.txt
--record   write the counts there
USAGE
    exit 2
}

RECORDED=$ROOT/benches/instructions.txt
PACKETS=10000

main() {
    case ${1-} in
    "" | --check | --record) ;;
    *) usage ;;
    esac
    begin_run instructions
    need_rust
    need_commands valgrind
    cd "$ROOT"
    run cargo build --quiet --locked --release -p palisade-benches --bin instructions
    local path counts="" count failed=0
    for path in {acl,groups}-{20,60,1000,16000} parse hit logged delta unmirrored mirrored vxlan miss; do
        count=$(count "$path")
        counts+="$path $count"$'\n'
        judge "$path" "$count" || failed=1
    done
    [[ ${1-} != --record ]] || printf '%s' "$counts" >"$RECORDED"
    [[ ${1-} != --check ]] || exit "$failed"
}

# Instructions per packet.
count() {
    local log=$TMP/$1.log total function=${1/unmirrored/hit}
    function=${function%-*}
    valgrind --tool=callgrind --collect-atstart=no --toggle-collect="*::${function}_path" --callgrind-out-file=/dev/null \
        "$ROOT/target/release/instructions" "$1" "$PACKETS" 2>"$log" || { cat "$log" >&2; die "callgrind failed"; }
    total=$(awk '/Collected/ { print $NF }' "$log")
    ((total > 0)) || die "callgrind counted nothing in ${function}_path"
    echo $((total / PACKETS))
}

# Says how a count stands to the recorded one; false if it is more than a tenth above.
judge() {
    local recorded
    recorded=$(awk -v path="$1" '$1 == path { print $2 }' "$RECORDED" 2>/dev/null || true)
    printf '%-13s %6d instructions per packet, recorded %s\n' "$1" "$2" "${recorded:-nothing}"
    (($2 * 10 <= ${recorded:-0} * 11))
}

main "$@"
