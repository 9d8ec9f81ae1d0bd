# Every target sets up .venv by itself; nothing has to be installed by hand but Python >= 3.11 (or uv).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
READY := .venv/.ready
DEMO_HOME := $(CURDIR)/.state/demo
PYTEST_ARGS ?=

.PHONY: help demo test test-all test-integration planted-bugs services docs pictures check lint types contracts format constraints clean distclean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

$(READY): pyproject.toml constraints.txt scripts/setup-venv.sh hatch_build.py package.json package-lock.json
	@scripts/setup-venv.sh
	@touch $@

demo: $(READY)  ## tune the digits pipeline: 30 trials, local Ray, SQLite; checks its own result
	@rm -rf "$(DEMO_HOME)" && mkdir -p "$(DEMO_HOME)"
	@HPO_HOME="$(DEMO_HOME)" $(BIN)/python examples/digits/study.py

# A process for each CPU, up to four, each with whole modules: what the tests of a module share is made once.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile
COVERAGE := --cov --cov-report= --cov-fail-under=90

test: $(READY)  ## the fast suite, with coverage of both packages (`coverage report` lists what it missed)
	@$(PYTEST) -m "not integration" $(COVERAGE) $(PYTEST_ARGS)

test-all: services  ## the complete suite; installs the services that only some tests need
	@$(PYTEST) $(COVERAGE) $(PYTEST_ARGS)

test-integration: services  ## only the tests that `make test` leaves out
	@$(PYTEST) -m integration $(PYTEST_ARGS)

planted-bugs: $(READY)  ## plant known bugs into a copy, one at a time, and expect the tests to notice each
	@$(BIN)/python scripts/planted_bugs.py -j 2

services: $(READY)
	@scripts/setup-test-services.sh

docs: $(READY)  ## the site of docs/ in build/docs, with the reference made from the code; a broken link fails it
	@$(BIN)/python scripts/build_docs.py

pictures: services  ## take the pictures of README.md and docs/ anew; look at them before they are committed
	@$(BIN)/python scripts/diagrams.py
	@$(BIN)/python scripts/take_pictures.py

check: lint types contracts  ## everything that reads the code without running it

lint: $(READY)  ## ruff and its formatter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)  ## mypy --strict on both packages
	@$(BIN)/mypy

contracts: $(READY)  ## who may import whom
	@$(BIN)/lint-imports

format: $(READY)  ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

constraints: $(READY)  ## resolve constraints.txt again from pyproject.toml
	@scripts/lock-constraints.sh

clean:  ## remove caches, reports, builds and the demo's state
	@rm -rf .state .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov build dist *.egg-info
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean  ## clean, and the virtual environment too
	@rm -rf .venv
