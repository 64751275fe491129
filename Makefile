# make demo: 20 photographs attacked through the barrage. make test: the tests, in minutes. make test-all: the slow ones too.
# make test-fast: those that take a minute together, without Ray, a browser, a compiler of kernels or whole campaigns.
# make check: linters and types. make docs: the pages as a site, build/site/index.html. make chaos: a hundred campaigns under
# faults, in half an hour.
#
# An installation takes some 6 GB, of which PyTorch's libraries for NVIDIA GPUs are 4. Without them:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
# The oldest releases of other packages that pyproject.toml allows, in a folder of their own: make test-oldest PYTHON=python3.11
# Another Python, in a folder of its own: make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
FOR_DEMO := $(VENV)/installed-demo
INSTALLED := $(VENV)/installed
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS)

# Bytecode is kept even where the environment says otherwise: each of hundreds of processes would compile all modules again.
TEST = PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

.PHONY: demo test test-fast test-oldest test-all chaos check coverage wheel docs clean

demo: $(FOR_DEMO)
	test -f demo/photos/images-000000.tar || $(BIN)/barrage pack demo demo/photos
	$(BIN)/barrage run campaigns/demo.yaml
	$(BIN)/barrage report demo/store -o demo/report.html

WORKERS := auto
test-fast: WORKERS := logical
test-fast: SELECT := -m "not slow and not long"
test: SELECT := -m "not slow"
test-fast test test-all: $(INSTALLED)
	$(TEST) $(SELECT)

test-oldest:
	$(MAKE) test-fast VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

chaos: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/python -m docs.reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "build/site/index.html"

coverage: $(INSTALLED)
	$(TEST) -m "not slow" --cov --cov-report term

wheel: $(INSTALLED)
	$(BIN)/python -m build --outdir build/wheel

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	test -z "$(TORCH_INDEX)" || $(PIP) --index-url "$(TORCH_INDEX)" torch torchvision

$(FOR_DEMO): pyproject.toml setup.py $(CONSTRAINTS) | $(BIN)/python
	$(PIP) -e ".[demo]"
	touch $@

$(INSTALLED): pyproject.toml setup.py $(CONSTRAINTS) | $(BIN)/python
	$(PIP) -e ".[dev]"
	touch $@ $(FOR_DEMO)

clean:
	rm -rf $(VENV) demo stores build *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .cache
