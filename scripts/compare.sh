#!/usr/bin/env bash
# Throughput of the daemon against a Linux router with nftables, in the same run; see --help.
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
usage: compare.sh [--seconds N] [--rounds N] [--output table|json]

One iperf3 TCP stream from a client in one subnet to a server in another, MTU 1500, through

  nft      a Linux router: 20 stateless nftables rules per subnet and direction, 60 stateful ones per side
  tap      the daemon, both guests on TAPs, 20 ACL entries per subnet and direction, 60 group rules per side
  packet   the daemon with the same rules, both guests on packet sockets

each with the segmentation offloads of the guests on and off (tso, gso, gro). In every list the traffic matches the
last rule. Rounds are interleaved; medians are compared. Wants a quiet machine. Needs root; removes what it made.

--seconds N   length of one measurement (default 5)
--rounds N    measurements of each kind (default 3)
--output      a table (default), or JSON with every measurement
USAGE
    exit 2
}

CLIENT=10.0.1.10 SERVER=10.0.2.10
SECONDS_EACH=5 ROUNDS=3 OUTPUT=table

main() {
    while (($#)); do
        case $1 in
        --seconds) SECONDS_EACH=${2:?} ;;
        --rounds) ROUNDS=${2:?} ;;
        --output) OUTPUT=${2:?} ;;
        *) usage ;;
        esac
        shift 2
    done
    [[ $SECONDS_EACH =~ ^[1-9][0-9]*$ && $ROUNDS =~ ^[1-9][0-9]*$ && $OUTPUT == @(table|json) ]] || usage
    need_root compare.sh
    begin_run cmp
    prepare
    measure_all
    jq -s "$(analysis)" "$TMP/lines" >"$TMP/result.json"
    if [[ $OUTPUT == json ]]; then cat "$TMP/result.json"; else table; fi
}

prepare() {
    need_commands ethtool ip iperf3 jq nft ping timeout
    at_exit remove_netns_of_run
    [[ ${PALISADE_BIN:-} ]] && return
    need_rust
    say "building the release daemon"
    (cd "$ROOT" && run cargo build --quiet --locked --release -p palisade) || die "the build failed"
    PALISADE_BIN=$ROOT/target/release/palisade
}

measure_all() {
    local round middle offloads
    for ((round = 1; round <= ROUNDS; round++)); do
        for middle in nft tap packet; do
            build "$middle"
            for offloads in on off; do
                set_offloads "$offloads"
                iperf
                say "round $round, $middle, offloads $offloads: $GBITS Gbit/s, $RETRANSMITS retransmissions"
                jq -cn --arg middle "$middle" --arg offloads "$offloads" --argjson round "$round" \
                    --argjson gbits "$GBITS" --argjson retransmits "$RETRANSMITS" '$ARGS.named' >>"$TMP/lines"
            done
            tear_down
        done
    done
}

# --------------------------------------------------------------------------------------------------------- topology --

MIDDLE_PID=''

build() {
    local netns
    for netns in client server middle; do
        ip netns add "$RUN-$netns"
        ip -n "$RUN-$netns" link set lo up
    done
    MIDDLE_PID=''
    case $1 in
    nft) build_router ;;
    tap | packet) build_daemon "$1" ;;
    esac
    wait_until 10 inside client ping -n -c 1 -W 1 "$SERVER" || {
        tail -n 20 "$TMP/daemon.log" >&2 || true
        die "$1: the client does not reach the server"
    }
}

tear_down() {
    [[ ! $MIDDLE_PID ]] || end_process "$MIDDLE_PID"
    remove_netns_of_run
}

# veth GUEST ADDRESS MAC: a pair, its far end named as the guest in the middle.
veth() {
    ip -n "$RUN-$1" link add eth0 address "$3" type veth peer name "$1" netns "$RUN-middle"
    ip -n "$RUN-middle" link set "$1" addrgenmode none
    ip -n "$RUN-middle" link set "$1" up
    ip -n "$RUN-$1" link set eth0 up
    ip -n "$RUN-$1" address add "$2/24" dev eth0
    ip -n "$RUN-$1" route add default via "${2%.*}.1"
}

