# Everything runs from .venv, which is made when it is missing.
#   make run    start pkid here, with its state in ./pkid-state
#   make test   the quick tests (minutes)
#   make help   the rest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --editable
METADATA := setup.cfg pyproject.toml
QUICK := not interop and not robustness

.PHONY: help run test test-long test-all lint format soak bench docs build news clean
.PHONY: lint-layout lint-style lint-types lint-floors lint-conformance
.DEFAULT_GOAL := help

help:
	@echo 'make run       start pkid in the foreground, state in ./pkid-state'
	@echo 'make test      the quick tests'
	@echo 'make test-long interoperation and robustness (a quarter of an hour)'
	@echo 'make test-all  every test: quick, then long'
	@echo 'make lint      ruff, mypy, import-linter, conformance pages up to date'
	@echo 'make format    let ruff rewrite the layout of the sources'
	@echo 'make soak      the robustness tests at full length (long)'
	@echo 'make bench     measure the speed of this machine'
	@echo 'make docs      write the conformance pages again'
	@echo 'make build     wheel and source archive in dist/'
	@echo 'make news      show the news of the next release'
	@echo 'make clean     remove what the tools left, never pkid-state'

run: $(VENV)/.run
	exec $(BIN)/twistd -n pkid

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist loadfile -m '$(QUICK)'

# Load, clocks and kills want the machine for themselves: one after another.
test-long: $(VENV)/.test
	$(BIN)/python -m pytest -m 'interop or robustness'

test-all: test test-long

# Each judges by itself, so that --keep-going tells every fault at once.
lint: lint-layout lint-style lint-types lint-floors lint-conformance

lint-layout: $(VENV)/.dev
	$(BIN)/ruff format --check .

lint-style: $(VENV)/.dev
	$(BIN)/ruff check .

lint-types: $(VENV)/.dev
	$(BIN)/mypy

lint-floors: $(VENV)/.dev
	$(BIN)/lint-imports --no-logo --no-cache

lint-conformance: $(VENV)/.dev
	$(BIN)/python docs/conformance/generate.py --check

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: $(VENV)/.test
	$(BIN)/python -m pytest -m robustness --soak

bench: $(VENV)/.run
	@status=0; for file in benchmarks/[a-z]*.py; do \
	  name=$$(basename $$file .py); echo "== $$name"; \
	  $(BIN)/python -m benchmarks.$$name || status=1; \
	done; exit $$status

docs: $(VENV)/.run
	$(BIN)/python docs/conformance/generate.py

build: $(VENV)/.test
	$(BIN)/python -m build

news: $(VENV)/.dev
	$(BIN)/towncrier build --draft

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf .import_linter_cache .coverage htmlcov
	find pkid tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} +

# pip comes last into a new environment: with it there, the rest is there too.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "pkid needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# A stamp says that what it names is installed for the metadata of today.
$(VENV)/.run: $(METADATA) | $(BIN)/pip
	$(INSTALL) .
	@touch $@

$(VENV)/.test: $(METADATA) | $(BIN)/pip
	$(INSTALL) '.[test]'
	@touch $@

$(VENV)/.dev: $(METADATA) | $(BIN)/pip
	$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/.test $(VENV)/.run
