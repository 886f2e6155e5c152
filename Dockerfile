# Two images from one build. Each contains one program and the C library that it needs: no shell, no package manager, no user
# except 65532. images/build defines their contents, and also builds them without Docker (`make images`).
#
#   docker build --target agent      --tag plimsoll-agent:dev .
#   docker build --target aggregator --tag plimsoll-aggregator:dev .

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches belong to the builder and not to the image, so the results are copied out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --package plimsoll-agent --package plimsoll-aggregator \
    && images/build --root agent target/release /out/agent \
    && images/build --root aggregator target/release /out/aggregator

FROM scratch AS agent
COPY --from=build /out/agent/ /
USER 65532:65532
ENTRYPOINT ["/usr/bin/plimsoll-agent"]

FROM scratch AS aggregator
COPY --from=build /out/aggregator/ /
USER 65532:65532
ENTRYPOINT ["/usr/bin/plimsoll-aggregator"]
