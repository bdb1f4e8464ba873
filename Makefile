# SPDX-License-Identifier: MIT
# A small front of Meson: `make` builds, `make test` tests everything, `make help` lists the rest.
#
#   BUILD=DIR           where to build (default: build)
#   CC=clang            which compiler, for a BUILD that is not set up yet
#   PREFIX=, DESTDIR=   for make install (default: /usr/local)
#   SUITES="unit wire"  which suites `make test` runs (tests/run --list names them)
#   SANITIZE=address,undefined or thread: `make test` builds and runs with these sanitizers, in a directory of its own

BUILD  ?= build
PREFIX ?= /usr/local
SUITES ?=
FUZZ_SECONDS  ?= 60
FUZZ_TARGETS  ?=
SIM_SEEDS     ?= 10000
SOAK_MINUTES  ?= 60
KILL_MINUTES  ?= 5
WRITERS_SECONDS ?= 60
FLEET_MINUTES ?= 5
FLEET_SERVER  ?= tailrace
SCALE         ?= --shards 2000 --workers 100 --lose 20 --minutes 20
BENCH_FLAGS   ?=

.PHONY: all help run test bench differ install format lint fuzz sim writers soak fleet scale clean deps deps-test
.NOTPARALLEL:

all: deps $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet >/dev/null || ninja -C $(BUILD)

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20
	@sed -nE '/^#   /s/^# //p' Makefile

deps:
	@packaging/deps.sh build

deps-test:
	@packaging/deps.sh test

$(BUILD)/build.ninja: | deps
	@log=$$(meson setup $(BUILD) --prefix $(PREFIX) 2>&1) || { echo "$$log"; exit 1; }

run: all ## a demonstration: starts a server, consumes a stream, keeps a replica
	@TAILRACE=$(abspath $(BUILD))/tailrace examples/quickstart/run.sh

test: deps-test ## every suite, closing with "N passed, N failed"
	@tests/run --build $(BUILD) $(if $(SANITIZE),--sanitize $(SANITIZE)) $(SUITES)

bench: deps-test all ## one table, measured side by side with DynamoDB Local and dynoxide
	@bench/run --build $(BUILD) $(BENCH_FLAGS)

install: all ## program, libraries, headers, pkg-config files, man pages
	@meson install -C $(BUILD) --no-rebuild --quiet

format: ## clang-format over every C file
	@tests/lint --fix

lint: deps-test all ## clang-format and clang-tidy, only what changed since it last passed; DEEP=1 takes minutes
	@tests/lint --build $(BUILD) $(if $(DEEP),--deep)

fuzz: deps-test ## libFuzzer targets of tests/fuzz, FUZZ_SECONDS=60 each, FUZZ_TARGETS="json …"
	@tests/fuzz/run --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

differ: deps-test all ## made-up requests to tailrace, DynamoDB Local and dynoxide, DIFFER_REQUESTS=100000
	@tests/compat/differ.py --build $(BUILD) --requests $(or $(DIFFER_REQUESTS),100000)

sim: all ## the simulator of streams, workers and faults, SIM_SEEDS=10000
	@tests/run --build $(BUILD) --sim-seeds $(SIM_SEEDS) sim

writers: deps-test all ## 32 writers of events for WRITERS_SECONDS=60: lost answers, throttling, kill -9
	@tests/crash/events --build $(BUILD) --seconds $(WRITERS_SECONDS)

soak: deps-test all ## everything under load with kills, SOAK_MINUTES=60
	@tests/crash/run --build $(BUILD) --minutes $(SOAK_MINUTES)

fleet: deps-test all ## eight workers on one stream, killed at random, FLEET_MINUTES=5 FLEET_SERVER=tailrace (or local)
	@tests/fleet/run --build $(BUILD) --server $(FLEET_SERVER) --seconds $$(( $(FLEET_MINUTES) * 60 ))

kills: deps-test all ## server, pipe and handler of the users' log killed at random, KILL_MINUTES=5
	@tests/flow/kills --build $(BUILD) --minutes $(KILL_MINUTES)

scale: all ## large fleets on virtual time, as docs/scale.md, SCALE="--shards 2000 --workers 100 --lose 20 --minutes 20"
	@$(BUILD)/tests/sim/scale $(SCALE)

clean:
	rm -rf build build-*
