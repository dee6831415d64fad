#!/usr/bin/env bash
# Builds the server with metrics that count nothing, so that there is something to measure their cost against: all else is the same.
#
#     tests/without-metrics.sh TARGET_DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?where to build?}
work=$(mktemp -d)
cp Cargo.lock "$work/Cargo.lock"
# A library from elsewhere is another one in the lock file.
trap 'cp "$work/Cargo.lock" Cargo.lock; rm -rf "$work"' EXIT
manifest=$(cargo metadata --locked --format-version 1 |
    python3 -c 'import json, sys; print(*(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "prometheus"))')
# Made once: a library at another place, or newer, would be built anew.
library=$target/$(basename "$(dirname "$manifest")")
if [ ! -d "$library" ]; then
    cp -r "$(dirname "$manifest")" "$work/library"
    python3 - "$work/library/src" <<'END'
import re, sys

# What changes a number does nothing; what reads it stays.
for file, method, times in (
    ("atomic64", "set", 3), ("atomic64", "inc_by", 3), ("atomic64", "dec_by", 3),
    ("atomic64", "inc_by_with_ordering", 1), ("histogram", "observe", 3),
):
    path = f"{sys.argv[1]}/{file}.rs"
    body = re.compile(r"(\n    (?:pub )?fn %s\(&self[^{;]*\{)\n.*?\n    \}\n" % method, re.S)
    text, found = body.subn(r"\1}\n", open(path).read())
    assert found == times, f"{found} of {method} in {path}"
    open(path, "w").write(text)
path = f"{sys.argv[1]}/lib.rs"
text = open(path).read()
open(path, "w").write("#![allow(warnings)]\n" + text)
END
    mkdir -p "$target"
    mv "$work/library" "$library"
fi
# The same packages as ever, so that all have the same features.
CARGO_TARGET_DIR=$target cargo build --release --workspace --config "patch.crates-io.prometheus.path=\"$library\""
