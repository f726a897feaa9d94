# shellcheck shell=bash
# shellcheck disable=SC2034
# Messages for people: on standard error, coloured only on a terminal. Sourced, never run.

if [[ -t 2 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' DIM=$'\e[2m' PLAIN=$'\e[0m'
else
    BOLD='' GREEN='' RED='' DIM='' PLAIN=''
fi

# Prints its arguments as one line.
say() { printf '%s\n' "$*" >&2; }

# Heading of a part of the work.
heading() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN" >&2; }

# Ends the script with a message.
die() {
    printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2
    exit 1
}

# Milliseconds of a clock that only goes forward.
now_ms() {
    local up
    read -r up _ </proc/uptime
    printf '%s\n' $((10#${up/./} * 10))
}

# "12.3" of a number of milliseconds.
seconds() { printf '%d.%d' $(($1 / 1000)) $(($1 % 1000 / 100)); }
