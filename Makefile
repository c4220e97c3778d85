# What one does with the sources. `make help` lists it.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Added to cargo's calls of `build` and `packages`: "--frozen --offline" after `make vendor` needs no network.
CARGO_FLAGS ?=
# Of Cargo.toml: release, or demo, which is built sooner.
PROFILE ?= release
MODULE_BUILT := $(TARGET)/$(PROFILE)/libmod_md.so
A2MD_BUILT := $(TARGET)/cli/$(PROFILE)/a2md
# The programs that write packages.
CARGO_DEB_VERSION := 3.8.0
GENERATE_RPM_VERSION := 0.21.1
TOOLS := $(CURDIR)/target/tools
# With libtest's default of one thread a processor the tests would mostly wait for each other.
E2E_THREADS ?= 4

# The oldest Rust that builds this.
MSRV ?= $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

# Another httpd than the machine's: `make test HTTPD=2.4.48` builds that release below target/lab and uses it.
ifdef HTTPD
export APXS := $(CURDIR)/target/lab/httpd-$(HTTPD)/bin/apxs
export PATH := $(dir $(APXS)):$(PATH)
endif

# For each of FUZZ_TARGETS, which are all of fuzz/fuzz_targets where it is empty.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
CARGO_FUZZ_VERSION := 0.13.2

.PHONY: help setup setup-build setup-demo setup-fleet setup-test setup-sanitizers tools build module command panic-module test test-programs test-interop test-fleet test-docs test-container e2e differential bench soak fuzz fuzz-tools orderings asan valgrind lint advisories msrv demo demo-check demo-fleet demo-fleet-check install packages package-tools stage vendor test-packages clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup-build: ## Install what a build needs (as root or with sudo): httpd's headers, libclang, a C compiler
	sh tests/support/setup.sh build
	$(if $(HTTPD),sh tests/support/httpd.sh $(HTTPD))

setup-demo: ## That and httpd, and fetch the test CA
	sh tests/support/setup.sh demo
	$(if $(HTTPD),sh tests/support/httpd.sh $(HTTPD))

setup-fleet: ## That and the engines of fleets
	sh tests/support/setup.sh fleet
	$(if $(HTTPD),sh tests/support/httpd.sh $(HTTPD))

setup-test: ## That and all that tests look with: Chromium, DNS servers, valgrind
	sh tests/support/setup.sh test
	$(if $(HTTPD),sh tests/support/httpd.sh $(HTTPD))

setup: setup-test ## The same

setup-sanitizers: ## That and what names the frames in reports of AddressSanitizer
	sh tests/support/setup.sh sanitizers
	$(if $(HTTPD),sh tests/support/httpd.sh $(HTTPD))

tools: ## Install what `make lint` and `make advisories` need beside that
	-rustup component add clippy rustfmt
	$(CARGO) install --locked cargo-deny

# The command has a folder of its own, because the library that it is made with has the module's file name.
build: module command ## Build the module, target/release/libmod_md.so, and the command, target/cli/release/a2md; PROFILE=demo is quick

module:
	$(CARGO) build --profile $(PROFILE) $(CARGO_FLAGS)

command:
	$(CARGO) build --profile $(PROFILE) $(CARGO_FLAGS) --no-default-features --features cli --bin a2md --target-dir $(TARGET)/cli

panic-module: ## Build the module for the test of the panic boundary
	$(CARGO) build --features panic-injection --target-dir target/panic

test-programs:
	$(CARGO) test --no-run --no-default-features --features cli
	$(CARGO) test --no-run -p apache-sys

# The module is that of a release; all else is of the profile `dev`, a2md as well. Two builds at a time, since the last
# steps of a release use one processor.
test: setup-test ## Run all tests: units, use cases, and end to end with real httpd and a real CA
	$(MAKE) -j2 module test-programs panic-module orderings
	CARGO="$(CARGO)" sh tests/support/suite.sh $(E2E_THREADS)
	$(CARGO) test -p apache-sys

test-interop: setup-test module ## Get certificates from CAs that others have written, which it installs below target/lab, and through nginx
	sh tests/interop/setup.sh
	LAB_REQUIRED=1 $(CARGO) test --no-default-features --features cli --test interop -- --ignored --test-threads=$(E2E_THREADS)

