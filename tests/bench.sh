#!/usr/bin/env bash
# The table of docs/benchmarks.md. Run alone on a machine, after `cargo build --release --workspace`.
# Every figure of a server stands beside the floor's in the same run.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${CARGO_TARGET_DIR:-target}/release
seconds=${1:-10}
work=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    pids=()
}
trap 'stop; rm -rf "$work"' EXIT
ulimit -n "$(ulimit -Hn)"

node() { # node NUMBER PEERS DATA : clients on 2808N, peers on 2909N, operations on 2910N
    "$bin/chat-node" --node-id "node$1" --data-dir "$3" --log-level warn \
        --websocket-host 127.0.0.1 --xmlrpc-host 127.0.0.1 --operations-host 127.0.0.1 \
        --websocket-port "2808$1" --xmlrpc-port "2909$1" --operations-port "2910$1" \
        --xmlrpc-address "http://127.0.0.1:2909$1" --peer-nodes "$2" 2>>"$work/log" &
    pids+=($!)
    until curl -fsS -o /dev/null "http://127.0.0.1:2910$1/ready" 2>/dev/null; do sleep 0.05; done
}
one() { node 1 "" "$work/one.$RANDOM"; }
# Between nodes that have a key, every call and every answer is signed: `PEER_KEY_FILE=… three`.
three() {
    local at=$work/three.$RANDOM n
    for n in 1 2 3; do
        node "$n" "node1:http://127.0.0.1:29091,node2:http://127.0.0.1:29092,node3:http://127.0.0.1:29093" "$at/node$n"
    done
    sleep 3 # three heartbeats, so that every node knows the others
}
floor() {
    "$bin/chat-load" floor --listen 127.0.0.1:28081 >/dev/null &
    pids+=($!)
    until curl -s -o /dev/null "http://127.0.0.1:28081/" || [ $? -ne 7 ]; do sleep 0.05; done
}
load() {
    local flags=() pid
    for pid in "${pids[@]}"; do flags+=(--server-pid "$pid"); done
    "$bin/chat-load" run --seconds "$seconds" "${flags[@]}" "$@" || true
}
all=ws://127.0.0.1:28081,ws://127.0.0.1:28082,ws://127.0.0.1:28083
title() { printf '\n### %s\n' "$*"; }

title '1 fsync: 8 KiB written and synced, ms each (dd, 500 times)'
dd if=/dev/zero of="$work/sync" bs=8k count=500 oflag=dsync 2>&1 | tail -1

for dialect in classic extended classic extended; do
    title "10 rooms x 100 members, 10 senders each, closed loop: $dialect dialect"
    one; load --target ws://127.0.0.1:28081 --rooms 10 --members 100 --senders 10 --closed --dialect "$dialect"; stop
done
for what in floor one; do
    title "10 rooms x 100 members, 2 senders each, 200 msg/s: $what"
    "$what"; load --target ws://127.0.0.1:28081 --rooms 10 --members 100 --senders 2 --rate 200; stop
    title "10 rooms x 100 members, 10 senders each, closed loop: $what"
    "$what"; load --target ws://127.0.0.1:28081 --rooms 10 --members 100 --senders 10 --closed; stop
    title "1 room x 99 members, 20 msg/s: $what"
    "$what"; load --target ws://127.0.0.1:28081 --rooms 1 --members 99 --senders 20 --rate 20; stop
    title "5,000 idle connections: $what"
    "$what"; "$bin/chat-load" idle --target ws://127.0.0.1:28081 --connections 5000 --server-pid "${pids[0]}" || true; stop
done
title '3 processes, 1 room x 99 members over them, 20 msg/s'
three; load --target "$all" --rooms 1 --members 99 --senders 20 --rate 20; stop
for size in '99 200' '9999 2'; do
    read -r members rate <<<"$size"
    title "3 processes, 1 room x $members members over them, 20 senders, $rate msg/s"
    three; load --target "$all" --rooms 1 --members "$members" --senders 20 --rate "$rate"; stop
