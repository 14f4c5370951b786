# Every target does its own set-up. Builds are cached outside the clone, keyed by the lock files.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-record test test-long availability load cost cost-profile attacks scale soak differential fuzz lint wasm msrv bench bench-peers crds bundle cluster-up cluster-down tools image-binary

CACHE ?= $(or $(ECR_ACCESS_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ecr-access)
RUST_KEY := $(shell sha256sum <rust-toolchain.toml | cut -c1-16)
export CARGO_TARGET_DIR ?= $(CACHE)/target-$(RUST_KEY)
TOOLS := $(CACHE)/tools-1
CARGO_DENY := $(TOOLS)/bin/cargo-deny
CARGO_SHEAR := $(TOOLS)/bin/cargo-shear
CARGO_FUZZ := $(TOOLS)/bin/cargo-fuzz
MUSL := $(shell uname -m)-unknown-linux-musl
# Builds of other toolchains that nobody used for a week are gigabytes of nothing.
PRUNED := $(shell hack/prune-cache.sh "$(CACHE)" "$(CARGO_TARGET_DIR)")

FUZZ_TARGETS := list_page review watch_line
ENGINE_FUZZ_TARGETS := evaluate parse pattern round_trip validate variables
FUZZ_SECONDS ?= 60

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Install the chart on a real control plane and tell the story (KEEP=1 leaves it up)
	@hack/demo.sh

demo-record: ## Run the demo and store its output in docs/demo.txt
	@hack/demo.sh --record docs/demo.txt

test: ## Run every test: units, offline, and on a real control plane
	cargo test --workspace --lib --bins --test it --test '*' --no-fail-fast -- --quiet
	cargo test --workspace --doc

differential: ## The engine against the naive evaluator, over a million environments (ORACLE_ENVIRONMENTS, ORACLE_SEED)
	ORACLE_ENVIRONMENTS=$${ORACLE_ENVIRONMENTS:-1000000} ORACLE_SEED=$${ORACLE_SEED:-1} \
		cargo test --release -p iam-verdict --test oracle -- --nocapture

fuzz: $(CARGO_FUZZ) ## Every fuzz target for a minute (FUZZ_SECONDS); needs a nightly compiler
	export PATH="$(TOOLS)/bin:$$PATH" CARGO_TARGET_DIR="$(CACHE)/target-fuzz"; \
	hack/fuzz.sh fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS); \
	hack/fuzz.sh iam-verdict/fuzz $(FUZZ_SECONDS) $(ENGINE_FUZZ_TARGETS)

test-long: ## The property tests with many more cases, optimised (minutes)
	WITHHOLD_CASES=$${WITHHOLD_CASES:-100000} cargo test --release --test it -- withholding

availability: ## 2,000 admissions through each of restarts, rotations and losses, on a real control plane
	ADMISSIONS=$${ADMISSIONS:-2000} PAUSE=$${PAUSE:-60} cargo test --test cluster -- availability:: certificates::

load: ## One replica: 200,000 reviews, three times what it holds, 1,000 slow clients (REVIEWS)
	cargo test --profile measure --test cluster -- --long load::big

cost: ## What a review takes of the processors beside a server that only reads it (REVIEWS)
	cargo test --profile measure --test cluster -- --long load::cost

cost-profile: ## The same, by what the processor does; needs perf
	hack/cost_profile.py

attacks: ## Strangers flood both ports, honest load beside them; a right is taken away (minutes)
	cargo test --profile measure --test cluster -- --long attacks

scale: ## A cluster of 5,000 pods: start, memory, requests, time from an edit to the verdict
	cargo test --profile measure --test cluster -- --long scale::

soak: ## The cluster suite beside busy processes, to find what fails by chance (RUNS, NEIGHBOURS)
	@hack/soak.sh

lint: $(CARGO_DENY) $(CARGO_SHEAR) wasm msrv ## Formatting, clippy, dependency rules, documentation, generated files
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	$(CARGO_DENY) --log-level warn check bans licenses sources
	$(CARGO_SHEAR) shear --locked
	bash -n hack/*.sh tests/cluster/*.sh .ci/run
	python3 -B hack/names.py
	python3 -B hack/circles_test.py --quiet
	python3 -B hack/circles.py iam-verdict/src --allow 0 --allow-nested 4
	python3 -B hack/public_items.py ecr-forecast/src --most 150
	python3 -B hack/circles.py ecr-forecast/src --allow 0 --allow-nested 0
	python3 -B hack/circles.py src --allow 0 --allow-nested 0

wasm: ## What makes verdicts builds without an operating system beneath it
	rustup target add wasm32-unknown-unknown
	cargo build -p iam-verdict -p ecr-forecast --target wasm32-unknown-unknown

msrv: ## What makes verdicts builds with the oldest compiler that it says it does
	version=$$(sed -n 's/^rust-version = "\(.*\)"/\1/p' iam-verdict/Cargo.toml); \
		rustup toolchain install "$$version" --profile minimal --no-self-update && cargo "+$$version" check -p iam-verdict -p ecr-forecast --locked

bench: ## Benchmarks of one review and of one decision
	cargo bench --workspace

bench-peers: ## iam-verdict beside other policy engines, as one table
	cargo run --quiet --release --locked --manifest-path iam-verdict/peers/Cargo.toml

crds: ## Regenerate crds/ and the chart's copies from the types
	cargo run --quiet -- crd --output-dir crds
	mkdir -p charts/ecr-access/files/crds
	cp crds/*.yaml charts/ecr-access/files/crds/

bundle: ## Regenerate deploy/ecr-access.yaml from the chart
	hack/bundle.sh >deploy/ecr-access.yaml.new
	mv deploy/ecr-access.yaml.new deploy/ecr-access.yaml

cluster-up: ## Start a control plane with the operator on it, in the background
	@hack/demo.sh --cluster-only

cluster-down: ## Stop what cluster-up or KEEP=1 left running
	@hack/demo.sh --down

image-binary: ## The static binary of the container image
	rustup target add $(MUSL)
	CC_$(subst -,_,$(MUSL))=$${CC:-gcc} cargo build --release --locked --target $(MUSL)
	@ls -l $(CARGO_TARGET_DIR)/$(MUSL)/release/ecr-access

tools: $(CARGO_DENY) $(CARGO_SHEAR) $(CARGO_FUZZ) ## Install the pinned development tools into the cache

$(CARGO_DENY):
	cargo install --locked cargo-deny@0.20.2 --root $(TOOLS) --target-dir $(CACHE)/target-tools
	rm -rf $(CACHE)/target-tools

# The newest that the project's compiler builds.
$(CARGO_SHEAR):
	cargo install --locked cargo-shear@1.13.0 --root $(TOOLS) --target-dir $(CACHE)/target-tools
$(CARGO_FUZZ):
	cargo install --locked cargo-fuzz@0.13.2 --root $(TOOLS) --target-dir $(CACHE)/target-tools
	rm -rf $(CACHE)/target-tools
