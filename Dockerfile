# Build: Rust, a C compiler for the cryptography, perl and make for OpenSSL, which is built from source.
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin keybound

# Run: the program, as a user of its own, with its data in one volume.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/keybound --create-home keybound \
    && chmod 700 /var/lib/keybound
COPY --from=build /build/target/release/keybound /usr/local/bin/keybound
USER keybound
WORKDIR /var/lib/keybound
VOLUME /var/lib/keybound
# Inside a container the public listener must be reachable; the management listener stays on loopback.
ENV KEYBOUND__LISTEN__PUBLIC=0.0.0.0:8080 \
    KEYBOUND__STORE__PATH=/var/lib/keybound/data
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --retries=10 CMD ["keybound", "health"]
ENTRYPOINT ["keybound"]
CMD ["serve"]
