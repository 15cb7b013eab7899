# A machine that trains, converts and builds for boards: mount the checkout at /repedge and run `cargo xtask` in it.
# Untested: no machine with containers was at hand.
FROM rust:1.90.0-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git libclang1 python3-pip python3-venv qemu-user-static \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add aarch64-unknown-linux-gnu

WORKDIR /repedge
