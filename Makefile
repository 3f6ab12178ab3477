# All dependencies are installed into .venv by one pip call, with the versions of constraints.txt. pip's own settings
# decide where packages come from: if PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS names CPU builds of torch, pip prefers them,
# because their versions (2.13.0+cpu) count as newer than the plain ones.

VENV := .venv
BIN := $(VENV)/bin
# Tried in this order; `make PYTHON=/path/to/python3 …` overrides it.
PYTHON := python3 python3.11 python3.12 python3.13
ARGS :=
# Test processes: one more than cores, because tests often wait.
JOBS := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
# `make test INDEX=milvus` runs the tests with codes and vectors in Milvus: the one in LOOKALIKE_MILVUS_URI, or else a
# new milvus-lite.
INDEX := local

.PHONY: help serve demo test test-all coverage lint audit licences check docs screenshots torture bench release

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

serve: $(VENV)/installed ## Start the service; ARGS="--port 9000" passes options
	@exec $(BIN)/lookalike serve $(ARGS)

demo: $(VENV)/installed ## Fill an empty catalogue with the demo images
	@exec $(BIN)/lookalike demo $(ARGS)

test: $(VENV)/installed-dev ## Run the quick tests; ARGS="tests/search -x" passes options
	LOOKALIKE_INDEX_BACKEND=$(INDEX) $(BIN)/pytest -n $(JOBS) -m "not slow" $(ARGS)

test-all: $(VENV)/installed-dev ## Run all tests, including those with a browser, Milvus and real servers
	LOOKALIKE_INDEX_BACKEND=$(INDEX) $(BIN)/pytest -n $(JOBS) $(ARGS)

coverage: $(VENV)/installed-dev ## Run all tests and report the covered lines of each module
	LOOKALIKE_INDEX_BACKEND=$(INDEX) $(BIN)/pytest -n $(JOBS) --cov --cov-report term:skip-covered $(ARGS)

lint: $(VENV)/installed-dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd clients/python && $(CURDIR)/$(BIN)/mypy

audit: $(VENV)/installed-dev ## Check the dependencies for known vulnerabilities
	@$(BIN)/python -m tests.audit

licences: $(VENV)/installed-dev ## List the licences of installed packages; fail if one cannot be shipped
	@$(BIN)/python -m tests.licences

check: lint audit licences test-all ## All checks: style, types, dependencies, licences, all tests

docs: $(VENV)/installed-dev ## Build the documentation as a site in build/docs
	$(BIN)/python -m tests.docs.generate
	$(BIN)/mkdocs build

screenshots: $(VENV)/installed-dev ## Renew the documentation's screenshots, in Chromium
	REQUIRE_BROWSER=1 KEEP_SCREENSHOTS=1 $(BIN)/pytest tests/web/test_screenshots.py

# The fuzzer has wheels for Linux on x86-64 only.
torture: $(VENV)/installed-torture ## Run the crash, damage and upgrade tests for hours; ARGS="-k kills" selects one
	TORTURE_KILLS=200 TORTURE_ROWS=100000 TORTURE_CUTS=2000 TORTURE_POINTS=all \
	TORTURE_EXAMPLES=1000 TORTURE_CUT_STEPS=100 TORTURE_REPLICA_KILLS=20 TORTURE_CHURN=2000 TORTURE_SOAK_SECONDS=7200 \
	TORTURE_STARTS=200 TORTURE_SERVES=60 TORTURE_CUT_STARTS=20 TORTURE_FULL_SECONDS=300 TORTURE_RECORDINGS=all \
	$(BIN)/pytest tests/crash tests/upgrade -o log_cli=true --log-cli-level=WARNING $(ARGS)
	$(BIN)/python -m tests.crash.fuzz_decode 600

# At these sizes all of them together take minutes; without --images each runs at full size.
bench: $(VENV)/installed-bench ## Run every benchmark at a reduced size; results go to benchmarks/data
	$(BIN)/lookalike bench core --images 100000 --feature-dim 4096 --bits 128 --json benchmarks/data/core.json
	$(BIN)/lookalike bench growth --images 100000 --json benchmarks/data/growth.json
	$(BIN)/lookalike bench indexes --images 20000 --json benchmarks/data/indexes.json
	$(BIN)/lookalike bench service --images 100000 --json benchmarks/data/service.json
	$(BIN)/lookalike bench cpu --images 20000 --json benchmarks/data/cpu.json
	$(BIN)/lookalike bench peers --images 20000 --json benchmarks/data/peers.json
	$(BIN)/lookalike bench encode --json benchmarks/data/encode.json

release: $(VENV)/installed-dev ## Check version, changelog and tag; build both packages into dist
	@$(BIN)/python -m tests.release

$(VENV)/installed: pyproject.toml clients/python/pyproject.toml constraints.txt
	@$(call venv)
	$(BIN)/python -m pip install -c constraints.txt -e ./clients/python -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml clients/python/pyproject.toml constraints.txt
	@$(call venv)
	$(BIN)/python -m pip install -c constraints.txt -e ./clients/python -e '.[dev]'
	@touch $(VENV)/installed $@

$(VENV)/installed-torture: pyproject.toml clients/python/pyproject.toml constraints.txt
	@$(call venv)
	$(BIN)/python -m pip install -c constraints.txt -e ./clients/python -e '.[dev,torture]'
	@touch $(VENV)/installed $(VENV)/installed-dev $@

$(VENV)/installed-bench: pyproject.toml clients/python/pyproject.toml constraints.txt
	@$(call venv)
	$(BIN)/python -m pip install -c constraints.txt -e ./clients/python -e '.[bench]'
	@touch $(VENV)/installed $@

# Debian's python3 may lack ensurepip; a venv made with it would have no pip.
define venv
	$(BIN)/python -m pip --version >/dev/null 2>&1 && exit; \
	for python in $(PYTHON); do \
		"$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		exec "$$python" -m venv $(VENV); \
	done; \
	echo 'Lookalike needs Python 3.11 or newer with its venv module (Debian, Ubuntu: apt install python3-venv).' >&2; \
	exit 1
endef
