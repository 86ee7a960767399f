# `make` sets up and runs the main job; `make test` sets up and passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs
SITE := out/site
# Tests start processes, which need not compile everything anew where an environment asks for no bytecode.
unexport PYTHONDONTWRITEBYTECODE
OUT ?= out/photographs

.PHONY: run test coverage nightly sanitize fuzz lint written docs linkcheck screenshots exports bench peers package clean

run: $(READY)
	$(BIN)/unroll compare sparse_coding/lista --task photographs --out $(OUT) --overwrite

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

# The same with coverage, at least 95 % of core. Counting lines makes tests that trace graphs five times slower.
coverage: $(READY)
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
	$(BIN)/python -m tools.published_tables

# The site, in out/site: warnings are errors, examples run, then every link and anchor is looked up. SPHINX="-D plot_gallery=0" runs none.
docs: $(DOCS_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -j 2 -b html $(SPHINX) docs $(SITE)
	$(BIN)/python -m tools.site.links $(SITE)
	$(BIN)/python -m tools.site.accessibility $(SITE)

# The main pages in Chromium (CHROMIUM, or the one of the system), narrow and wide, light and dark, in out/screenshots.
screenshots: $(DOCS_READY)
	$(BIN)/pip install -q -c constraints.txt --group screenshots
	$(BIN)/python -m tools.site.screenshots $(SITE) out/screenshots

# Addresses outside, which need a network.
linkcheck: $(DOCS_READY)
	$(BIN)/python -m sphinx -b linkcheck -D plot_gallery=0 docs out/linkcheck

exports: $(READY)
	$(BIN)/python -m tools.export_catalogue

# Comparisons that the pages of systems show: every shipped network beside its rivals, in an hour or two on one core.
comparisons: $(READY)
	$(BIN)/python -m benchmarks.comparisons --resume out/comparisons/kept --pages out/comparisons/pages $(if $(ONLY),--only $(ONLY))
	$(BIN)/python -m tools.site.comparisons out/comparisons/pages

# `make bench KEEP=1` adds what was measured to docs/benchmarks/results, which the site shows.
bench: $(READY)
	$(BIN)/python -m benchmarks.run --out out/benchmarks $(if $(KEEP),--keep) $(ONLY)

# The other libraries that benchmarks/peers.py, peers_unfolded.py and recovery_time.py run beside this one, without what they would replace.
peers: $(READY)
	$(BIN)/pip install -q --no-deps -c constraints.txt --group peers

# The wheel and the source distribution, tried in an environment that holds nothing else. PACKAGE="--python python3.12 --lowest --dist dist".
PACKAGE ?= --extras
package: $(READY)
	$(BIN)/pip install -q -c constraints.txt --group package
	$(BIN)/python -m tools.package_check $(PACKAGE)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade 'pip>=25.1'
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e '.[data,audio,scans,export]' --group test --group lint
	touch $@

$(DOCS_READY): $(READY)
	$(BIN)/pip install -q -c constraints.txt --group docs
	touch $@

clean:
	rm -rf $(VENV) out runs build dist .pytest_cache .ruff_cache .hypothesis .coverage
