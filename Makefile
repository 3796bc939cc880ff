# SPDX-License-Identifier: Apache-2.0
# The commands of this project. `make run` and `make test` install what is missing.
SHELL := /bin/bash
BUILD ?= build
PYTHON := /usr/bin/python3
PROGRAMS := weftd-programs cli/weft agents/bng/weft-bng agents/phone-home/weft-phone-home agents/phone-home/stack/weft-stackd
CCACHE := $(shell command -v ccache)

.PHONY: all run test tsan tsan-tests test-packages deps deps-run bench fuzz soak install deb format clean

# The build that people run: optimised, no sanitizers.
all: $(BUILD)/build.ninja | deps-run
	ninja -C $(BUILD)

$(BUILD)/build.ninja: | deps-run
	@echo "preparing the build in $(BUILD) ..."
	@CC="$(CCACHE) gcc" meson setup $(BUILD) -Dwerror=false >/dev/null

# Everything that building, testing and measuring needs; deps-run is the part that running needs.
deps:
	@lab/deps.sh

deps-run:
	@lab/deps.sh run

# Only the programs are built: tests and benches would take most of the time.
run: $(BUILD)/build.ninja deps-run
	@echo "building (the first time takes a minute or two) ..."
	@ninja -C $(BUILD) $$([ -t 1 ] || echo --quiet) $(PROGRAMS)
	@WEFT_BUILD=$(BUILD) $(PYTHON) -u lab/tour.py

test: deps
	@test/run.sh

# What runs in several threads, under the thread sanitizer.
TSAN_TESTS := core_test core_edge_test core_fault_test core_store_test core_parallel_test log_sqlite_conformance \
  log_sqlite_fault log_sqlite_wal loop_test http1_test grpc_frame_test netconf_test job_threads_test etcd_nodes forward_test phone-home-parts_test
tsan-tests:
	@echo $(TSAN_TESTS)

tsan: deps
	@[ -f build-tsan/build.ninja ] || CC="$(CCACHE) gcc" meson setup build-tsan -Db_sanitize=thread -Db_lundef=false >/dev/null
	@ninja -C build-tsan --quiet
	meson test -C build-tsan --no-rebuild --print-errorlogs -t 5 $(TSAN_TESTS)

# The Debian packages, as a user meets them (root).
test-packages: deps
	@$(PYTHON) -m pytest -q -p no:cacheprovider test/packages

bench: deps all
	@bench/run.sh $(BUILD)

fuzz: deps
	@fuzz/run.sh $${SECONDS_EACH:-600}

# DESTDIR=... installs below another root, for packages.
install: $(BUILD)/build.ninja | deps-run
	ninja -C $(BUILD) $(PROGRAMS) src/model/weft-model-man
	meson install -C $(BUILD) --no-rebuild

# Debian packages in build/deb.
deb: deps
	@packaging/deb.sh

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf $(BUILD) build-*

# kill -9 at random moments under load, 300 rounds of weftd and 300 of a gateway's agent, weftd and Kea (root,
# for the namespaces), over the ordinary file system and again over the one that loses what was not synced; and at
# every state of a bootstrap on the lab's site of boxes.
soak: all
	SIM_SEEDS=$${SEEDS:-1000} $(BUILD)/test/sim/cluster_test
	WEFT_BUILD=$(BUILD) WEFT_CLUSTER_ROUNDS=$${ROUNDS:-300} $(PYTHON) -m pytest -q -s -p no:cacheprovider \
		test/e2e/test_cluster.py test/e2e/test_cluster_load.py
	for power in never always; do \
		WEFT_BUILD=$(BUILD) $(PYTHON) -u test/crash/weftd_crash.py --rounds $${ROUNDS:-300} --power $$power && \
		WEFT_BUILD=$(BUILD) WEFT_CRASH_ROUNDS=$${ROUNDS:-300} WEFT_CRASH_POWER=$$power $(PYTHON) -m pytest \
			-q -s -p no:cacheprovider test/e2e/test_crash_agents.py || exit 1; \
	done
	WEFT_BUILD=$(BUILD) WEFT_SITE_ROUNDS=$${ROUNDS:-300} $(PYTHON) -m pytest -q -s -p no:cacheprovider \
		test/e2e/test_site_crash.py
