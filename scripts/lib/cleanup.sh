# shellcheck shell=bash
# What a run made is removed when it ends, whatever ends it. Sourced, never run; needs say.sh.
#
#   begin_run NAME        once, first: sets RUN (prefix of every name this run makes) and TMP (its directory)
#   at_exit COMMAND...    runs at the end, last registered first
#   run COMMAND...        a foreground command that Ctrl-C and TERM interrupt at once
#   spawn LOG COMMAND...  a background process, ended at exit; its pid is in SPAWNED
#   end_process PID...    ends what run or spawn started, children included: TERM, then KILL after five seconds
#   make_netns NAME       a namespace called $RUN-NAME, removed at exit
#   remove_netns_of_run   for at_exit, where another program makes namespaces called $RUN-…
#
# Names carry the pid of the run, and only names registered here are removed, so two runs never touch each other's.

declare -a AT_EXIT=()
RUN='' TMP='' SPAWNED=''

begin_run() {
    RUN="pal-$1$$"
    TMP=$(mktemp -d "${TMPDIR:-/tmp}/$RUN.XXXXXX")
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    at_exit rm -rf "$TMP"
}

at_exit() { AT_EXIT+=("$(printf '%q ' "$@")"); }

clean_up() {
    local status=$? i
    trap '' HUP INT TERM # a second Ctrl-C must not leave half of it behind
    trap - EXIT
    set +e
    for ((i = ${#AT_EXIT[@]} - 1; i >= 0; i--)); do eval "${AT_EXIT[i]}"; done
    exit "$status"
}

# A shell runs its traps only after the foreground command has ended, but interrupts `wait` at once; so everything runs
# in the background, each in a process group of its own that can be ended with its children.
run() {
    local pid status=0
    set -m
    "$@" </dev/null &
    pid=$!
    set +m
    at_exit end_process "$pid"
    wait "$pid" || status=$?
    unset 'AT_EXIT[-1]'
    return "$status"
}

spawn() {
    local log=$1
    shift
    set -m
    "$@" >>"$log" 2>&1 </dev/null &
    SPAWNED=$!
    set +m
    at_exit end_process "$SPAWNED"
}

end_process() {
    local pid i
    for pid in "$@"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    for pid in "$@"; do
        for ((i = 0; i < 100; i++)); do
            kill -0 -- "-$pid" 2>/dev/null || continue 2
            sleep 0.05
        done
        kill -KILL -- "-$pid" 2>/dev/null || true
    done
    return 0
}

make_netns() {
    ip netns add "$RUN-$1"
    at_exit ip netns del "$RUN-$1"
    ip -n "$RUN-$1" link set lo up
}

# Every namespace that has this run's prefix: for those that a program of the run has made.
remove_netns_of_run() {
    local name
    while read -r name _; do
        [[ $name != "$RUN"-* ]] || ip netns del "$name"
    done < <(ip netns list)
}

# Runs a command in one of this run's namespaces.
inside() {
    local netns=$1
    shift
    ip netns exec "$RUN-$netns" "$@"
}

# Waits at most $1 seconds until the rest of its arguments, a command, succeeds.
wait_until() {
    local limit=$1 i
    shift
    for ((i = 0; i < limit * 20; i++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    return 1
}
