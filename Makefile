# `make demo` and `make test` need Python >= 3.11 with venv, and nothing else: each makes its environment in this folder.

PYTHON ?= python3
BIN := .venv/bin
DEMO_BIN := .venv-demo/bin
PROJECT := pyproject.toml

.PHONY: help demo test attacks fuzz check format lint types contracts bench clean

help: ## list what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: .venv-demo/installed ## the main job on bundled data, with a scripted model over real HTTP
	@$(DEMO_BIN)/agex demo

test: .venv/installed ## run the tests
	@$(BIN)/pytest -n 2 -q $(ARGS)

attacks: .venv/installed ## every payload in every cell, then 200 killed supervisors
	@$(BIN)/python -m tests.attacks
	@$(BIN)/python -m tests.attacks.sudden_death 200

fuzz: .venv/installed ## hostile bytes for the wire and the decoder, guided by coverage; ARGS="values -max_total_time=60"
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --group fuzz || \
		echo "atheris cannot be had here: inputs are changed at random instead"
	@$(BIN)/python -m tests.fuzz $(or $(ARGS),-max_total_time=60)

check: .venv/installed lint types contracts test ## everything that CI runs but the wheel

format: .venv/installed ## rewrite the code in the one style
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: .venv/installed ## style and plain mistakes
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: .venv/installed ## mypy --strict and pyright --strict
	@$(BIN)/mypy
	@$(BIN)/pyright

contracts: .venv/installed ## who may import whom
	@$(BIN)/lint-imports

bench: .venv/installed ## the benchmarks, each beside its limit in the same run
	@for each in bench/*.py; do echo "== $$each"; $(BIN)/python $$each || exit 1; done

clean: ## remove both environments and every cache
	@rm -rf .venv .venv-demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build

# The stamp is renewed when the project file changes, so a second call starts nothing twice.
.venv-demo/installed: $(PROJECT)
	@echo "making .venv-demo (once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "agex needs Python 3.11 or later; set PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv --clear .venv-demo
	@echo "installing agex, pandas and pyarrow ..."
	@$(DEMO_BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

.venv/installed: $(PROJECT)
	@echo "making .venv (once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "agex needs Python 3.11 or later; set PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@echo "installing agex and what its tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable '.[demo]' --group dev
	@touch $@
