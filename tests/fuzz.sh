#!/usr/bin/env bash
# Fuzzes, see services/protocol/fuzz/README.md. Writes nothing outside of the target directory, but for --keep.
#   fuzz.sh SECONDS [TARGET...]   each target over what is kept, then for so long
#   fuzz.sh --keep                what was found since then, minimised, into the repository
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
target=$(mkdir -p "$target" && cd "$target" && pwd)
export CARGO_TARGET_DIR=$target/fuzz PATH=$target/tools/bin:$PATH
all=(classic_frame extended_frame xml_request xml_response link_item stored_row)

dir_of() { if [ "$1" = stored_row ]; then echo services/node/fuzz; else echo services/protocol/fuzz; fi; }

if ! command -v cargo-fuzz >/dev/null; then
    CARGO_TARGET_DIR=$target/tools/build cargo install cargo-fuzz --version 0.13.2 --locked --quiet --root "$target/tools"
fi

if [ "${1:-}" = --keep ]; then
    for name in "${all[@]}"; do
        kept=$(dir_of "$name")/corpus/$name
        mkdir -p "$CARGO_TARGET_DIR/corpus/$name" "$kept"
        both=$(mktemp -d) least=$(mktemp -d)
        # Long inputs are for the fuzzer, not for the repository: nothing from a kibibyte on.
        find "$kept" "$CARGO_TARGET_DIR/corpus/$name" -type f -size -3 -exec cp -t "$both" {} +
        cargo fuzz run --fuzz-dir "$(dir_of "$name")" --sanitizer none "$name" "$least" "$both" \
            -- -set_cover_merge=1 -use_counters=0 -rss_limit_mb=1024 2>&1 | tail -1
        rm -rf "$kept" "$both"
        mv "$least" "$kept"
        chmod 755 "$kept"
    done
    exit
fi

seconds=${1:?for how many seconds}
shift
[ $# -gt 0 ] || set -- "${all[@]}"
for name in "$@"; do
    flags=(-max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1)
    case $name in
        xml_*) flags+=(-dict=services/protocol/fuzz/dictionaries/xml) ;;
        *_frame | link_item) flags+=(-dict=services/protocol/fuzz/dictionaries/json) ;;
    esac
    found=$CARGO_TARGET_DIR/corpus/$name log=$CARGO_TARGET_DIR/$name.log
    mkdir -p "$found"
    printf '%s: ' "$name"
    # Hints of the fuzzer end with a number of runs, which is all that matters if nothing was found.
    if ! cargo fuzz run --fuzz-dir "$(dir_of "$name")" --sanitizer none "$name" "$found" "$(dir_of "$name")/corpus/$name" \
        -- "${flags[@]}" >"$log" 2>&1; then
        tail -60 "$log"
        exit 1
    fi
    sed -n 's/^Done \([0-9]* runs in [0-9]*\) second.*/\1 s/p' "$log"
done
