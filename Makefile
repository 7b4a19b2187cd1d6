# Each target works on a fresh machine with Python 3.11: it makes the virtual environment and installs the tested versions first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A worker for each core; a worker that runs out of tests takes some from another.
PARALLEL := -n auto --dist worksteal

.PHONY: quickstart test test-fast test-browser bench lint docs notebooks test-lowest clean

quickstart: $(STAMP)
	$(BIN)/python examples/quickstart.py --output_dir quickstart

# Everything.
test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(PARALLEL)

# Without the tests marked slow, which take several seconds each.
test-fast: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

# The page in a browser: needs Chromium (apt-get install chromium).
test-browser: $(STAMP)
	BROWSER_TESTS=1 $(BIN)/python -m pytest tests/page/test_browser.py

# About ten minutes on two cores. Writes the tables and pictures of docs/performance.md.
bench: $(STAMP)
	$(BIN)/pip install -q -c constraints.txt -e .[bench]
	WRITE_DOCS=1 $(BIN)/python -m pytest tests/benchmarks -o python_files='bench_*.py'

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

# The documentation site, in site/; a broken link or reference is an error.
docs: $(STAMP)
	$(BIN)/pip install -q -c constraints.txt -e .[docs]
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir site

# The notebooks of the tutorials, written again from their pages.
notebooks: $(STAMP)
	cd docs/tutorials && ../../$(BIN)/jupytext --quiet --to ipynb first_prediction.md own_clips.md

clean:
	rm -rf $(VENV) .venv-lowest quickstart site

# Installed again when the requirements change. One pip command, so that the constraints hold for everything.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e .[test]
	touch $@

# A short run with the lowest versions that setup.cfg allows.
test-lowest: .venv-lowest/.installed
	.venv-lowest/bin/python -m pytest -m "not slow" tests/metrics tests/files tests/runs tests/commands tests/embedding_store \
	    tests/training/test_trainer.py tests/training/test_run.py tests/test_pipeline_semanticmac.py tests/test_media_decoding.py \
	    tests/test_processing_semanticmac.py tests/test_affect_heads.py

.venv-lowest/.installed: setup.cfg .ci/lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install -q -c .ci/lowest.txt -e .[test]
	touch $@
