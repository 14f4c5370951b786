# The container image: one static binary on an empty file system, as user 65532.
#
#   docker build -t ecr-access:0.1.0 .
#
# For several architectures: `docker buildx build --platform linux/amd64,linux/arm64 …`; each is built by its own compiler.

# The compiler's version: the same as in rust-toolchain.toml, checked by a test.
ARG RUST_VERSION=1.95.0

FROM rust:${RUST_VERSION}-alpine AS build
# The C compiler and headers are for the assembly of the cryptography library.
RUN apk add --no-cache gcc musl-dev
WORKDIR /src
COPY . .
# Alpine's compiler targets musl, and links it statically: x86_64-unknown-linux-musl or aarch64-unknown-linux-musl.
# The second command ends the build if the binary asks for a dynamic loader after all.
RUN --mount=type=cache,id=ecr-access-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=ecr-access-target,target=/src/target \
    target="$(uname -m)-unknown-linux-musl" \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" --bin ecr-access \
    && cp "target/$target/release/ecr-access" /ecr-access \
    && ! readelf --program-headers /ecr-access | grep INTERP

FROM scratch
# What registries and scanners show; set them with --build-arg.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ecr-access" \
      org.opencontainers.image.description="Rejects pods that could not pull their images from Amazon ECR" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /ecr-access /ecr-access
USER 65532:65532
# The webhook, and probes with metrics.
EXPOSE 9443 8080
ENTRYPOINT ["/ecr-access"]
