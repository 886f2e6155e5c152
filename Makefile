# Every recipe is a plain command that can also be run by hand. Start with `make demo` and `make test`.
CARGO ?= cargo
CRATES := plimsoll-contract plimsoll-objects plimsoll-process plimsoll-sandbox plimsoll-sizing plimsoll-agent plimsoll-aggregator plimsoll plimsoll-demo plimsoll-tests

.PHONY: demo test lint fmt clippy doc deny alone bench bench-peers images cluster cluster-down e2e e2e-resize soak ci

demo:      ## the complete system on this machine: load, bands, labels, live (Ctrl-C stops it)
	$(CARGO) run --package plimsoll-demo -- $(ARGS)

test:      ## every test that needs no cluster; without root, tests that need it print their names and are skipped
	RUST_TEST_THREADS=6 $(CARGO) test --workspace --no-fail-fast   # more threads than cores, because tests mostly wait

lint: fmt clippy doc deny alone   ## all static checks

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --package plimsoll-tests --test e2e --test peers -- -D warnings   # `test = false` excludes these from --all-targets

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

deny:      ## licenses, banned and duplicate crates, sources; advisories are not checked, because they need a downloaded database
	@if command -v cargo-deny >/dev/null; then cargo-deny check licenses bans sources; else echo "deny: skipped, cargo-deny is not installed (cargo install cargo-deny)"; fi
	@! $(CARGO) tree --workspace --edges normal,build --prefix none | grep -E '^(openssl|native-tls|aws-lc-rs|h2|chrono|serde_yaml) ' || { echo "deny: a banned crate is in the tree"; exit 1; }

alone:     ## each crate separately: another crate's features must not hide a missing one
	@set -e; for crate in $(CRATES); do echo "check $$crate alone"; $(CARGO) check --quiet --package $$crate; done

bench:     ## the agent's resource usage, relative to other programs in the same run; then what plans of resizes cost (not with ARGS)
	$(CARGO) build --release --package plimsoll-agent
	$(CARGO) bench --package plimsoll-tests --bench costs -- $(ARGS)
	$(if $(ARGS),,$(CARGO) test --release --package plimsoll-aggregator --lib -- --include-ignored --nocapture speed scale_of)

bench-peers: ## comparison with Prometheus, metrics-server and VPA on a real Kubernetes (root, Go, Debian): 20 minutes after the first build
	tests/peers/run

images:    ## target/images/{agent,aggregator}.tar, built without Docker
	images/build

cluster:   ## a real Kubernetes of 3 nodes on this machine (Debian, root, Go); ARGS="--nodes 1" for another number
	tests/cluster/cluster install
	tests/cluster/cluster up $(ARGS)

cluster-down: ## stop it and delete everything except the cache
	tests/cluster/cluster down

e2e:       ## end-to-end tests on a real Kubernetes (root, Go, Debian; E2E=skip skips them); ARGS="PART OF A TEST'S NAME"
	tests/e2e/run $(ARGS)

e2e-resize: ## pods of a class are resized on a real Kubernetes (root, Go, Debian): 20 minutes
	E2E_SUITE=resize tests/e2e/run $(ARGS)

soak:      ## half an hour of mixed loads of resized pods on a real Kubernetes (root, Go, Debian)
	E2E_SUITE=soak tests/e2e/run

ci: lint test e2e ## what a change must pass: 45 minutes on two cores; E2E=skip without root or Go
