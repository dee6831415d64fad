#!/usr/bin/env bash
# What it costs to be seen: CPU per delivery of this version without canary and traces, with the canary, and with traces of next to no
# message, beside another build of the server (for example one from before there were as many metrics). Run alone on a machine, after `cargo build --release --workspace`:
#
#     tests/bench-observability.sh OTHER_CHAT_NODE [SECONDS [TIMES [RATE...]]]
#
# Three processes, one room with 99 members over them; the runs take turns, so that a slow minute of the machine hits all alike.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${CARGO_TARGET_DIR:-target}/release
other=${1:?which other server?}
seconds=${2:-15}
times=${3:-3}
rates=("${@:4}")
[ ${#rates[@]} -gt 0 ] || rates=(200 20)
work=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    pids=()
}
trap 'stop; rm -rf "$work"' EXIT
ulimit -n "$(ulimit -Hn)"
peers=node1:http://127.0.0.1:29091,node2:http://127.0.0.1:29092,node3:http://127.0.0.1:29093
targets=ws://127.0.0.1:28081,ws://127.0.0.1:28082,ws://127.0.0.1:28083

three() { # three PROGRAM CANARY_INTERVAL_MS
    local at=$work/$RANDOM n
    for n in 1 2 3; do
        CANARY_INTERVAL_MS=$2 "$1" --node-id "node$n" --data-dir "$at/node$n" --log-level warn \
            --websocket-host 127.0.0.1 --xmlrpc-host 127.0.0.1 --operations-host 127.0.0.1 \
            --websocket-port "2808$n" --xmlrpc-port "2909$n" --operations-port "2910$n" \
            --xmlrpc-address "http://127.0.0.1:2909$n" --peer-nodes "$peers" 2>>"$work/log" &
        pids+=($!)
        until curl -fsS -o /dev/null "http://127.0.0.1:2910$n/ready" 2>/dev/null; do sleep 0.05; done
    done
    sleep 6 # heartbeats, so that every node knows the others, and the first messages of the canary
}
load() {
    local flags=() pid
    for pid in "${pids[@]}"; do flags+=(--server-pid "$pid"); done
    "$bin/chat-load" run --seconds "$seconds" "${flags[@]}" --target "$targets" --rooms 1 --members 99 --senders 20 "$@" || true
}

for rate in "${rates[@]}"; do
    for ((turn = 1; turn <= times; turn++)); do
        for what in other quiet canary untraced; do
            printf '\n### %s msg/s, turn %s: %s\n' "$rate" "$turn" "$what"
            case $what in
                other) three "$other" 0 ;;
                quiet) three "$bin/chat-node" 0 ;;
                canary) three "$bin/chat-node" 5000 ;;
                # A collector that is not there, and a message in ten thousand for it.
                untraced)
                    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:28079 OTEL_TRACES_SAMPLER_ARG=0.0001 three "$bin/chat-node" 0 ;;
            esac
            load --rate "$rate"
            stop
        done
    done
done
