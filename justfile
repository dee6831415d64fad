# `just` lists the recipes.
_default:
    @just --list

# A cluster of three nodes in this terminal.
dev *args:
    cargo run --release -- dev {{args}}

# The gate of a change. Reads only: it never writes to the tree.
verify:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo test --workspace --locked

# Mends what a machine can mend.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all

# Everything that the project's automation runs: `verify`, clusters under load, under attack and under fire, a chart.
ci:
    bash .ci/run

# The files that are made from others: README and schema of the chart.
generate:
    cargo run -p chat-kube -- generate

# The chart on the cluster that KUBECONFIG names, see docs/kubernetes.md.
kube *args:
    cargo build --release -p chat-tui --locked
    PATH="$(realpath "${CARGO_TARGET_DIR:-target}")/release:$PATH" cargo run -p chat-kube --locked -- run {{args}}

# Only the machines: less than a minute after a change.
engine:
    cargo test -p chat-engine

# Each fuzz target for so many seconds, or the named ones; see services/protocol/fuzz/README.md.
fuzz seconds='600' *targets:
    bash tests/fuzz.sh {{seconds}} {{targets}}

# The table of docs/benchmarks.md. Nothing else may run on the machine.
bench *args:
    cargo build --release --workspace --locked
    bash tests/bench.sh {{args}}

# The kill test: three processes, random faults; with --rolling restarts, one after the other. See --help for more.
chaos *args='--rounds 50':
    cargo build --release --workspace --locked
    "${CARGO_TARGET_DIR:-target}/release/chat-chaos" --program "${CARGO_TARGET_DIR:-target}/release/chat-node" {{args}}

# Nodes of ours and of the original system under traffic in both directions: two minutes.
mixed:
    cargo test -p chat-tests --locked --test suite -- --ignored --nocapture crossing_traffic

# What 200 hostile connections cost 200 good ones. Nothing else may run on the machine.
hostile seconds='60' *flags:
    cargo build --release --workspace --locked
    bash tests/hostile.sh {{seconds}} --times {{flags}}

# Does the kill test find each of six deliberate bugs, and the rolling restart a seventh?
prove-checker *args:
    bash tests/prove-checker.sh {{args}}

# Licences, advisories and sources of all dependencies (needs cargo-deny).
deny:
    cargo deny check
