# make run     a server for localhost, on SQLite in data/, in the foreground
# make test    everything that must pass
# make interop only the tests against Synapse, which is installed into a virtual environment of its own first
# make lint    only what reads the code: ruff, mypy, the import contract
# make bench   what the work costs, beside Synapse
#
# Each installs what it needs first; that is quick when nothing has changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# some tests wait more than they work
TEST_WORKERS := 3
PIP := $(BIN)/python -m pip --disable-pip-version-check install
SAY := @printf '\n==> %s\n'

.PHONY: help install prepare run test lint unit interop bench clean
help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install: $(VENV)/.installed

run: $(VENV)/.installed data/homeserver.yaml
	$(SAY) 'Starting the server (its log: data/homeserver.log)'
	@$(BIN)/python -m matrixd.ops.welcome -c data/homeserver.yaml --bin $(BIN)/ --pid $$$$ & \
	exec $(BIN)/python -m matrixd -c data/homeserver.yaml

test: prepare lint unit interop

prepare: $(VENV)/.test-installed postgresql coturn

lint: $(VENV)/.test-installed
	$(SAY) 'ruff: style'
	@$(BIN)/ruff check --config tests/ruff.toml matrixd workers tests
	$(SAY) 'mypy: types (the first time takes a minute)'
	@$(BIN)/mypy
	$(SAY) 'lint-imports: who may import whom'
	@$(BIN)/lint-imports

unit: $(VENV)/.test-installed
	$(SAY) 'pytest: all tests but those against Synapse, on SQLite and PostgreSQL'
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal --ignore=tests/interop $(PYTEST_ARGS)

interop: $(VENV)/.test-installed
	$(SAY) 'pytest: matrixd and Synapse talk to each other (the first time installs Synapse, some minutes)'
	@$(BIN)/python -m pytest tests/interop $(PYTEST_ARGS)

bench: prepare
	$(SAY) 'Measuring (beside Synapse: that is installed into a virtual environment of its own first)'
	@$(BIN)/python bench/run $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build matrixd.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

data/homeserver.yaml: | $(VENV)/.installed
	$(SAY) 'Writing a configuration for the server name localhost into data/'
	@$(BIN)/python -m matrixd --server-name localhost --config-path $@ --generate-config --report-stats=no

# The virtual environment, and what is installed into it. The stamps make a second run quick.

$(VENV)/.made:
	$(SAY) 'Making the virtual environment $(VENV)'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo '$(PYTHON) must be Python 3.11 or newer. Name another: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || $(MAKE) --no-print-directory debian-package \
	    PACKAGE=python3-venv WHY='$(PYTHON) comes without venv'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@touch $@

$(VENV)/.installed: $(VENV)/.made setup.cfg pyproject.toml
	$(SAY) 'Installing matrixd and what it needs (some 20 packages)'
	@$(PIP) -e .
	@touch $@

$(VENV)/.test-installed: $(VENV)/.installed
	$(SAY) 'Installing what the tests need (some 40 packages more)'
	@$(PIP) -e '.[test]'
	@touch $@

# A PostgreSQL server for the tests. They start one of their own; none that runs already is touched.

.PHONY: postgresql coturn debian-package
postgresql:
	@$(BIN)/python -c 'from tests.support.postgres import program_directory; program_directory()' >/dev/null 2>&1 || \
	    $(MAKE) --no-print-directory debian-package PACKAGE=postgresql WHY='the tests need a PostgreSQL server'

# A TURN server; the tests start one of their own.
coturn:
	@$(BIN)/python -c 'from tests.support.coturn import program; program()' >/dev/null 2>&1 || \
	    $(MAKE) --no-print-directory debian-package PACKAGE=coturn WHY='the tests need a TURN server'

debian-package:
	@if ! command -v apt-get >/dev/null; then \
	    echo "$(WHY). Install what Debian calls $(PACKAGE), then run make again." >&2; exit 1; \
	elif [ "$$(id -u)" != 0 ]; then \
	    echo "$(WHY). As root: apt-get install $(PACKAGE) - then run make again." >&2; exit 1; \
	fi
	$(SAY) '$(WHY): installing $(PACKAGE)'
	@apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(PACKAGE)
