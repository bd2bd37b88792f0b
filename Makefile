# Needs git, make and Python 3.11 or newer; everything else is installed into .venv by the targets themselves.

SHELL := /bin/sh
.DEFAULT_GOAL := help

ifndef PYTHON
PYTHON := $(shell tools/find-python 3.11 3.12 3.13 3.14)
endif
export PYTHON
# The tests start some hundred Pythons; without bytecode each would compile everything that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

OTHERS := 3.12 3.13
LINTERS := basedpyright mypy ruff imports
BIN := .venv/bin
SOURCES := pyproject.toml constraints.txt
INSTALL = bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e
# A test that hangs prints every stack and ends the run, instead of keeping a machine for hours.
HANG := -o faulthandler_timeout=120 -o faulthandler_exit_on_timeout=true
PYTEST := -m pytest $(HANG) -m "not long and not quiet"
# Of a test's combinations of parameters as many are run as have each value of each; on the other Pythons no test that
# says nothing of its Python. `make test-long` runs all.
FIRST := -m pytest $(HANG) --ways 1 -m "not long and not quiet"
OTHER := -m pytest $(HANG) --ways 1 -m "not long and not quiet and not once"
HALVES := half-1 half-2
# Their subject is time: they have the machine to themselves, before the parts that run side by side; on the other
# Pythons with `make test-long`.
QUIET := -m pytest $(HANG) -q -m "quiet and not long"

.PHONY: $(HALVES) quiet help demo test test-long lint format coverage mutants bench clean pytest $(LINTERS)

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: .venv/telemetry.stamp  ## run the telemetry example
	$(BIN)/trouper run examples/telemetry/app.py:tree

test: .venv/dev.stamp  ## everything: linters, type checkers, tests on every Python that is here
	@main=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); present=; absent=; \
	for version in $(OTHERS); do \
	  if [ "$$version" = "$$main" ]; then continue; fi; \
	  if tools/find-python $$version >/dev/null; then present="$$present $$version"; else absent="$$absent $$version"; fi; \
	done; \
	echo "Pythons: $$main$$present; absent:$${absent:- none}"; \
	$(MAKE) --no-print-directory quiet || exit 1; \
	exec $(BIN)/python tools/side_by_side.py $(HALVES) $$(for version in $$present; do echo pytest-$$version; done) $(LINTERS)

test-long: .venv/dev.stamp  ## all the tests, with the long ones; and all that are not long on every other Python
	TROUPER_LONG=1 $(BIN)/python -m pytest -m "long or not long"
	@for version in $(OTHERS); do \
	  if tools/find-python $$version >/dev/null; then $(MAKE) --no-print-directory -j1 quiet-$$version all-$$version || exit 1; fi; \
	done

lint: .venv/dev.stamp  ## ruff, mypy, basedpyright and the import contracts
	@$(BIN)/python tools/side_by_side.py $(LINTERS)

format: .venv/dev.stamp  ## format, and repair what ruff can repair
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

coverage: .venv/dev.stamp  ## the tests under coverage, and what they miss
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

mutants: .venv/dev.stamp  ## break the pure decisions in small ways, and see whether a test notices each
	$(BIN)/python tools/mutants.py

bench: .venv/dev.stamp  ## the benchmarks
	$(BIN)/python benchmarks/compare.py

clean:  ## remove venvs, caches and builds
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- the parts that `test` and `lint` run side by side; each works alone, too. The tests have the right of way ---------
pytest: .venv/dev.stamp
	@$(BIN)/python $(PYTEST) -o cache_dir=.venv/pytest-cache

$(HALVES): half-%: .venv/dev.stamp
	@$(BIN)/python $(FIRST) --share $*/2 -o cache_dir=.venv/pytest-cache-$*

pytest-%: .venv-%/test.stamp
	@.venv-$*/bin/python $(OTHER) -o cache_dir=.venv-$*/pytest-cache

all-%: .venv-%/test.stamp
	.venv-$*/bin/python $(PYTEST) -o cache_dir=.venv-$*/pytest-cache

quiet: .venv/dev.stamp
	@$(BIN)/python $(QUIET) -o cache_dir=.venv/pytest-cache

quiet-%: .venv-%/test.stamp
	@.venv-$*/bin/python $(QUIET) -o cache_dir=.venv-$*/pytest-cache

ruff: .venv/dev.stamp
	@nice $(BIN)/ruff check .
	@nice $(BIN)/ruff format --check .

mypy: .venv/dev.stamp
	@nice $(BIN)/mypy

basedpyright: .venv/dev.stamp
	@nice $(BIN)/basedpyright

imports: .venv/dev.stamp
	@nice $(BIN)/lint-imports --no-logo

# -- venvs, made anew when what they install has changed ---------------------------------------------------------------
.PRECIOUS: .venv-%/test.stamp

.venv/dev.stamp: $(SOURCES)
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer with venv and pip found; say make PYTHON=..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	.venv/$(INSTALL) '.[dev]'
	@touch .venv/telemetry.stamp $@

.venv/telemetry.stamp: $(SOURCES)
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer with venv and pip found; say make PYTHON=..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	.venv/$(INSTALL) '.[telemetry]'
	@touch $@

.venv-%/test.stamp: $(SOURCES)
	@.venv-$*/bin/python -m pip --version >/dev/null 2>&1 || "$$(tools/find-python $*)" -m venv --clear .venv-$*
	.venv-$*/$(INSTALL) '.[test]'
	@touch $@
