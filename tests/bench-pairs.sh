#!/usr/bin/env bash
# What a part of a node costs: CPU per delivery of two clusters that run side by side under the same load, one with it and one without.
# Whatever else slows the machine down slows both, so that some percent can be seen where runs that follow each other differ by fifteen.
# Run alone on a machine, after `cargo build --release --workspace`:
#
#     tests/bench-pairs.sh [SECONDS [TIMES [RATE [PAIR...]]]]
#
# Each cluster has three processes and one room with 99 members over them; they take turns in being first, and in their places, so TIMES is
# best a multiple of four. The pair `same` has nothing between its two and says what the method makes by itself. What has no metrics is built
# here, and the pair `other` compares with the program that is named by OTHER.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${CARGO_TARGET_DIR:-target}/release
seconds=${1:-30}
times=${2:-8}
rate=${3:-100}
pairs=("${@:4}")
[ ${#pairs[@]} -gt 0 ] || pairs=(same metrics seen canary traces signed)
for pair in "${pairs[@]}"; do
    case $pair in
        metrics | seen) bare=${CARGO_TARGET_DIR:-target}/without-metrics/release/chat-node ;;
        other) : "${OTHER:?which other server?}" ;;
    esac
done
[ -z "${bare:-}" ] || tests/without-metrics.sh "$(dirname "$(dirname "$bare")")"
work=$(mktemp -d)
pids=() asking=()
stop() {
    for pid in "${asking[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    pids=() asking=()
}
trap 'stop; rm -rf "$work"' EXIT
ulimit -n "$(ulimit -Hn)"
head -c 32 /dev/urandom | od -An -vtx1 | tr -d " \n" >"$work/key"
chmod 600 "$work/key"

three() { # three WHAT PLACE : clients on 28P8N, peers on 29P9N, operations on 29P1N
    local what=$1 p=$2 at=$work/$RANDOM n program=$bin/chat-node environment=(CANARY_INTERVAL_MS=0)
    case $what in
        other) program=$OTHER ;;
        bare) program=$bare ;;
        plain | metrics) ;;
        canary) environment=(CANARY_INTERVAL_MS=20000) ;;
        # A collector that is not there, and a message in ten thousand for it.
        traces) environment+=(OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:28079 OTEL_TRACES_SAMPLER_ARG=0.0001) ;;
        all) environment=(CANARY_INTERVAL_MS=20000 OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:28079 OTEL_TRACES_SAMPLER_ARG=0.0001) ;;
        signed) environment+=(PEER_KEY_FILE="$work/key") ;;
    esac
    for n in 1 2 3; do
        env "${environment[@]}" "$program" --node-id "node$n" --data-dir "$at/node$n" --log-level warn \
            --websocket-host 127.0.0.1 --xmlrpc-host 127.0.0.1 --operations-host 127.0.0.1 \
            --websocket-port "28${p}8$n" --xmlrpc-port "29${p}9$n" --operations-port "29${p}1$n" \
            --xmlrpc-address "http://127.0.0.1:29${p}9$n" \
            --peer-nodes "node1:http://127.0.0.1:29${p}91,node2:http://127.0.0.1:29${p}92,node3:http://127.0.0.1:29${p}93" \
            2>>"$work/log" &
        pids+=($!)
        until curl -fsS -o /dev/null "http://127.0.0.1:29${p}1$n/ready" 2>/dev/null; do sleep 0.05; done
    done
    case $what in
        # Twice as often as the chart lets a Prometheus ask.
        metrics | all) while sleep 15; do curl -fsS -o /dev/null "http://127.0.0.1:29${p}1[1-3]/metrics"; done & asking+=($!) ;;
    esac
}
load() { # load PLACE RATE PID... : CPU per delivery, in microseconds
    local p=$1 rate=$2 flags=() pid said
    shift 2
    for pid in "$@"; do flags+=(--server-pid "$pid"); done
    said=$("$bin/chat-load" run --seconds "$seconds" --rate "$rate" "${flags[@]}" --rooms 1 --members 99 --senders 20 \
        --target "ws://127.0.0.1:28${p}81,ws://127.0.0.1:28${p}82,ws://127.0.0.1:28${p}83") || {
        echo "$said" >&2
        return 1
    }
    sed -n 's/^server *\([0-9.]*\) .s CPU per delivery.*/\1/p' <<<"$said"
}

# That is what it is called: it counts what it delivers, or it does not.
counts() { # counts WHAT PLACE
    local delivered
    [ "$1" != other ] || return 0
    delivered=$(curl -fsS "http://127.0.0.1:29${2}11/metrics" | sed -n 's/^chat_messages_delivered_total{.*} //p')
    if [ "$1" = bare ]; then [ "$delivered" = 0 ]; else [ "$delivered" -gt 0 ]; fi || {
        echo "the cluster '$1' says that it delivered $delivered messages" >&2
        return 1
    }
}

# Two clusters at once, and what each had to spend. The one that comes first gets one message a second more: of two loads in step the
# same one would always find the processors awake.
turn() { # turn FIRST SECOND PLACE_OF_THE_FIRST
    local first loading
    three "$1" "$3"
    first=("${pids[@]}")
    three "$2" $((1 - $3))
    sleep 6 # heartbeats, so that every node knows the others, and the first messages of the canary
    load "$3" $((rate + 1)) "${first[@]}" >"$work/first" &
    loading=$!
    load $((1 - $3)) "$rate" "${pids[@]:3}" >"$work/second"
    wait "$loading"
    counts "$1" "$3"
    counts "$2" $((1 - $3))
    stop
}

for pair in "${pairs[@]}"; do
    case $pair in
        same) without=plain with=plain about='the same twice' ;;
        metrics) without=bare with=metrics about='without metrics; with them, asked for every 15 s' ;;
        seen) without=bare with=all about='nothing; metrics that are asked for every 15 s, canary, and traces of one message in 10,000' ;;
        other) without=other with=plain about='another build; this one' ;;
        canary) without=plain with=canary about='without the canary; with it' ;;
        traces) without=plain with=traces about='without a collector; with traces of one message in 10,000' ;;
        signed) without=plain with=signed about='calls between nodes not signed; signed' ;;
        *) echo "there is no pair $pair" >&2; exit 2 ;;
    esac
    printf '\n### %s (%s): microseconds of CPU per delivery at %s msg/s, %s s a turn\n' "$pair" "$about" "$rate" "$seconds"
    : >"$work/results"
    for ((t = 0; t < times; t++)); do
        # Who is first, and where, takes turns.
        if ((t % 2 == 0)); then
            turn "$without" "$with" $((t / 2 % 2))
            paste -d ' ' "$work/first" "$work/second" >>"$work/results"
        else
            turn "$with" "$without" $((t / 2 % 2))
            paste -d ' ' "$work/second" "$work/first" >>"$work/results"
        fi
        tail -n 1 "$work/results"
    done
    awk '{ r = $2 / $1; sum += r; square += r * r; n++ }
        END {
            mean = sum / n; spread = n > 1 ? sqrt((square / n - mean * mean) * n / (n - 1)) : 0
            printf "with / without: mean %.3f, standard error %.3f, %d turns\n", mean, spread / sqrt(n), n
        }' "$work/results"
done