veths() {
    veth client "$CLIENT" 02:00:0a:00:01:0a
    veth server "$SERVER" 02:00:0a:00:02:0a
}

build_router() {
    veths
    ip -n "$RUN-middle" address add "${CLIENT%.*}.1/24" dev client
    ip -n "$RUN-middle" address add "${SERVER%.*}.1/24" dev server
    inside middle sysctl -qw net.ipv4.ip_forward=1
    nft_rules >"$TMP/rules.nft"
    inside middle nft -f "$TMP/rules.nft"
}

build_daemon() {
    [[ $1 != packet ]] || veths
    config "$1" >"$TMP/vpc.toml"
    : >"$TMP/daemon.log"
    spawn "$TMP/daemon.log" inside middle "$PALISADE_BIN" run --socket "$TMP/palisade.sock" "$TMP/vpc.toml"
    MIDDLE_PID=$SPAWNED
}

# ------------------------------------------------------------------------------------------------------------ rules --

# acl_nft NAME saddr|daddr: 20 ordered stateless entries, the last of them the one that matches.
acl_nft() {
    local i
    printf 'chain %s {\n' "$1"
    for ((i = 1; i < 20; i++)); do
        printf 'ip %s 172.16.%d.0/24 %s dport %d-%d %s\n' "$2" "$i" "$(protocol "$i")" $((100 * i)) $((100 * i + 9)) \
            "$( ((i % 4 == 3)) && printf drop || printf return)"
    done
    printf 'ip %s 10.0.0.0/16 return\ndrop\n}\n' "$2"
}

# group_nft NAME saddr|daddr THEN: 60 allowing rules, the last of them the one that matches.
group_nft() {
    local i
    printf 'chain %s {\n' "$1"
    for ((i = 1; i < 60; i++)); do
        printf 'ip %s 192.168.0.%d %s dport %d %s\n' "$2" "$i" "$(protocol "$i")" $((20 + i)) "$3"
    done
    printf 'ip %s 10.0.0.0/16 %s\ndrop\n}\n' "$2" "$3"
}

protocol() { (($1 % 2)) && printf tcp || printf udp; }

nft_rules() {
    printf 'table ip vpc {\n'
    acl_nft acl_web_egress daddr
    acl_nft acl_data_ingress saddr
    acl_nft acl_data_egress daddr
    acl_nft acl_web_ingress saddr
    group_nft group_server_ingress saddr accept
    group_nft group_client_egress daddr 'goto group_server_ingress'
    cat <<'FORWARD'
chain forward {
    type filter hook forward priority filter; policy drop;
    iifname "client" jump acl_web_egress
    oifname "server" jump acl_data_ingress
    iifname "server" jump acl_data_egress
    oifname "client" jump acl_web_ingress
    ct state established,related accept
    iifname "client" oifname "server" goto group_client_egress
}
}
FORWARD
}

# acl_toml from|to
acl_toml() {
    local i
    for ((i = 1; i < 20; i++)); do
        printf '    "%d %s %s %d-%d %s 172.16.%d.0/24",\n' "$i" "$( ((i % 4 == 3)) && printf deny || printf allow)" \
            "$(protocol "$i")" $((100 * i)) $((100 * i + 9)) "$1" "$i"
    done
    printf '    "20 allow all %s 10.0.0.0/16",\n' "$1"
}

# group_toml from|to
group_toml() {
    local i
    for ((i = 1; i < 60; i++)); do
        printf '    "%s %d %s 192.168.0.%d/32",\n' "$(protocol "$i")" $((20 + i)) "$1" "$i"
    done
    printf '    "all %s 10.0.0.0/16",\n' "$1"
}

# config tap|packet: the daemon's configuration file.
config() {
    cat <<CONFIG
[vpc]
cidr_blocks = ["10.0.0.0/16"]

[quotas]
network_acl_entries = 40

[network_acl.lists]
ingress = [
$(acl_toml from)
]
egress = [
$(acl_toml to)
]

[security_group.client]
egress = [
$(group_toml to)
]

[security_group.server]
ingress = [
$(group_toml from)
]
egress = []

[subnet.web]
cidr = "10.0.1.0/24"
network_acl = "lists"

[subnet.data]
cidr = "10.0.2.0/24"
network_acl = "lists"

$(eni_toml "$1" client web "$CLIENT" 02:00:0a:00:01:0a)
$(eni_toml "$1" server data "$SERVER" 02:00:0a:00:02:0a)
CONFIG
}

