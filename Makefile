# Each target does its own set-up: a virtual environment in the checkout, installed once and again only when
# pyproject.toml or constraints.txt change. Networks this small
# gain nothing from threads that wait for each other: one thread a process, and the tests in a process a core. The tests
# of a file share one process, so that what they share (trained networks, whole runs) is made once. The longest files
# run first, in the order of tests/conftest.py.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.docs-installed
REPORT := build/dmm-report.json
REPORTS := $(REPORT) build/dmm-report.html build/dmm-report.md build/dmm-report.csv
JUNIT := build/dmm-junit.xml

PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
COVERED := 98  # least per cent of lines and branches

.PHONY: demo test test-all lint docs figures clean

demo: $(INSTALLED)
	@mkdir -p build && rm -f $(REPORTS) $(JUNIT)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --dmm-only $(REPORTS:%=--dmm-report %) --junitxml $(JUNIT) $(ARGS); \
	  $(BIN)/python -m examples.verdicts $$? $(REPORT) $(JUNIT)

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(PYTEST) $(ARGS)

# The tests of `make test` with branch coverage, then the heavy ones without it: they start many processes, each of which
# takes half as long again where its lines are traced. The coverage that must be reached is that of the first call alone.
test-all: $(INSTALLED)
	@mkdir -p build/coverage && rm -f build/coverage/data*
	OMP_NUM_THREADS=1 $(PYTEST) --cov --cov-report=term --cov-report=html --cov-fail-under=$(COVERED) $(ARGS)
	OMP_NUM_THREADS=1 $(PYTEST) -m heavy $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(DOCS_INSTALLED)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

# The figures of README and docs; the same bytes each time, those of the demo for the same report.
figures: $(INSTALLED) $(REPORT)
	$(BIN)/python -m examples.demo_figures $(REPORT) --out docs/figures
	$(BIN)/python -m examples.line_in_the_plane --out docs/figures/line_in_the_plane.svg
	$(BIN)/python -m examples.concept_figures --out docs/figures

$(REPORT):
	$(MAKE) demo

clean:
	rm -rf $(VENV) build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "dmmcheck needs Python 3.10 or newer, $(PYTHON) is " + sys.version.split()[0] + "; run make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@
