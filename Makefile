# spinepacs: `make demo` and `make test` are all that most people need. Both set up everything themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# TRAIN=1 adds the training extra (torch, ultralytics: about 6 GB).
STAMP  := $(VENV)/.installed$(if $(TRAIN),-train)

# One process for each core; PYTEST_ARGS='-x tests/store' runs what you like.
PYTEST_ARGS ?= -q -n auto

.PHONY: demo test check lint types imports pytest benchmark clean help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed-base  ## send synthetic films through the daemon and show what comes back
	$(BIN)/python demo/run.py

test: check pytest  ## every check and every test; installs what it needs (TRAIN=1: with the training extra)

check: lint types imports

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

pytest: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

benchmark: $(STAMP)  ## print the benchmark tables (minutes)
	$(BIN)/python -m tests.benchmarks

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist *.egg-info demo/out

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "spinepacs needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

# The demo needs what a user needs; the tests need the tools as well.
$(VENV)/.installed-base: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing spinepacs into $(VENV) (a minute or two, the first time)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed: $(VENV)/.installed-base
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[postgresql,parquet]' --group test
	@touch $@

$(VENV)/.installed-train: $(VENV)/.installed
	@echo "installing the training extra (about 6 GB)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[postgresql,parquet,train]'
	@touch $@