eni_toml() {
    local attach="packet = \"$2\""
    [[ $1 != tap ]] || attach="tap = \"eth0\", netns = \"$RUN-$2\", configure = true"
    cat <<ENI
[eni.$2]
subnet = "$3"
address = "$4"
mac = "$5"
mtu = 1500
groups = ["$2"]
attach = { $attach }
ENI
}

# ------------------------------------------------------------------------------------------------------ measurement --

set_offloads() {
    local netns
    for netns in client server; do
        inside "$netns" ethtool -K eth0 tso "$1" gso "$1" gro "$1" >/dev/null 2>&1 || true
    done
}

# One measurement, into GBITS and RETRANSMITS.
iperf() {
    spawn "$TMP/iperf.log" inside server iperf3 -s -1
    wait_until 5 server_listens || die "iperf3 does not listen"
    run ip netns exec "$RUN-client" timeout $((SECONDS_EACH + 10)) iperf3 -c "$SERVER" --connect-timeout 3000 \
        -C cubic -t "$SECONDS_EACH" --json >"$TMP/iperf.json" || true
    end_process "$SPAWNED"
    GBITS=$(jq '(.end.sum_received.bits_per_second // 0) / 1e6 | round / 1000' "$TMP/iperf.json")
    RETRANSMITS=$(jq '.end.sum_sent.retransmits // 0' "$TMP/iperf.json")
}

server_listens() { [[ $(inside server ss -Htnl 'sport = :5201') ]]; }

# Medians of each kind, and the ratios that are promised.
analysis() {
    cat <<'JQ'
def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def r: . * 1000 | round / 1000;
def ratio($a; $b): if $b > 0 then $a / $b | r else null end;
. as $all
| [group_by([.middle, .offloads])[] | {
      middle: .[0].middle, offloads: .[0].offloads, gbits: (map(.gbits) | median | r),
      min: (map(.gbits) | min), max: (map(.gbits) | max), retransmits: (map(.retransmits) | median)}] as $figures
| def figure($m; $o): $figures[] | select(.middle == $m and .offloads == $o) | .gbits;
{
    figures: $figures,
    ratios: [
        {name: "TAPs / nft, offloads on", value: ratio(figure("tap"; "on"); figure("nft"; "on")), wanted: 0.5},
        {name: "packet sockets / nft, offloads on", value: ratio(figure("packet"; "on"); figure("nft"; "on")),
         wanted: 0.45},
        {name: "TAPs, offloads on / off", value: ratio(figure("tap"; "on"); figure("tap"; "off")), wanted: 5},
        {name: "packet sockets, offloads on / off", value: ratio(figure("packet"; "on"); figure("packet"; "off")),
         wanted: 5}
    ],
    measurements: $all
}
JQ
}

table() {
    printf '%-8s %-9s %9s %9s %9s %16s\n' MIDDLE OFFLOADS Gbit/s MIN MAX RETRANSMISSIONS
    jq -r '.figures | sort_by(.middle, (.offloads == "off"))[]
        | [.middle, .offloads, .gbits, .min, .max, .retransmits] | @tsv' "$TMP/result.json" |
        while IFS=$'\t' read -r middle offloads gbits min max retransmits; do
            printf '%-8s %-9s %9s %9s %9s %16s\n' "$middle" "$offloads" "$gbits" "$min" "$max" "$retransmits"
        done
    printf '\n%-36s %8s %8s\n' RATIO VALUE WANTED
    jq -r '.ratios[] | [.name, .value, .wanted] | @tsv' "$TMP/result.json" |
        while IFS=$'\t' read -r name value wanted; do printf '%-36s %8s %8s\n' "$name" "$value" "$wanted"; done
}

main "$@"
