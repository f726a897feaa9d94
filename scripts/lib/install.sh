# shellcheck shell=bash
# Installs what is missing on Debian and nothing that is there. Sourced, never run; needs say.sh.

# Tools that Debian lacks live here, so that a second checkout finds them.
TOOLS=${PALISADE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/palisade-tools}
PATH=$PATH:$TOOLS/bin:$TOOLS/venv/bin:/usr/sbin:/sbin

declare -A DEBIAN_PACKAGE=(
    [arping]=iputils-arping [cc]=gcc [conntrack]=conntrack [curl]=curl [dig]=bind9-dnsutils [dnsmasq]=dnsmasq-base
    [ethtool]=ethtool [ip]=iproute2 [iperf3]=iperf3 [jq]=jq [nft]=nftables [nmap]=nmap [ovs-vswitchd]=openvswitch-switch
    [ping]=iputils-ping [python3]=python3 [setpriv]=util-linux [shellcheck]=shellcheck [taskset]=util-linux [tc]=iproute2
    [tcpdump]=tcpdump [timeout]=coreutils [valgrind]=valgrind
)

need_root() {
    ((EUID == 0)) || die "$1 makes network namespaces and so must run as root"
}

# Installs the Debian packages of those commands that are not there, with one update of the lists.
need_commands() {
    local name missing=()
    for name in "$@"; do
        command -v "$name" >/dev/null || missing+=("${DEBIAN_PACKAGE[$name]:-$name}")
    done
    install_packages ${missing[@]+"${missing[@]}"}
}

install_packages() {
    (($#)) || return 0
    command -v apt-get >/dev/null || die "please install: $* (no apt-get here)"
    ((EUID == 0)) || die "please install as root: apt-get install $*"
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq </dev/null >/dev/null || die "apt-get update failed"
    apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null || die "apt-get could not install: $*"
}

need_rust() {
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null || die "cargo is missing: install Rust (https://rustup.rs), then run this again"
    need_commands cc
}

# need_cargo_tool NAME VERSION: builds a cargo subcommand into $TOOLS unless some version of it is there.
need_cargo_tool() {
    command -v "$1" >/dev/null && return
    say "building $1 $2 (once, some minutes)"
    cargo install --quiet --locked --root "$TOOLS" "$1@$2" </dev/null
}

# need_wheel NAME VERSION: installs a program that pip has as a binary wheel into $TOOLS/venv.
need_wheel() {
    command -v "$1" >/dev/null || install_wheel "$1" "$2"
}

# need_module NAME VERSION [EXTRAS]: the same for a library; programs that use it run with $TOOLS/venv/bin/python.
need_module() {
    "$TOOLS/venv/bin/python" -c "import $1" 2>/dev/null || install_wheel "$1${3:+[$3]}" "$2"
}

install_wheel() {
    local python=/usr/bin/python3
    [[ -x $python ]] || need_commands python3
    "$python" -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
    [[ -x $TOOLS/venv/bin/pip ]] || "$python" -m venv "$TOOLS/venv"
    say "installing $1 $2"
    "$TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "$1==$2" </dev/null
}
