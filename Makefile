# One entry for people, pre-commit and CI. `make` explains; every target sets up what it needs by itself.

SHELL  := /bin/sh
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.millstream-setup
DOCS_STAMP := $(VENV)/.millstream-docs
PYTHON ?=
ARGS   ?=
# Processes of pytest; one more than there are processors, because many tests wait for others. JOBS=0: in this one.
JOBS   ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := $(PY) -m pytest -n $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-versions bench chaos simulation fmt lint type imports check docs services changelog dist clean

help: ## explain the targets
	@echo "Millstream: stream processing in Python. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Variables: PYTHON=python3.12 (interpreter of a new $(VENV)), ARGS='...' (passed on), JOBS=1 (processes that test), KAFKA=1 (demo), RESULTS=junit.xml (docs)"

setup: $(STAMP) ## make or update .venv (done by the other targets when needed)
	@echo "$(VENV) is up to date"

# Only what pip reads makes the environment stale.
$(STAMP): pyproject.toml scripts/bootstrap
	@scripts/bootstrap $(VENV) dev "$(PYTHON)"

demo: $(STAMP) ## run the main job: windows, a killed worker, exactly-once output (KAFKA=1: through a real Kafka)
	@$(PY) examples/demo.py $(if $(KAFKA),--kafka) $(ARGS)

test: $(STAMP) ## run the tests that need no service, no JDK and no root (fast)
	@$(PYTEST) -m "not slow and not chaos" --no-start-services $(ARGS)

test-all: $(STAMP) ## run every test with real services; a skip is a failure
	@MILLSTREAM_TEST_ALL=1 $(PYTEST) $(ARGS)

test-versions: ## run the fast tests on every Python >= 3.11 of this machine
	@scripts/test-versions -n $(JOBS) --dist worksteal $(ARGS)

chaos: $(STAMP) ## run only the tests that kill and cut; RUNS=n SEED=s: n randomised jobs under faults, see tests/chaos/ledger
	@$(if $(RUNS),$(PY) -m tests.chaos --runs $(RUNS) --seed $(or $(SEED),1),$(PY) -m pytest -m chaos) $(ARGS)

simulation: $(STAMP) ## run many seeds of every simulated world (SEEDS=10000 at night)
	@$(PY) -m tests.simulation --seeds $(or $(SEEDS),1000) $(ARGS)

bench: $(STAMP) ## measure, print the table, write a dated result file
	@$(PY) -m benchmarks $(ARGS)

fmt: $(STAMP) ## format the code and fix what can be fixed
	@$(PY) -m ruff check --fix-only --quiet . && $(PY) -m ruff format .

lint: $(STAMP) ## check format, style and sizes
	@$(PY) -m ruff format --check . && $(PY) -m ruff check . && $(PY) scripts/check_sizes.py

type: $(STAMP) ## check types (mypy --strict)
	@$(PY) -m mypy --strict -p millstream && $(PY) -m mypy --strict -p scripts && $(PY) -m mypy --strict docs/snippets/*.py

imports: $(STAMP) ## check who imports whom
	@$(VENV)/bin/lint-imports --no-cache

check: lint type imports ## all static checks

docs: $(DOCS_STAMP) ## test the examples of docstrings and of the user guide, build the guide into site/
	@$(PYTEST) --no-start-services millstream tests/docs $(ARGS)
	@$(if $(RESULTS),$(PY) -m scripts.features $(RESULTS))
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet

$(DOCS_STAMP): $(STAMP)
	@$(PY) -m pip install --quiet --disable-pip-version-check --group docs
	@touch $@

services: $(STAMP) ## start real services for tests and demos, until Ctrl-C (ARGS='kafka')
	@$(PY) -m millstream dev services up $(ARGS)

changelog: $(STAMP) ## build CHANGELOG.md from changelog.d for a release (VERSION=x.y.z)
	@test -n "$(VERSION)" || { echo "usage: make changelog VERSION=x.y.z" >&2; exit 2; }
	@$(PY) -m pip install --quiet --disable-pip-version-check --group release
	@$(VENV)/bin/towncrier build --yes --version $(VERSION)

dist: $(STAMP) ## build the sdist, and the wheel from it, into dist/
	@rm -rf build && $(PY) -m build --outdir dist .

clean: ## remove environments, caches and build output
	@rm -rf $(VENV) .venvs build dist site millstream.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
