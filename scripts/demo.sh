#!/usr/bin/env bash
# The main job on real packets: four hosts in two subnets and a name server, a daemon between them, and every claim of
# configs/two-subnets.toml tried. Ends with a table; exit status 0 if everything was as expected. See --help.
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
usage: demo.sh

Installs what is missing (Debian packages), builds the release daemon, and shows it at work between network namespaces
of its own: what network ACLs and security groups allow and deny, which rule decided, and how fast it goes. Needs root
and Rust, takes about a minute after the build, and removes everything it made, also when interrupted.

PALISADE_BIN   a palisade binary to use instead of building one
USAGE
    exit 2
}

TCP=(python3 "$ROOT/scripts/lib/tcp.py")
ROWS=() FAILURES=0

main() {
    (($# == 0)) || usage
    need_root demo.sh
    begin_run demo
    prepare
    start
    show_allowed_and_denied
    show_state
    show_stateless
    show_names
    show_throughput
    show_nothing_allowed
    stop
    summary
}

# ------------------------------------------------------------------------------------------------------ preparation --

prepare() {
    heading "Preparing"
    need_commands curl dig dnsmasq ip iperf3 jq ping python3 tcpdump timeout
    if [[ ! ${PALISADE_BIN:-} ]]; then
        need_rust
        say "building the release daemon"
        (cd "$ROOT" && run cargo build --quiet --locked --release -p palisade) || die "the build failed"
        PALISADE_BIN=$ROOT/target/release/palisade
    fi
    export PALISADE_BIN PALISADE_SOCKET=$TMP/palisade.sock
}

# Namespaces have names of this run, so that the demo disturbs nobody, not even another demo.
start() {
    sed -E "s/netns = \"([^\"]+)\"/netns = \"$RUN-\\1\"/" "$ROOT/configs/two-subnets.toml" >"$TMP/vpc.toml"
    at_exit remove_netns_of_run
    "$ROOT/scripts/netns/topology.sh" create "$TMP/vpc.toml" --fabric "$RUN-fabric" >"$TMP/topology" ||
        die "the namespaces could not be made"
    spawn "$TMP/daemon.log" ip netns exec "$RUN-fabric" "$PALISADE_BIN" run "$TMP/vpc.toml"
    DAEMON=$SPAWNED
    wait_until 10 "$PALISADE_BIN" status || fail_start
    learn_names
    wait_until 10 addresses_ready || die "the hosts' addresses were not ready"
    spawn "$TMP/servers.log" inside db-1 "${TCP[@]}" serve 22 5432 5433 8080
    spawn "$TMP/servers.log" inside db-2 "${TCP[@]}" serve 5432
    spawn "$TMP/servers.log" inside web-1 "${TCP[@]}" serve 80
    spawn "$TMP/dns.log" inside dns dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
        --user=root --pid-file= --log-facility=- --bind-interfaces --listen-address=10.0.0.2 \
        --listen-address=169.254.169.253 --address=/db-1.example.internal/10.0.2.10
    local at
    for at in db-1:22 db-1:5432 db-1:5433 db-1:8080 db-2:5432 web-1:80 dns:53; do
        wait_until 5 listens "${at%:*}" "${at#*:}" || die "nothing listens on port ${at#*:} of ${at%:*}"
    done
    say "daemon and servers run:"
    "$ROOT/scripts/netns/topology.sh" show "$TMP/vpc.toml" --fabric "$RUN-fabric" | sed 's/^/  /' >&2
}

fail_start() {
    cat "$TMP/daemon.log" >&2
    die "the daemon did not start"
}

addresses_ready() {
    local host
    for host in web-1 web-2 db-1 db-2 dns; do
        [[ $(ip -n "$RUN-$host" address show dev eth0) == *LOWER_UP*inet\ * ]] || return 1
        [[ ! $(ip -n "$RUN-$host" address show dev eth0 tentative) ]] || return 1
    done
}

listens() { [[ $(inside "$1" ss -Htnl "sport = :$2") ]]; }

# ----------------------------------------------------------------------------------------------------------- checks --

# check WHAT EXPECTED(yes|no) PACKET COMMAND...: whether the command succeeds, beside what `explain` says of PACKET.
check() {
    local what=$1 expected=$2 packet=$3 seen=no
    shift 3
    "$@" >"$TMP/output" 2>&1 && seen=yes
    row "$what" "$expected" "$seen" "$(decided "$packet")"
}

# row WHAT EXPECTED SEEN DETAIL: notes a result and shows it.
row() {
    local mark=ok colour=$GREEN
    if [[ $2 != "$3" ]]; then mark=FAIL colour=$RED FAILURES=$((FAILURES + 1)); fi
    ROWS+=("$mark|$1|$2|$3|$4")
    printf '  %s%-4s%s %-50s %s%s%s\n' "$colour" "$mark" "$PLAIN" "$1" "$DIM" "$4" "$PLAIN" >&2
}

# What the ids in an explanation stand for: rules as they are written, ACLs by name.
learn_names() {
    "$PALISADE_BIN" check "$TMP/vpc.toml" --output json | jq '
        [.security_groups[] | . as $group | (.ingress + .egress)[] |
            {id: "\(.id) of \($group.id)", name: "\"\(.rule)\" of group \($group.name)"}]
        + [.network_acls[] | {id, name: "ACL \(.name)"}]' >"$TMP/names.json"
}

# The stage and the rule that decide what becomes of a packet.
decided() {
    [[ $1 ]] || return 0
    "$PALISADE_BIN" explain --output json "$1" 2>"$TMP/explain.err" | jq -r --slurpfile names "$TMP/names.json" '
        def named: reduce $names[0][] as $it (.; split($it.id) | join($it.name));
        def place: "\(.stage) \(.direction // "") of \(.at)" | gsub("  "; " ");
        def words: "\(place): \(.rule // .note | named)";
        if .outcome.verdict == "dropped" then
            (.stages | map(select(.result == "denied")) | last | if . then words else "\(.outcome)" end)
        else
            (.stages | map(select(.stage == "security-group" or .stage == "service-path" or .stage == "network-acl"))
             | map(select(.result != "not-consulted")) | last | if . then words else .outcome.detail end)
        end' || cat "$TMP/explain.err"
}

# tcp WHAT EXPECTED FROM TO_ADDRESS PORT FROM_ADDRESS
tcp() {
    check "$1" "$2" "$(packet tcp "$6" 40000 "$4" "$5") syn" inside "$3" "${TCP[@]}" ask "$4" "$5"
}

packet() {
    if [[ $2 == *:* ]]; then printf '%s [%s]:%s > [%s]:%s' "$@"; else printf '%s %s:%s > %s:%s' "$@"; fi
}

ping_from() { inside "$1" ping -n -q -c 2 -i 0.2 -W 1 "$2"; }

show_allowed_and_denied() {
    heading "What rules allow and deny"
    tcp "web-1 to db-1, TCP 5432" yes web-1 10.0.2.10 5432 10.0.1.10
    tcp "the same over IPv6" yes web-1 2001:db8:1:2::10 5432 2001:db8:1:1::10
    tcp "web-1 to db-1, TCP 5433: no group rule" no web-1 10.0.2.10 5433 10.0.1.10
    tcp "web-1 to db-1, TCP 8080: ACL entry denies" no web-1 10.0.2.10 8080 10.0.1.10
    tcp "web-1 to db-1, TCP 22: no ACL entry" no web-1 10.0.2.10 22 10.0.1.10
    tcp "db-2 to db-1, TCP 5432: same subnet, no ACL" yes db-2 10.0.2.10 5432 10.0.2.20
    tcp "web-2 to web-1, TCP 80" yes web-2 10.0.1.10 80 10.0.1.20
    check "web-1 pings db-1" yes "icmp 10.0.1.10 > 10.0.2.10 echo-request" ping_from web-1 10.0.2.10
    check "web-1 pings db-1 over IPv6" yes "icmpv6 2001:db8:1:1::10 > 2001:db8:1:2::10 echo-request" \
        ping_from web-1 2001:db8:1:2::10
}

show_state() {
    local port
    heading "Return traffic of a group is stateful"
    tcp "db-1 to web-1, TCP 80: no egress rule" no db-1 10.0.1.10 80 10.0.2.10
    check "db-1 pings web-1: no egress rule" no "icmp 10.0.2.10 > 10.0.1.10 echo-request" ping_from db-1 10.0.1.10
    spawn "$TMP/talk.log" inside web-1 "${TCP[@]}" talk 10.0.2.10 5432 "$TMP/talk"
    TALK=$SPAWNED
    wait_until 5 test -s "$TMP/talk" || true
    read -r port _ <"$TMP/talk" || port=0
    check "db-1 answers web-1 on that connection" yes "tcp 10.0.2.10:5432 > 10.0.1.10:$port ack" goes_on
    row "the connection table has it" established "$(connection .state "$port")" \
        "$(connection '"\(.protocol) \(.local):\(.local_port) to \(.remote):\(.remote_port), " +
            "\(.left_seconds | floor) s left"' "$port")"
}

# Whether the connection of `talk` is still echoing.
goes_on() {
    local before after
    read -r _ before <"$TMP/talk" || return 1
    sleep 0.6
    read -r _ after <"$TMP/talk"
    ((after > before))
}

# A fact of web-1's entry with this local port.
connection() {
    "$PALISADE_BIN" conns --eni web-1 --output json |
        jq -r --argjson port "$2" ".connections[] | select(.local_port == \$port) | $1"
}

show_stateless() {
    heading "An ACL has no memory"
    row "web-1 to db-1, TCP 5432, source port 7000: request" delivered \
        "$(verdict "tcp 10.0.1.10:7000 > 10.0.2.10:5432 syn")" "$(decided "tcp 10.0.1.10:7000 > 10.0.2.10:5432 syn")"
    check "… its answer, and so the connection" no "tcp 10.0.2.10:5432 > 10.0.1.10:7000 syn ack" \
        inside web-1 "${TCP[@]}" ask 10.0.2.10 5432 7000
}

verdict() { "$PALISADE_BIN" explain --output json "$1" 2>/dev/null | jq -r .outcome.verdict; }

show_names() {
    local server
    heading "Names, on reserved addresses"
    for server in 10.0.0.2 169.254.169.253; do
        check "db-1 asks $server, UDP" yes "udp 10.0.2.10:40000 > $server:53" dns db-1 "$server" +notcp
        check "web-1 asks $server, TCP" yes "tcp 10.0.1.10:40000 > $server:53 syn" dns web-1 "$server" +tcp
    done
}

dns() {
    [[ $(inside "$1" dig "@$2" db-1.example.internal +short +time=1 +tries=2 "$3") == 10.0.2.10 ]]
}

show_throughput() {
    heading "Throughput, web-1 to db-1"
    iperf tcp -C cubic -t 4
    row "iperf3 TCP, 4 s" yes "$(jq -r 'if .end.sum_received.bytes > 1e8 then "yes" else "no" end' "$TMP/tcp.json")" \
        "$(jq -r '"\(.end.sum_received.bits_per_second / 1e8 | round / 10) Gbit/s, " +
            "\(.end.sum_sent.retransmits) retransmissions"' "$TMP/tcp.json")"
    iperf udp -u -b 200M -l 1400 -t 3
    row "iperf3 UDP, 200 Mbit/s for 3 s" yes \
        "$(jq -r 'if .end.sum.packets > 1000 and .end.sum.lost_percent < 1 then "yes" else "no" end' "$TMP/udp.json")" \
        "$(jq -r '"\(.end.sum.lost_packets) of \(.end.sum.packets) packets lost"' "$TMP/udp.json")"
}

iperf() {
    local name=$1
    shift
    spawn "$TMP/iperf.log" inside db-1 iperf3 -s -1
    wait_until 5 listens db-1 5201 || true
    run ip netns exec "$RUN-web-1" timeout 15 iperf3 -c 10.0.2.10 --connect-timeout 3000 --json "$@" \
        >"$TMP/$name.json" 2>&1 || true
    end_process "$SPAWNED"
    jq -e '.end.sum // .end.sum_received' "$TMP/$name.json" >/dev/null 2>&1 || printf '{}' >"$TMP/$name.json"
}

# The same file with every list of rules empty.
deny_everything() {
    awk '
        /^\[/ { rules = /^\[(network_acl|security_group)\./; skip = 0 }
        rules && /^(ingress|egress) *=/ { skip = !/\] *(#.*)?$/; next }
        skip { if (/^\]/) skip = 0; next }
        { print }
        rules && /^\[/ { print "ingress = []\negress = []" }' "$1"
}

show_nothing_allowed() {
    heading "Every ACL and every group denies everything (palisade reload)"
    deny_everything "$TMP/vpc.toml" >"$TMP/denied.toml"
    cp "$TMP/denied.toml" "$TMP/vpc.toml"
    check "the running daemon takes the new file" yes '' "$PALISADE_BIN" reload
    local port
    read -r port _ <"$TMP/talk" || port=0
    check "the open connection is cut at once" no "tcp 10.0.1.10:$port > 10.0.2.10:5432 ack" goes_on
    end_process "$TALK"
    tcp "web-1 to db-1, TCP 5432" no web-1 10.0.2.10 5432 10.0.1.10
    check "web-1 pings db-1" no "icmp 10.0.1.10 > 10.0.2.10 echo-request" ping_from web-1 10.0.2.10
    check "db-1 asks 10.0.0.2, UDP" yes "udp 10.0.2.10:40000 > 10.0.0.2:53" dns db-1 10.0.0.2 +notcp
    check "web-1 asks 169.254.169.253, TCP" yes "tcp 10.0.1.10:40000 > 169.254.169.253:53 syn" \
        dns web-1 169.254.169.253 +tcp
}

# The daemon ends with status 0 only if its counts of packets and connections add up.
stop() {
    local status=0
    heading "The end"
    end_process "$DAEMON"
    wait "$DAEMON" || status=$?
    row "the daemon stops, its books balanced" 0 "$status" ''
}

summary() {
    local line mark what expected seen detail
    heading "Summary"
    printf '%-4s  %-50s %-12s %-12s %s\n' '' CHECK EXPECTED SEEN "DECIDED BY"
    for line in "${ROWS[@]}"; do
        IFS='|' read -r mark what expected seen detail <<<"$line"
        printf '%-4s  %-50s %-12s %-12s %s\n' "$mark" "$what" "$expected" "$seen" "$detail"
    done
    printf '\n%d checks, %d not as expected\n' "${#ROWS[@]}" "$FAILURES"
    ((FAILURES == 0))
}

main "$@"
