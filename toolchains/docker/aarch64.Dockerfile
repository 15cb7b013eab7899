# What `cross` builds programs for 64-bit Arm boards in: glibc 2.31, GCC 10, and libclang, which
# reads the headers of V4L2. Untested: no machine with containers was at hand.
# The image is pinned by digest, that of Debian 11.11 of 2026-08-24 for every processor, as public projects that use it name it. To look
# up a newer one, on a machine with Docker run
#     docker pull debian:bullseye-20260824-slim && docker image inspect --format '{{index .RepoDigests 0}}' debian:bullseye-20260824-slim
# with its tag, and write what stands from the @ on behind the tag in FROM. The packages below are the newest of their Debian: apt
# compares them with its signed lists.
FROM debian:bullseye-20260824-slim@sha256:e5b6442dd2e9684cf5e87d8338b5968f3b348636fc0be6d7850a381e3731a2bd

RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross libclang-dev make \
    && rm -rf /var/lib/apt/lists/*

ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
    BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu="--sysroot=/usr/aarch64-linux-gnu -idirafter/usr/include"
