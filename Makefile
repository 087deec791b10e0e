# Everything here brings what it needs into .venv and ends what it starts. `make` alone lists it.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= 4

.DEFAULT_GOAL := help
.PHONY: help run test lint check bench chaos clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run ## Dastak on this machine, with a simulated world (SANDBOX=0: without; PORT, SANDBOX_PORT, VAR)
	@exec $(BIN)/python run.py

test: $(VENV)/dev ## the whole test suite, on SQLite and on a real PostgreSQL (only some: make test ONLY=tests/test_orders.py)
	$(BIN)/python -m pytest $(ONLY) -n $(JOBS) --dist loadfile --no-loadscope-reorder -r s

lint: $(VENV)/dev ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test ## lint and test: what must pass before a change lands

bench: $(VENV)/dev ## measure (about 20 minutes; ARGS="--quick" for a first look)
	$(BIN)/python -m bench $(ARGS)

chaos: $(VENV)/dev ## 2,000 orders while everything fails, on both databases (ARGS="--seed 7 --orders 500")
	$(BIN)/python -m bench.chaos $(ARGS)

clean: ## forget what `make run` keeps under var/
	rm -rf var

# -- what the targets need -----------------------------------------------------------------------------------------

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Dastak needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run: requirements.txt | $(VENV)/bin/python
	@echo "  installing requirements.txt into $(VENV), once (a minute or less) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	@echo "  installing requirements-dev.txt into $(VENV), once …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/run
