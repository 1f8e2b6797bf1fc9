# `make help` lists what there is. Needs Python 3.11 or newer, git and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
NODE := $(VENV)/node
CLIENTS := sync_pipeline_tests/sandbox/salesforce/clients
vpath %.txt $(CLIENTS) sync_pipeline_tests/sandbox/billings/clients
# Compiled files beside the environment, so that a run leaves nothing among the sources.
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache

.DEFAULT_GOAL := help
.PHONY: help install demo ui test test-slow lint bench schema node-clients python-clients clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(INSTALLED) ## the environment, as locked in constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into $(VENV) (a minute or two, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) ## sandbox + sync of the three demo organizations (ALL=1: of every billing system); it all lies in var/
	@$(BIN)/sync-pipeline demo $(if $(ALL),--all)

ui: $(INSTALLED) ## sandbox + Dagster UI on the demo organizations (ALL=1: of every billing system), until Ctrl-C
	@$(BIN)/sync-pipeline demo --ui $(if $(ALL),--all)

test: $(INSTALLED) ## the test suite, without the long grids
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(INSTALLED) ## the long grids: every fault at every call of a sync, random histories, large data
	$(BIN)/python -m pytest -n 2 --dist load -m slow

lint: $(INSTALLED) ## ruff, strict typing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED) ## this project beside a script and the floor, a million accounts; SIZE=100000 for fewer
	$(BIN)/python -m benchmarks $(if $(SIZE),--size $(SIZE) --large 0)

schema: $(INSTALLED) ## config/org.schema.json from the models
	$(BIN)/python -m sync_pipeline.orgs

node-clients: $(NODE)/installed ## Salesforce's own command line and jsforce (npm, 500 MB): tests run them against the sandbox

# Without scripts: nothing that is downloaded runs before a test runs it.
$(NODE)/installed: $(CLIENTS)/package.json $(CLIENTS)/package-lock.json
	@echo "Installing Node packages into $(NODE) ..."
	@mkdir -p $(NODE)
	@cp $^ $(NODE)
	@cd $(NODE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

python-clients: $(VENV)/sf-toolkit/installed $(VENV)/airbyte/installed $(VENV)/chargebee/installed ## sf-toolkit, Airbyte's source, Chargebee's SDK, likewise (400 MB)

# Each in an environment of its own: what they need contradicts what this project needs.
$(VENV)/%/installed: %.txt
	@echo "Installing $* into $(@D) ..."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	@touch $@

clean: ## forget the environment and everything the demo left
	rm -rf $(VENV) var
