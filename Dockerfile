# The images of this project: `docker build --target node .` (the default) and `docker build --target tools .`.
#
# Nothing but static binaries: no shell, no libraries, no package manager. It is the GNU target with a static C library:
# since glibc 2.34 its resolver needs no plug-ins, so names resolve from /etc/hosts and /etc/resolv.conf alone.

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
# Also what makes `--target` necessary: without it the flag would apply to build scripts and macros, too.
ENV RUSTFLAGS="-C target-feature=+crt-static" \
    CARGO_INCREMENTAL=0 \
    CARGO_PROFILE_RELEASE_STRIP=symbols

# The dependencies alone: built again only when a manifest or the lock file changes.
COPY .cargo/ .cargo/
COPY Cargo.toml Cargo.lock ./
COPY services/protocol/Cargo.toml services/protocol/
COPY services/engine/Cargo.toml services/engine/
COPY services/node/Cargo.toml services/node/
COPY services/client/Cargo.toml services/client/
COPY services/tui/Cargo.toml services/tui/
COPY services/load/Cargo.toml services/load/
COPY tests/Cargo.toml tests/
COPY tests/kube/Cargo.toml tests/kube/
RUN for member in services/protocol services/engine services/node services/client services/tui services/load tests tests/kube; do \
        mkdir -p "$member/src" && echo '//! Placeholder.' > "$member/src/lib.rs" || exit 1; \
    done && \
    for program in node tui load; do printf '//! Placeholder.\nfn main() {}\n' > "services/$program/src/main.rs" || exit 1; done && \
    cargo build --release --locked --target "$(uname -m)-unknown-linux-gnu" -p chat-tui -p chat-load && \
    cargo build --release --locked --target "$(uname -m)-unknown-linux-gnu" -p chat-node --features kubernetes

# The sources may be older than the placeholders above, so they are touched.
COPY services/ services/
RUN find services -name '*.rs' -exec touch {} +

FROM build AS build-tools
RUN cargo build --release --locked --target "$(uname -m)-unknown-linux-gnu" -p chat-tui -p chat-load && \
    mkdir /out && \
    cp "target/$(uname -m)-unknown-linux-gnu/release/chat-tui" "target/$(uname -m)-unknown-linux-gnu/release/chat-load" /out/

FROM build AS build-node
# Another name for this version, and more features (`,pause-points`): for images that only tests use.
ARG VERSION=
ARG MORE_FEATURES=
RUN CHAT_VERSION="$VERSION" \
    cargo build --release --locked --target "$(uname -m)-unknown-linux-gnu" -p chat-node --features "kubernetes$MORE_FEATURES" && \
    mkdir -p /out/data && \
    cp "target/$(uname -m)-unknown-linux-gnu/release/chat-node" /out/

# The clients: `chat-tui` and `chat-load`.
FROM scratch AS tools
COPY --from=build-tools /out/chat-tui /out/chat-load /usr/bin/
USER 65532:65532
ENV PATH=/usr/bin
ENTRYPOINT ["/usr/bin/chat-tui"]
LABEL org.opencontainers.image.title="chat-tools" \
      org.opencontainers.image.description="The clients of chat-node: chat-tui and chat-load" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

# The server.
FROM scratch AS node
COPY --from=build-node /out/chat-node /chat-node
# A volume that is mounted here for the first time gets its owner from here.
COPY --from=build-node --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /data
ENV DATA_DIR=/data/chat
VOLUME /data
EXPOSE 8080 9090 9100
ENTRYPOINT ["/chat-node"]
LABEL org.opencontainers.image.title="chat-node" \
      org.opencontainers.image.description="A node of a chat cluster" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
