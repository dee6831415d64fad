#!/usr/bin/env bash
# Proves that the kill test can fail: each deliberate bug must be found within 50 rounds, and without one nothing must be.
# Then the same for the rolling restart, with seats that do not wait long enough for their sessions.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/bugs
RUSTFLAGS='--cfg chat_bugs' cargo build --release --locked -p chat-node -p chat-tests
bin=$CARGO_TARGET_DIR/release
missed=0
for bug in early-acknowledgement forgotten-sendings dropped-items former-life cached-head no-gap-repair; do
    log=$(mktemp)
    status=0
    CHAT_BUG=$bug "$bin/chat-chaos" --program "$bin/chat-node" --rounds 50 --first-only "$@" >"$log" 2>&1 || status=$?
    if [ "$status" -eq 1 ]; then
        printf '%s: found after %s rounds: %s\n' "$bug" "$(grep -c '^round' "$log" || true)" \
            "$(grep -m1 '^BROKEN' "$log" | cut -c1-200)"
    else
        # 0: all promises kept, in spite of the bug. 2: it did not run, which proves nothing.
        printf '%s: NOT FOUND (status %s): %s\n' "$bug" "$status" "$(tail -1 "$log" | cut -c1-200)"
        missed=1
    fi
    rm -f "$log"
done
CHAT_BUG= "$bin/chat-chaos" --program "$bin/chat-node" --rounds 5 "$@" | tail -1 || missed=1

impatient=$(mktemp)
trap 'rm -f "$impatient"' EXIT
printf '#!/bin/sh\nexec "%s" --seat-grace-ms 50 "$@"\n' "$(realpath "$bin/chat-node")" >"$impatient"
chmod +x "$impatient"
status=0
rolled=$("$bin/chat-chaos" --program "$impatient" --rolling) || status=$?
if [ "$status" -eq 1 ] && grep -q 'had to join anew' <<<"$rolled"; then
    printf 'seats that do not wait: found by the rolling restart\n'
else
    printf 'seats that do not wait: NOT FOUND (status %s): %s\n' "$status" "$(tail -1 <<<"$rolled" | cut -c1-200)"
    missed=1
fi
"$bin/chat-chaos" --program "$bin/chat-node" --rolling | grep verdict || missed=1
exit "$missed"
