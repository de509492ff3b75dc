# One environment at the root, filled once and again when pyproject.toml changes.
PYTHON ?= python3
BIN := .venv/bin

# One process a core, each with one thread: half the time of one process with all of them. Where
# a test takes more threads, those that wait leave the cores to others.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n auto --dist worksteal

.PHONY: test test-all lint demo docs docs-links bench clean

# One case at least of every fault and promise; test-all has every case, and style and types, as
# CI has.
test: .venv/ready
	$(PYTEST) -m "not sweep"

test-all: lint
	$(PYTEST)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: .venv/ready
	$(BIN)/python demo.py

# Into docs/site/_build/html; a warning is an error, a link to no page or heading is one.
docs: .venv/ready
	$(BIN)/python -m sphinx -W --keep-going -q docs/site docs/site/_build/html

# Asks for every external link; needs a network.
docs-links: .venv/ready
	$(BIN)/python -m sphinx -W --keep-going -q -b linkcheck docs/site docs/site/_build/links

bench: .venv/ready
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/embedding.py
	$(BIN)/python benchmarks/loading.py
	$(BIN)/python benchmarks/training.py

.venv/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf .venv demo-output docs/site/_build
