# Every recipe is a plain command that can be typed by hand. README's two: make demo, make test.
CARGO ?= cargo
CRATES := plimsoll-contract plimsoll-process plimsoll-sandbox plimsoll-agent plimsoll-aggregator plimsoll plimsoll-demo plimsoll-tests

.PHONY: demo test lint fmt clippy doc deny alone bench bench-peers images cluster cluster-down e2e ci

demo:      ## the whole loop on this machine: load, bands, labels, live (Ctrl-C ends it)
	$(CARGO) run --package plimsoll-demo -- $(ARGS)

test:      ## every test that needs no cluster; what needs root says so by name where there is none
	RUST_TEST_THREADS=6 $(CARGO) test --workspace --no-fail-fast   # most of their time they wait: more of them than cores

lint: fmt clippy doc deny alone   ## everything that can be wrong without running anything

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --package plimsoll-tests --test e2e --test peers -- -D warnings   # what `test = false` keeps out of all targets

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

deny:      ## licenses, banned and duplicate crates, sources; advisories need a database from outside
	@if command -v cargo-deny >/dev/null; then cargo-deny check licenses bans sources; else echo "deny: skipped, cargo-deny is not installed (cargo install cargo-deny)"; fi
	@! $(CARGO) tree --workspace --edges normal,build --prefix none | grep -E '^(openssl|native-tls|aws-lc-rs|h2|chrono|serde_yaml) ' || { echo "deny: a banned crate is in the tree"; exit 1; }

alone:     ## each crate by itself: a missing feature must not hide behind a sibling's
	@set -e; for crate in $(CRATES); do echo "check $$crate alone"; $(CARGO) check --quiet --package $$crate; done

bench:     ## costs as ratios against something else in the same run
	$(CARGO) build --release --package plimsoll-agent
	$(CARGO) bench --package plimsoll-tests --bench costs -- $(ARGS)

bench-peers: ## beside Prometheus, metrics-server and VPA on a real Kubernetes (root, Go, Debian): 9 minutes after the first build
	tests/peers/run

images:    ## target/images/{agent,aggregator}.tar, made without Docker
	images/build

cluster:   ## a real Kubernetes of 3 nodes on this machine (Debian, root, Go); ARGS="--nodes 1" for another number
	tests/cluster/cluster install
	tests/cluster/cluster up $(ARGS)

cluster-down: ## end it, and forget all of it but the cache
	tests/cluster/cluster down

e2e:       ## the product on a real Kubernetes (root, Go, Debian; E2E=skip skips); ARGS="PART OF A TEST'S NAME"
	tests/e2e/run $(ARGS)

ci: lint test e2e ## what a change must pass: 45 minutes on two cores; E2E=skip where there is no root or no Go
