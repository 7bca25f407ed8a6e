# Two commands do everything, set-up included: `make run` and `make test`.
STUDY ?= studies/mnist.yaml
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

BASELINES := benchmarks/baselines/.venv
MEASURED = benchmarks/.measured/$(shell git rev-parse HEAD)
FIXED := mlp cnn adult clinc150_bag clinc150_gru clinc150_transformer fsdd_cnn fsdd_gru
SECTIONS := $(FIXED:%=fixed_trials.%) empty_trials bookkeeping step plain_step worker_profile asking \
	first_step pruning memory agents tracking_outage busy_machine

.NOTPARALLEL:
.PHONY: run test gate test-all check bench baselines clean

run: $(INSTALLED)
	$(BIN)/python -m sweeper run $(STUDY)

test: $(INSTALLED)
	$(BIN)/python -m pytest

# One real fault of each kind, before a submission; some of it sleeps, so a third process pays.
gate: $(INSTALLED)
	$(BIN)/python -m pytest -n 3 -m gate

# Every test there is: at most 45 minutes on two cores. Broken off, it goes on where it was, as long
# as the commit is the same.
test-all: $(INSTALLED)
	$(BIN)/python scripts/test-all

check: $(INSTALLED)
	PATH="$(abspath $(BIN)):$$PATH" scripts/check

# Takes hours (the CNN trials alone one, on two slow cores) of a machine that does nothing
# else; broken off, it goes on with the section that it was at, as long as the commit is the same.
bench: $(INSTALLED) baselines $(SECTIONS:%=$(MEASURED)/%)

# NAME.ARGUMENT is benchmarks/NAME.py ARGUMENT.
$(MEASURED)/%: | $(INSTALLED) baselines
	$(BIN)/python benchmarks/$(basename $*).py $(patsubst .%,%,$(suffix $*))
	mkdir -p $(@D)
	touch $@

baselines: $(if $(SWEEPER_BASELINES_PYTHON),,$(BASELINES)/installed)

$(BASELINES)/installed: benchmarks/baselines/requirements.txt
	$(PYTHON) -m venv $(BASELINES)
	@echo "installing what sweeper is measured beside into $(BASELINES): torch again, 5 GB ..."
	$(BASELINES)/bin/python -m pip install --quiet --progress-bar on --requirement $<
	touch $@

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sweeper needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): torch alone is 5 GB, so this takes a minute or more ..."
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --progress-bar on --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(BASELINES) build dist *.egg-info benchmarks/.measured tests/.tested .mypy_cache .pytest_cache .ruff_cache
