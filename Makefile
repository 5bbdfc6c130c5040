# make demo   the main job on this box: collect, train, judge, report
# make test   the quick checks: lint, types, laws, every test that needs no system (minutes)
# make test-all   every check: also kills, disks, power cuts, clusters, browsers
# make results-quick   the bouncing logo's rows of docs/results/bouncing-logo.md, three seeds
# make rehearsal   two factory boxes and a brain on this one, a network between them, and faults (root; six minutes)
# make docs   the documentation site, served on http://127.0.0.1:8000; make docs-build writes it to build/site
# make dist   wheel and source archive in dist/, checked by twine
# make installs   the two partial installs, each in a fresh environment (minutes)
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

DEMO_FRAMES ?= 40000
DEMO_BUDGET ?= 150s
DEMO_WORKERS ?= 2
SEED ?= 0

.DEFAULT_GOAL := help
.PHONY: help demo results-quick test test-all lint types install installs docs docs-build dist rehearsal clean

help:
	@sed -n 's/^# //p' Makefile

install: $(VENV)/.installed-all

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit("python %d.%d will not do: TinyJEPA needs Python 3.11 to 3.13; set PYTHON=python3.12 or the like" % v[:2])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@

demo: $(VENV)/.installed-all
	$(BIN)/factory collect --world car-racing --workers $(DEMO_WORKERS) --frames $(DEMO_FRAMES) --seed $(SEED) --store data/demo-$(SEED)
	$(BIN)/brain train --store data/demo-$(SEED) --run runs/demo-$(SEED) --recipe car-racing --budget $(DEMO_BUDGET) --seed $(SEED)

results-quick: $(VENV)/.installed-all
	$(BIN)/python -m benchmarks.results_logo

TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: lint types
	$(TESTS) -m "not system"

test-all: lint types
	$(TESTS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

rehearsal: $(VENV)/.installed-all
	$(abspath $(BIN))/python -m deploy.rehearsal

installs:
	PYTHON=$(PYTHON) tests/installs.sh

MKDOCS := NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(BIN)/python -m mkdocs

docs: $(VENV)/.installed-docs
	$(MKDOCS) serve -f docs/site/mkdocs.yml -a 127.0.0.1:8000

docs-build: $(VENV)/.installed-docs
	$(MKDOCS) build --strict -f docs/site/mkdocs.yml

dist: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
