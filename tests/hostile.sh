#!/usr/bin/env bash
# What 200 hostile connections cost 200 good clients: the same load on two nodes, first alone, then beside an attack on the
# ports of the first one. Fails if a promise is broken, or the attacked node exceeds its bounds of memory or connections; with
# --times also if the good clients wait more than twice as long, which means something only on a machine that does nothing
# else. After `cargo build --release`.
#   hostile.sh SECONDS [--times] [flags of chat-load hostile]
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${CARGO_TARGET_DIR:-target}/release
seconds=${1:?for how many seconds}
shift
times=
if [ "${1:-}" = --times ]; then
    times=yes
    shift
fi
# Bounds that the attack reaches.
max_connections=300 max_handshakes=32 peer_connections=32 peers_per_address=24 inbound_mib=16
# What the attack may cost beyond what the load costs alone: long messages, 64 KiB and a queue of each client, a body of each
# peer, and what the allocator keeps.
most_more_mib=128
work=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    pids=()
}
trap 'stop; rm -rf "$work"' EXIT

# Does somebody listen on this port of the loopback address?
in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A base port whose six ports nobody uses, below the range from which the system hands out ports by itself.
free_base_port() {
    local base offset
    for base in $(seq 27080 40 32000); do
        for offset in 1 2 11 12 21 22; do
            if in_use $((base + offset)); then continue 2; fi
        done
        echo "$base"
        return
    done
    echo 'no free ports' >&2
    return 1
}
base=$(free_base_port)

fail() {
    echo "$*" >&2
    exit 1
}
wait_for() { # wait_for COMMAND... : until it succeeds, but not for ever
    local deadline=$((SECONDS + 60))
    until "$@"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            cat "$work/log" >&2
            fail "in vain: $*"
        fi
        sleep 0.05
    done
}
ready() { curl -fsS --max-time 5 -o /dev/null "http://127.0.0.1:$((base + 20 + $1))/ready" 2>/dev/null; }
metrics() { curl -fsS --max-time 5 "http://127.0.0.1:$((base + 20 + $1))/metrics"; }
sees_peer() { [[ $(metrics "$1") =~ chat_peer_health[^#]*' 2'$'\n' ]]; }

node() { # node NUMBER
    local peers="node1:http://127.0.0.1:$((base + 11)),node2:http://127.0.0.1:$((base + 12))"
    MAX_CONNECTIONS=$max_connections MAX_HANDSHAKES=$max_handshakes PEER_CONNECTIONS=$peer_connections \
        PEER_CONNECTIONS_PER_ADDRESS=$peers_per_address INBOUND_TOTAL_BYTES=$((inbound_mib << 20)) \
        "$bin/chat-node" --node-id "node$1" --data-dir "$work/$RANDOM/node$1" --log-level warn \
        --websocket-host 127.0.0.1 --xmlrpc-host 127.0.0.1 --operations-host 127.0.0.1 \
        --websocket-port $((base + $1)) --xmlrpc-port $((base + 10 + $1)) --operations-port $((base + 20 + $1)) \
        --xmlrpc-address "http://127.0.0.1:$((base + 10 + $1))" --peer-nodes "$peers" 2>>"$work/log" &
    pids+=($!)
    wait_for ready "$1"
}

both() {
    node 1
    node 2
    wait_for sees_peer 1
    wait_for sees_peer 2
}

load() { # load REPORT
    "$bin/chat-load" run --json --seconds "$seconds" --rooms 10 --members 20 --senders 2 --rate 200 --drain 30 \
        --target "ws://127.0.0.1:$((base + 1)),ws://127.0.0.1:$((base + 2))" >"$1" || {
        cat "$1" "$work/log" >&2
        fail 'a promise was broken'
    }
}

# The most memory that a process ever had.
peak_mib() { awk '/^VmHWM:/ {print int($2 / 1024)}' "/proc/$1/status"; }

# Connections that a port has taken: in the kernel's backlog they have no inode yet.
taken() { awk -v port="$(printf ':%04X' "$1")" '$2 ~ port "$" && $4 == "01" && $10 != 0' /proc/net/tcp | wc -l; }

watch_ports() { # watch_ports FILE : the most connections of either port, until killed
    local clients=0 peers=0 now
    # Looking costs milliseconds, in which somebody waits, however nice it is: seldom, and with and without an attack.
    renice -n 19 "$BASHPID" >/dev/null
    while sleep 2; do
        now=$(taken $((base + 1)))
        if [ "$now" -gt "$clients" ]; then clients=$now; fi
        now=$(taken $((base + 11)))
        if [ "$now" -gt "$peers" ]; then peers=$now; fi
        echo "$clients $peers" >"$1"
    done
}

p99() { # p99 REPORT NAME : of one of the histograms, ms
    sed -n "s/.*\"$2\":{[^}]*\"p99\":\([0-9.]*\).*/\1/p" "$1"
}

both
watch_ports "$work/ports" &
pids+=($!)
load "$work/alone"
alone_mib=$(peak_mib "${pids[0]}")
stop

both
attacked=${pids[0]}
# Attackers bring a CPU of their own; here theirs is what the others leave.
nice -n 19 "$bin/chat-load" hostile --clients "ws://127.0.0.1:$((base + 1))" --peers "http://127.0.0.1:$((base + 11))" \
    --from 127.0.0.2 --seconds $((seconds + 8)) "$@" >"$work/attack" &
attack=$!
watch_ports "$work/ports" &
pids+=("$attack" $!)
sleep 3
load "$work/beside"
beside_mib=$(peak_mib "$attacked")
read -r clients peers <"$work/ports"
wait "$attack"
ready 1 || fail 'the attacked node does not answer'
metrics 1 | grep '^chat_connections_refused_total'
stop

cat "$work/attack"
longer=
for name in ack_latency_ms delivery_latency_ms; do
    alone=$(p99 "$work/alone" "$name") beside=$(p99 "$work/beside" "$name")
    echo "${name%_ms} p99: $alone ms alone, $beside ms beside the attack"
    if awk "BEGIN {exit !($beside > 2 * $alone)}"; then longer=yes; fi
done
echo "peak memory of the attacked node: $alone_mib MiB alone, $beside_mib MiB attacked"
echo "its connections at most: $clients of clients, $peers of peers"
[ $((beside_mib - alone_mib)) -le "$most_more_mib" ] || fail "that is more than $most_more_mib MiB more"
# Each loop that accepts may hold one more, for which it waits to find a place.
[ "$clients" -le $((max_connections + max_handshakes + 1)) ] || fail 'too many clients'
[ "$peers" -le $((peer_connections + 1)) ] || fail 'too many peers'
[ -z "$times" ] || [ -z "$longer" ] || fail 'that is more than twice as long'
