# Each target does its whole job on a fresh machine with Python 3.11: virtual environment, installation with the tested versions, the work.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test bench lint clean

quickstart: $(STAMP)
	$(BIN)/python examples/quickstart.py --output_dir quickstart

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

bench: $(STAMP)
	$(BIN)/pip install -q -c constraints.txt -e .[bench]
	$(BIN)/python -m pytest tests/benchmarks -o python_files='bench_*.py'

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) quickstart

# Installed anew when what is to be installed has changed. One pip command, so that the constraints hold for everything.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e .[test]
	touch $@
