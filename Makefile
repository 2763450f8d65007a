# WealthArena: `make demo` trains the quickstart, `make test` runs the tests. Both work on a bare machine.
#
# Needs make and Python 3.11, 3.12 or 3.13; takes the first of these that works. Another one: make PYTHON=/path/to/python
# pip's own settings for where packages come from (index, proxy, find-links) hold; nothing else of the machine is used.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

PYTHON ?=
CANDIDATES := python3.11 python3.12 python3.13 python3 python

# What would let packages from outside into the environment, or send ours elsewhere.
unexport PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_CONSTRAINT
export PYTHONNOUSERSITE := 1
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test lint check format clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## The virtual environment .venv, with the pinned packages

demo: $(INSTALLED) ## Train the quickstart team, print its results and where the report is
	$(BIN)/wealtharena train tune_configs/quickstart.yaml

# A file's tests share a Ray, so a file stays in one process; tests/conftest.py says in which order.
test: $(INSTALLED) ## The whole test suite, a process for each core
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED) ## Format, lint, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## Everything that CI does

format: $(INSTALLED) ## Write the code in the one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove the virtual environment and all caches; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --no-compile -c constraints.txt setuptools
	$(BIN)/python -m pip install --no-compile -c constraints.txt --no-build-isolation -e '.[dev]'
	@# pip would compile on one core; some packages hold files that are no Python, or an older one
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
	@touch $@

# An order-only prerequisite: the environment is made once, and again only if its Python has gone.
$(BIN)/python:
	@for python in $(or $(PYTHON),$(CANDIDATES)); do \
		if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
			echo "Making $(VENV) with $$("$$python" --version) ($$("$$python" -c 'import sys; print(sys.executable)'))"; \
			"$$python" -m venv --clear $(VENV) && exit 0; \
			rm -rf $(VENV); \
			echo "make: $$python cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv)" >&2; \
			exit 1; \
		fi; \
	done; \
	echo "make: needs Python 3.11, 3.12 or 3.13; tried: $(or $(PYTHON),$(CANDIDATES))" >&2; \
	for python in $(or $(PYTHON),$(CANDIDATES)); do \
		version=$$("$$python" --version 2>/dev/null) && echo "make: $$python is $$version" >&2; \
	done; \
	echo "make: install one of them, or name it: make PYTHON=/path/to/python3.11" >&2; \
	exit 1
