# A machine that trains, converts and builds for boards: mount the checkout at /repedge and run `cargo xtask` in it. Its Rust is
# the oldest that builds all of it; toolchains/rust.toml names the one that what is here is tested with.
# Untested: no machine with containers was at hand.
# The image is pinned by digest, as public projects that use it name it. To look up another, on a machine with Docker run
#     docker pull rust:1.90.0-bookworm && docker image inspect --format '{{index .RepoDigests 0}}' rust:1.90.0-bookworm
# with its tag, and write what stands from the @ on behind the tag in FROM. The packages below are the newest of their Debian: apt
# compares them with its signed lists.
FROM rust:1.90.0-bookworm@sha256:3914072ca0c3b8aad871db9169a651ccfce30cf58303e5d6f2db16d1d8a7e58f

RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git libclang1 python3-pip python3-venv qemu-user-static \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add aarch64-unknown-linux-gnu

WORKDIR /repedge