test-fleet: setup-fleet module ## Run only the tests of several httpds that share certificates, on a real etcd and a real Redis
	LAB_REQUIRED=1 $(CARGO) test --no-default-features --features cli --test fleet -- --test-threads=$(E2E_THREADS)

e2e: ## Run only the end-to-end tests; MODULE=/path/mod_md.so runs them with that module
	LAB_REQUIRED=1 $(CARGO) test --no-default-features --test e2e -- --test-threads=$(E2E_THREADS)

differential: ## Compare with the C module over the whole grid of changes: ten minutes or more. `make test` does the most telling part
	LAB_REQUIRED=1 DIFFERENTIAL=full $(CARGO) test --no-default-features --test differential -- --include-ignored --test-threads=$(E2E_THREADS)

# Not with the release profile: that would put a library without httpd's hooks where `make build` has the module.
bench: build ## Measure starts and memory with many domains, beside the C module: ARGS="startup 2000 3", ARGS="live", ARGS="fleet"
	$(CARGO) bench --profile dev --no-default-features --features cli --bench $(or $(filter live fleet,$(ARGS)),servers) -- $(ARGS)

soak: $(if $(MODULE),,build) ## Renew for HOURS (1; 0.1 works) under restarts, kills and outages, with verifying clients; ends with a table
	$(CARGO) bench --profile dev --no-default-features --features cli --bench soak -- hours=$(or $(HOURS),1) $(ARGS)

fuzz: fuzz-tools ## Feed all parsers fuzzed input, FUZZ_SECONDS for each of FUZZ_TARGETS, or of all; with nightly Rust if there is one
	@CARGO="$(CARGO)" CARGO_FUZZ="$(TOOLS)/bin/cargo-fuzz" FUZZ_SECONDS="$(FUZZ_SECONDS)" sh fuzz/run.sh $(FUZZ_TARGETS)

fuzz-tools: ## Install what `make fuzz` needs beside that, below target/tools
	@grep -qsF '"cargo-fuzz $(CARGO_FUZZ_VERSION) ' "$(TOOLS)/.crates.toml" || \
	  (cd / && $(CARGO) install --locked --root "$(TOOLS)" cargo-fuzz@$(CARGO_FUZZ_VERSION))

orderings: ## Try every order of steps of the parts without a lock, and each of their orderings weakened (docs/orderings.md)
	$(CARGO) test --manifest-path tests/orderings/Cargo.toml --target-dir $(TARGET)/orderings

asan: setup-sanitizers ## Run the core of the end-to-end tests, and unit tests, with AddressSanitizer; TESTS="stapling live::" chooses
	THREADS=$(or $(THREADS),2) sh tests/support/sanitize.sh asan $(TESTS)
	$(if $(TESTS),,THREADS=$(or $(THREADS),2) sh tests/support/sanitize.sh units)

valgrind: setup-test ## Run the core of the end-to-end tests with httpd in valgrind; TESTS="stapling live::" chooses
	THREADS=$(or $(THREADS),1) sh tests/support/sanitize.sh valgrind $(TESTS)

lint: ## clippy with and without the httpd layer, the format, and licences and sources of dependencies where cargo-deny is
	$(CARGO) clippy --workspace --all-targets --no-default-features --features cli -- -D warnings
	$(CARGO) clippy --workspace --lib --profile test -- -D warnings
	$(CARGO) clippy --features panic-injection -- -D warnings
	$(CARGO) clippy --manifest-path tests/orderings/Cargo.toml --target-dir $(TARGET)/orderings --lib --test models -- -D warnings
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/orderings/Cargo.toml --check
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	  echo "$(CARGO) deny check licenses bans sources"; $(CARGO) deny --locked check licenses bans sources; \
	else echo "not checked: licences and sources of dependencies (cargo install cargo-deny)"; fi

advisories: ## Look for known vulnerabilities in dependencies; needs the network and cargo-deny
	$(CARGO) deny --locked check advisories
	$(CARGO) deny --locked --manifest-path fuzz/Cargo.toml --config deny.toml check advisories

