# A machine that trains, converts and builds for boards: mount the checkout at /repedge and run `cargo xtask` in it. Its Rust is
# the oldest that builds all of it; toolchains/rust.toml names the one that what is here is tested with.
# Untested: no machine with containers was at hand.
# Not pinned by digest, because no image could be fetched to look one up: a tag may come to name another image, and the
# packages below are the newest of their Debian. To pin the image, on a machine with Docker run
#     docker pull rust:1.90.0-bookworm && docker image inspect --format '{{index .RepoDigests 0}}' rust:1.90.0-bookworm
# and write what stands from its @ on, `@sha256:…`, behind the tag in FROM.
FROM rust:1.90.0-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git libclang1 python3-pip python3-venv qemu-user-static \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add aarch64-unknown-linux-gnu

WORKDIR /repedge
