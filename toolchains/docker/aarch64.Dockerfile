# What `cross` builds programs for 64-bit Arm boards in: glibc 2.31, GCC 10, and libclang, which
# reads the headers of V4L2. Untested: no machine with containers was at hand.
# Not pinned by digest, because no image could be fetched to look one up: a tag may come to name another image, and the
# packages below are the newest of their Debian. To pin the image, on a machine with Docker run
#     docker pull debian:11.11-slim && docker image inspect --format '{{index .RepoDigests 0}}' debian:11.11-slim
# and write what stands from its @ on, `@sha256:…`, behind the tag in FROM.
FROM debian:11.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross libclang-dev make \
    && rm -rf /var/lib/apt/lists/*

ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
    BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu="--sysroot=/usr/aarch64-linux-gnu -idirafter/usr/include"
