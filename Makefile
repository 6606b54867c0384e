# make run     set everything up and run the whole method on the standard library, offline (about ten minutes)
# make test    set up and run the tests
# make check   format, lint, types, tests
# make docs    regenerate docs/tables.md
PYTHON ?= python3
BIN := .venv/bin
SOURCES := scoder.py commands.py builders store queries training tests benchmarks

.PHONY: run test check setup sandbox docs format
run: setup sandbox
	$(BIN)/scoder run recipes/tiny.yaml

test: setup sandbox
	$(BIN)/python -m pytest -q

check: setup
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(MAKE) test

format: setup
	$(BIN)/ruff check --fix-only -q $(SOURCES)
	$(BIN)/ruff format -q $(SOURCES)

docs: setup
	$(BIN)/python -m store.schemas > docs/tables.md

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	# torch first, by its exact version: a range would pull another build of it
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch .venv/.ready

# Generated code runs only in bubblewrap; without it the run skips the evaluation and says so.
sandbox:
	@command -v bwrap >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& { apt-get install -y -qq bubblewrap >/dev/null 2>&1 \
			|| { apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq bubblewrap >/dev/null 2>&1; }; } \
		|| echo 'no bubblewrap: evaluation will be skipped (apt-get install bubblewrap)'; }
