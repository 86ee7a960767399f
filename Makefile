# `make` sets up and runs the main job; `make test` sets up and passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= out/photographs

.PHONY: run test nightly sanitize fuzz lint written exports bench clean

run: $(READY)
	$(BIN)/unroll compare sparse_coding/lista --task photographs --out $(OUT) --overwrite

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --cov=unrolling --cov-report=term:skip-covered
	$(BIN)/python -m coverage report --include='unrolling/core/*' --fail-under=95

# Every system in every format and compiled, which make test asks of one system per family of operators.
nightly: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m nightly

# The tests of the C++ kernels with the address and undefined-behaviour sanitizers.
sanitize: $(READY)
	$(BIN)/python -m tools.sanitize

# Damaged files of every format that is read, folders of them, and calls of what is public with arguments that are wrong.
fuzz: $(READY)
	$(BIN)/python -m tools.fuzz $(FUZZ)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tools.import_circles

# What is made from something else in the repository: public names of packages, the index of the systems, their tables.
written: $(READY)
	$(BIN)/python -m tools.public_names
	$(BIN)/python -m unrolling.systems.index
	$(BIN)/python -m tools.system_tables

exports: $(READY)
	$(BIN)/python -m tools.export_catalogue

bench: $(READY)
	$(BIN)/python -m benchmarks.run --out out/benchmarks $(ONLY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade 'pip>=25.1'
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e '.[data,audio,export]' --group test --group lint
	touch $@

clean:
	rm -rf $(VENV) out runs build dist .pytest_cache .ruff_cache .hypothesis .coverage
