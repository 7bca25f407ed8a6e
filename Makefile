# Two commands do everything, set-up included: `make run` and `make test`.
STUDY ?= studies/mnist.yaml
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: run test check bench clean

run: $(INSTALLED)
	$(BIN)/python -m sweeper run $(STUDY)

test: $(INSTALLED)
	$(BIN)/python -m pytest

check: $(INSTALLED)
	PATH="$(abspath $(BIN)):$$PATH" scripts/check

bench: $(INSTALLED)
	$(BIN)/python benchmarks/mlp_trials.py

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sweeper needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): torch alone is 5 GB, so this takes a minute or more ..."
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --progress-bar on --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