done
title '1 node, 200 rooms x 1 member, closed loop'
one; load --target ws://127.0.0.1:28081 --rooms 200 --members 1 --senders 1 --closed; stop
title '1 node, 200 rooms x 1 member, 1,000 msg/s'
one; load --target ws://127.0.0.1:28081 --rooms 200 --members 1 --senders 1 --rate 1000; stop
title '3 processes, 20 senders on node 2 in a room of node 1, closed loop'
three
load --target ws://127.0.0.1:28082 --create-on ws://127.0.0.1:28081 --rooms 1 --members 20 --senders 20 --closed; stop
head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n' >"$work/key"
for key in "" "$work/key" "" "$work/key" "" "$work/key"; do
    title "3 processes, 1 room x 99 members over them, 20 senders, 200 msg/s: $([ -n "$key" ] && echo signed || echo unsigned)"
    PEER_KEY_FILE=$key three; load --target "$all" --rooms 1 --members 99 --senders 20 --rate 200; stop
    title "3 processes, 20 senders on node 2 in a room of node 1, closed loop: $([ -n "$key" ] && echo signed || echo unsigned)"
    PEER_KEY_FILE=$key three
    load --target ws://127.0.0.1:28082 --create-on ws://127.0.0.1:28081 --rooms 1 --members 20 --senders 20 --closed; stop
done

for sessions in 1000 2000; do
    title "$sessions sessions whose node is killed: until all are back on the other two"
    three
    "$bin/chat-load" resume --sessions "$sessions" --target "$all" --kill "${pids[0]}" \
        --server-pid "${pids[1]}" --server-pid "${pids[2]}" || true
    stop
done

title '10,000,000 stored messages, 20 senders, closed loop: sends that the room has seen, and new ones'
data=$work/long
node 1 "" "$data"; stop
# The ids are those of the load tool: no two look-ups share a page of the index.
{
    echo "INSERT INTO rooms (room_id, name, creator_id, created_at, generation, epoch, state)
        VALUES ('long', 'long', 'load', 0, 1, 0, 0);"
    echo 'BEGIN;'
    echo "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000000)
        INSERT INTO messages (room, seq, kind, message_id, sender, content, client_msg_id, timestamp)
        SELECT (SELECT key FROM rooms), i, 0, 'm-' || i, 'load', 'hello', printf('%08x', i * 2654435761 % 4294967296), 0
        FROM n;"
    echo 'COMMIT;'
} | sqlite3 "$data/chat.db"
node 1 "" "$data"
"$bin/chat-load" once --target ws://127.0.0.1:28081 --room long --stored 10000000 || true
stop

title '100,000 stored rooms: seconds to ready, CPU seconds in 10 idle seconds'
data=$work/many
node 1 "" "$data"; stop
{
    echo 'BEGIN;'
    echo "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
        INSERT INTO rooms (room_id, name, creator_id, created_at, generation, epoch, state)
        SELECT 'room-' || i, 'room ' || i, 'load', 0, 1, 0, 0 FROM n;"
    echo "INSERT INTO messages (room, seq, kind, message_id, sender, content, timestamp)
        SELECT key, 1, 0, 'm-' || key, 'load', 'hello', 0 FROM rooms;"
    echo 'COMMIT;'
} | sqlite3 "$data/chat.db"
start=$(date +%s.%N)
node 1 "" "$data"
echo "ready after $(echo "$(date +%s.%N) - $start" | bc) s"
cpu() { awk '{print ($14 + $15) / 100}' "/proc/${pids[0]}/stat"; }
before=$(cpu); sleep 10
echo "CPU in 10 s: $(echo "$(cpu) - $before" | bc) s"
title '100,000 stored rooms, 1,000 others of 5 members each (5,000 sessions), 200 msg/s'
load --target ws://127.0.0.1:28081 --rooms 1000 --members 5 --senders 1 --rate 200
stop
