# spinepacs: `make demo` and `make test` are all that most people need. Both set up everything themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TOOLS  := .venv-tools
# TRAIN=1 adds the training extra (torch, ultralytics: about 6 GB).
STAMP  := $(VENV)/.installed$(if $(TRAIN),-train)

# What is installed: the very files whose hashes locks/ holds. LOCKED= (empty) takes what pip finds for pyproject.toml
# instead, for platforms and mirrors that have other files.
LOCKED ?= yes
PIP    := $(BIN)/python -m pip install --quiet

comma := ,
# $(call install,lock,extras,groups)
ifeq ($(LOCKED),)
install = $(PIP) --editable '.$(2)' $(3)
else
install = $(PIP) --require-hashes --requirement locks/$(1).txt && $(PIP) --no-deps --no-build-isolation --editable .
endif

# One process for each core, each with a half of its own as long as it has work: what a module sets up is set up once.
# PYTEST_ARGS='-x tests/store' runs what you like.
PYTEST_ARGS ?= -q -n auto --dist worksteal

# For every platform and Python from 3.11 on; versions that are locked stay unless something asks for others.
COMPILE := $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  pyproject.toml --group pyproject.toml:build

.PHONY: demo test check lint types imports pytest benchmark audit lock clean help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed-base  ## send synthetic films through the daemon and show what comes back (STAY=1: and see its console)
	$(BIN)/python demo/run.py$(if $(STAY), --stay)

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

audit: $(TOOLS)/bin/uv  ## compare what locks/ names with the known vulnerabilities (asks PyPI); fails if it cannot
	$(TOOLS)/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes --requirement locks/train.txt

lock: $(TOOLS)/bin/uv  ## write locks/ anew after a change in pyproject.toml (UPGRADE=1: with the newest versions)
	$(COMPILE) $(if $(UPGRADE),--upgrade) --all-extras --group pyproject.toml:test --output-file locks/train.txt
	$(COMPILE) -c locks/train.txt --extra postgresql --extra parquet --extra cluster --extra s3 --extra fhir --extra hl7 --extra pdf --extra oidc --group pyproject.toml:test --output-file locks/test.txt
	$(COMPILE) -c locks/train.txt --extra postgresql --extra cluster --extra s3 --extra fhir --extra hl7 --extra pdf --extra oidc --output-file locks/run.txt

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) $(TOOLS) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist *.egg-info demo/out

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "spinepacs needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

# The demo needs what a user needs; the tests need the tools as well.
$(VENV)/.installed-base: pyproject.toml locks/run.txt | $(BIN)/python
	@echo "installing spinepacs into $(VENV) (a minute or two, the first time)"
	$(call install,run)
	@touch $@

$(VENV)/.installed: $(VENV)/.installed-base locks/test.txt
	$(call install,test,[postgresql$(comma)parquet$(comma)cluster$(comma)s3$(comma)fhir$(comma)hl7$(comma)pdf$(comma)oidc],--group test)
	@touch $@

$(VENV)/.installed-train: $(VENV)/.installed locks/train.txt
	@echo "installing the training extra (about 6 GB)"
	$(call install,train,[postgresql$(comma)parquet$(comma)cluster$(comma)s3$(comma)fhir$(comma)hl7$(comma)pdf$(comma)oidc$(comma)train])
	@touch $@

# uv writes locks, pip-audit reads them: neither is part of what is tested, so they live apart.
$(TOOLS)/bin/uv: | $(BIN)/python
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet uv pip-audit
