# What one does with a clone of Confab. Debian 12 with Rust is enough: `scripts/setup.sh` sees to the rest.
.DEFAULT_GOAL := help
.PHONY: help run test sim fuzz bench setup audit

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1 /p' $(MAKEFILE_LIST) | awk '{ printf "  %-4s %-6s", $$1, $$2; $$1 = $$2 = ""; print }'

run: ## a first conference on this machine, with demo people and robots
	scripts/setup.sh build
	cargo build -p confab-server --bin confab
	$${CARGO_TARGET_DIR:-target}/debug/confab try

test: ## everything that can be checked here: format, lints, unit tests, simulation, foreign clients
	scripts/test.sh

SEEDS ?= 10000
sim: ## SEEDS=N stories (10,000) of a server whose network and parts fail, or SEED=N alone with its steps
	cargo run --release --quiet -p confab-sim --bin simulate -- $(if $(SEED),seed $(SEED),seeds $(SEEDS) $(FROM))

fuzz: ## the fuzz targets for longer: TIME=60 seconds each under libFuzzer, else N=1000000 rounds; TARGET=sip for one of them
	scripts/fuzz.sh $(TARGET)

bench: ## how fast it is and how much memory it takes (BENCH=name: one part of it), see docs/performance.md
	scripts/bench.sh $(BENCH)

setup: ## installs (as root) or names what the tests need, builds the SIPE driver
	scripts/setup.sh

audit: ## licences, sources and known weaknesses of the crates we depend on (needs cargo-deny and the network)
	cargo deny --all-features check
