# Needs python3 (3.11 or later, with its venv module) and make; everything else is installed into .venv from the hashed locks.
# Where packages come from is pip's configuration, never this file.

PYTHON ?= python3
VENV   ?= .venv
WORKERS ?= 2
DEMO_DIR ?= demo
DEMO_ARGS ?=
BENCH_ARGS ?=
TEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# A stamp carries the checksum of what it was installed from, so a checkout that touches times installs nothing anew.
checksum = $(firstword $(shell cat $(1) | cksum))
RUNTIME := $(VENV)/.installed-runtime-$(call checksum,deploy/requirements.lock pyproject.toml)
DEVELOP := $(VENV)/.installed-develop-$(call checksum,deploy/requirements-dev.lock pyproject.toml)
# The development set contains the runtime set: where it is in place, nothing more is needed to run.
INSTALLED := $(or $(wildcard $(DEVELOP)),$(RUNTIME))

.DEFAULT_GOAL := help
.PHONY: help demo test browser-test deploy-test check style types layers bounds bench docs lock clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*##/\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "qkdlink needs Python 3.11 or later; name one with: make PYTHON=python3.12 …" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) cannot make environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): | $(BIN)/python
	$(PIP) install --require-hashes --no-deps -r deploy/requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-runtime-*
	@touch $@

$(DEVELOP): | $(BIN)/python
	$(PIP) install --require-hashes --no-deps -r deploy/requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-develop-*
	@touch $@

demo: $(INSTALLED) ## three processes distil a key over an emulated link and send a picture through the one-time pad
	$(BIN)/qkd demo --out $(DEMO_DIR) $(DEMO_ARGS)

test: $(DEVELOP) ## the whole suite that needs no privilege and no server
	$(BIN)/python -m tests.support.warm_up
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TEST_ARGS)

browser-test: $(DEVELOP) ## the page of a node in a real browser; needs Debian's chromium
	$(BIN)/python -m pytest tests/browser $(TEST_ARGS)

bounds: $(DEVELOP) ## the small kernel tests once more, with every index checked
	NUMBA_BOUNDSCHECK=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m kernels $(TEST_ARGS)

deploy-test: $(DEVELOP) ## the systemd units in a Debian that is booted for it, and the containers; needs root and skips what it lacks tools for
	$(BIN)/python -m pytest -m deploy tests/deploy $(TEST_ARGS)

check: style types layers docs ## style, types, layers of imports, documentation; make -k check goes on after a failure

style: $(DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEVELOP)
	$(BIN)/mypy

layers: $(DEVELOP)
	$(BIN)/lint-imports

docs: $(DEVELOP) ## build the documentation, warnings are errors
	@rm -rf docs/reference/api # pages of modules that are gone
	NUMBA_DISABLE_JIT=1 $(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

bench: $(DEVELOP) ## speed of every stage on this machine, beside its peers
	$(BIN)/qkd bench $(BENCH_ARGS)

COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: | $(BIN)/python ## resolve anew and write both locks; they agree with each other
	$(PIP) install uv
	$(COMPILE) --all-extras --output-file deploy/requirements-dev.lock $(LOCK_ARGS)
	$(COMPILE) --extra planning --extra build --constraints deploy/requirements-dev.lock --output-file deploy/requirements.lock

clean: ## everything that can be made again, the environment included
	rm -rf $(VENV) $(DEMO_DIR) dist docs/_build docs/reference/api .numba_cache .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find alice bob common tests -name __pycache__ -type d -prune -exec rm -rf {} +