msrv: ## Build the module, and check all tests, with the oldest Rust that Cargo.toml promises; MSRV=1.95 tries another
	@cargo="$(CARGO)"; \
	case "$$(rustc --version)" in "rustc $(MSRV)."*) ;; *) cargo="$$cargo +$(MSRV)" ;; esac; \
	$$cargo --version 2>/dev/null || { echo "msrv: Rust $(MSRV) is missing: rustup toolchain install $(MSRV)" >&2; exit 1; }; \
	set -x; \
	$$cargo build --locked --target-dir $(TARGET)/msrv && \
	$$cargo check --locked --workspace --all-targets --no-default-features --features cli --target-dir $(TARGET)/msrv

demo: ## Two example sites with certificates of a CA on this machine, until Ctrl-C; MODULE=… for another module
	@sh conf/demo.sh

demo-check: ## The same, checked with openssl and curl, then ended
	@sh conf/demo.sh --check

demo-fleet: setup-fleet module $(if $(A2MD),,command) ## Three httpds that share their certificates through an engine, one of them killed, until Ctrl-C; ENGINE=redis for the other
	@sh conf/demo-fleet.sh

demo-fleet-check: setup-fleet module $(if $(A2MD),,command) ## The same on etcd and on Redis, checked with openssl and curl, then ended
	@sh conf/demo-fleet.sh --check

# Make itself has a variable AS, the assembler: only what the command line says is meant.
install: ## Put module, configuration, command and manuals where apxs says; DESTDIR, PREFIX, APXS, and AS=md for the old name
	@MODULE="$(or $(MODULE),$(MODULE_BUILT))" A2MD="$(or $(A2MD),$(A2MD_BUILT))" AS="$(if $(findstring command,$(origin AS)),$(AS))" APXS="$(APXS)" \
	  DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" BINDIR="$(BINDIR)" DATADIR="$(DATADIR)" UNITDIR="$(UNITDIR)" sh conf/install.sh

packages: build package-tools ## Make a .deb and an .rpm in target/packages (docs/packaging.md); PROFILE=demo is quick
	@PROFILE="$(PROFILE)" MODULE="$(MODULE_BUILT)" A2MD="$(A2MD_BUILT)" CARGO="$(CARGO)" CARGO_FLAGS="$(CARGO_FLAGS)" \
	  CARGO_DEB="$(TOOLS)/bin/cargo-deb" GENERATE_RPM="$(TOOLS)/bin/cargo-generate-rpm" sh packaging/packages.sh all

# Elsewhere than here: what `make vendor` writes is for the sources of this project alone.
package-tools: ## Install what `make packages` needs beside that, below target/tools
	@for tool in cargo-deb@$(CARGO_DEB_VERSION) cargo-generate-rpm@$(GENERATE_RPM_VERSION); do \
	  grep -qsF "\"$$(echo $$tool | tr @ ' ') " "$(TOOLS)/.crates.toml" || \
	    (cd / && $(CARGO) install --locked --root "$(TOOLS)" $$tool) || exit 1; \
	done

stage: ## Put the files of a package below STAGE, as LAYOUT=debian or fedora has them: for the distributions' own tools
	@MODULE="$(MODULE_BUILT)" A2MD="$(A2MD_BUILT)" CARGO="$(CARGO)" CARGO_FLAGS="$(CARGO_FLAGS)" \
	  sh packaging/packages.sh stage "$(LAYOUT)" "$(STAGE)"

vendor: ## Put the sources of all dependencies into vendor/, for builds without network: CARGO_FLAGS="--frozen --offline"
	mkdir -p .cargo
	$(CARGO) vendor --locked vendor > .cargo/config.toml

test-packages: ## Install, upgrade and remove the packages in fresh Debian 12 and 13, as root; needs debootstrap
	@sh tests/packages/run.sh

test-docs: ## Walk the pages of docs/ on fresh Debian 12 and 13, as root (tests/docs); PAGE=quickstart takes one
	@[ -n "$$(ls target/packages/*.deb 2>/dev/null)" ] || { echo "test-docs: make packages comes first (PROFILE=demo is quick)" >&2; exit 1; }
	$(CARGO) test --no-default-features --features cli --test docs -- --ignored --nocapture --test-threads=2

test-container: setup-demo ## Build the container's image and run it without rights on a root that nobody writes to, as root
	@sh tests/container/run.sh

clean: ## Remove everything that was built, and the lab
	$(CARGO) clean
	rm -rf target fuzz/target fuzz/corpus fuzz/artifacts
