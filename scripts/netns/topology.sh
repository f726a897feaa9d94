#!/usr/bin/env bash
# Network namespaces for a Palisade configuration: make them, look at them, remove them.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
# shellcheck source=../lib/say.sh
. "$ROOT/scripts/lib/say.sh"
# shellcheck source=../lib/install.sh
. "$ROOT/scripts/lib/install.sh"

usage() {
    cat >&2 <<'USAGE'
usage: topology.sh create|destroy|show CONFIG [--fabric NETNS]

CONFIG is a configuration file, or the name of one in configs/ ("two-subnets").

create   makes the namespaces that CONFIG names. An ENI attached by `tap` needs no more: the daemon makes the device
         in it. For one attached by `packet` a veth pair is made: the end that CONFIG names stays with the daemon, the
         other end is eth0 in a namespace called as the ENI, with its MAC address, addresses, MTU and default routes.
destroy  removes them again; what is not there is passed over.
show     a table of them: namespace, interface, state, MAC address, addresses.

--fabric NETNS   the daemon runs in this namespace (made and removed too) instead of the present one:
                 ip netns exec NETNS palisade run CONFIG

Needs root, iproute2, jq and the palisade binary (PALISADE_BIN, else target/release, target/debug, PATH).
USAGE
    exit 2
}

main() {
    local action=${1:-} config=${2:-}
    [[ $action == @(create|destroy|show) && $config ]] || usage
    shift 2
    FABRIC=''
    while (($#)); do
        case $1 in
        --fabric) FABRIC=${2:?} && shift 2 ;;
        *) usage ;;
        esac
    done
    need_root "$(basename "$0")"
    need_commands ip jq
    [[ -f $config ]] || config=$ROOT/configs/${config%.toml}.toml
    [[ -f $config ]] || die "no such configuration: $config"
    FACTS=$("$(palisade_binary)" check "$config" --output json) || die "$config does not pass palisade check"
    "$action"
}

palisade_binary() {
    local found
    for found in "${PALISADE_BIN:-}" "$ROOT"/target/{release,debug}/palisade "$(command -v palisade)"; do
        [[ -x $found ]] && printf '%s\n' "$found" && return
    done
    die "no palisade binary; cargo build --release -p palisade"
}

# One attachment per line: kind, device, namespace, and for a packet attachment of an ENI what its guest must have.
attachments() {
    jq -r '
        def words: map(. // "-" | tostring | if . == "" then "-" else . end) | join(" ");
        (.enis[] | . as $eni | .attachment |
            [.kind, .device, (.netns // (if .kind == "packet" then $eni.name else null end)), $eni.mac, $eni.mtu,
             ($eni.addresses | map(select(contains(":") | not)) | join(",")),
             ($eni.addresses | map(select(contains(":"))) | join(",")),
             $eni.subnet.cidr, $eni.subnet.ipv6_cidr] | words),
        (.services[] | . as $service | .attachment |
            [.kind, .device, (.netns // (if .kind == "packet" then $service.name else null end)), $service.mac, 1500,
             ($service.addresses | map(select(contains(":") | not)) | join(",")),
             ($service.addresses | map(select(contains(":"))) | join(",")), null, null] | words)' <<<"$FACTS"
}

create() {
    local kind device netns rest
    trap undo_failed EXIT
    [[ ! $FABRIC ]] || add_netns "$FABRIC"
    while read -r kind device netns rest; do
        [[ $netns == - ]] || add_netns "$netns"
        # shellcheck disable=SC2086
        [[ $kind != packet ]] || add_veth "$device" "$netns" $rest
    done < <(attachments)
    show
}

# A create that ends early leaves nothing behind.
undo_failed() {
    local status=$?
    ((status == 0)) || destroy
    exit "$status"
}

add_netns() {
    [[ -e /run/netns/$1 ]] && return
    ip netns add "$1"
    ip -n "$1" link set lo up
}

fabric_ip() { ip ${FABRIC:+-n "$FABRIC"} "$@"; }

# add_veth DEVICE NETNS MAC MTU IPV4S IPV6S CIDR IPV6_CIDR: the daemon's end without any address, the guest's end ready.
add_veth() {
    local device=$1 netns=$2 mac=$3 mtu=$4 address
    fabric_ip link add "$device" mtu "$mtu" type veth peer name eth0 netns "$netns" address "$mac" mtu "$mtu"
    fabric_ip link set "$device" addrgenmode none
    fabric_ip link set "$device" up
    ip -n "$netns" link set eth0 up
    for address in ${5//,/ }; do add_address "$netns" "$address/$(prefix_length "$7" 32)"; done
    for address in ${6//,/ }; do add_address "$netns" "$address/$(prefix_length "$8" 128)"; done
    if [[ $7 == - ]]; then # a service: the router is every guest's address for it
        ip -n "$netns" route add default dev eth0
        [[ $6 == - ]] || ip -n "$netns" -6 route add default dev eth0
        return
    fi
    ip -n "$netns" route add default via "$(router "$7")"
    [[ $8 == - ]] || ip -n "$netns" route add default via fe80:ec2::1 dev eth0
}

add_address() {
    local flags=()
    [[ $2 != -* ]] || return 0
    [[ $2 != *:* ]] || flags=(nodad)
    ip -n "$1" address add "$2" dev eth0 ${flags[@]+"${flags[@]}"}
}

prefix_length() { if [[ $1 == - ]]; then printf '%s' "$2"; else printf '%s' "${1#*/}"; fi; }

# The router is the first host address of the subnet (RES-11).
router() {
    local network=${1%/*}
    printf '%s.%d' "${network%.*}" $((${network##*.} + 1))
}

destroy() {
    local kind device netns _
    while read -r kind device netns _; do
        [[ $kind != packet ]] || fabric_ip link del "$device" 2>/dev/null || true
        [[ ! -e /run/netns/$netns ]] || ip netns del "$netns"
    done < <(attachments)
    [[ -z $FABRIC || ! -e /run/netns/$FABRIC ]] || ip netns del "$FABRIC"
}

show() {
    local netns
    printf '%-22s %-12s %-6s %-18s %s\n' NAMESPACE INTERFACE STATE MAC ADDRESSES
    {
        [[ ! $FABRIC ]] || printf '%s\n' "$FABRIC"
        attachments | cut -d' ' -f3 | grep -vx -- - | sort -u
    } | while read -r netns; do
        if [[ -e /run/netns/$netns ]]; then show_netns "$netns"; else printf '%-22s (absent)\n' "$netns"; fi
    done
}

show_netns() {
    ip -n "$1" -json address show | jq -r --arg netns "$1" '
        [.[] | select(.ifname != "lo")] |
        if length == 0 then [{ifname: "-", operstate: "-", address: "-", addr_info: []}] else . end | .[] |
        [$netns, .ifname, .operstate, .address,
         ([.addr_info[] | select(.scope == "global") | "\(.local)/\(.prefixlen)"] | join(" "))] | @tsv' |
        while IFS=$'\t' read -r netns link state mac addresses; do
            printf '%-22s %-12s %-6s %-18s %s\n' "$netns" "$link" "$state" "$mac" "$addresses"
        done
}

main "$@"
