# make demo: 20 photographs attacked through the barrage. make test: the tests, in minutes. make test-all: the slow ones too.
# make test-fast: those that take a minute together, without Ray, a browser, a compiler of kernels or many processes.
# make check: linters and types. make docs: the pages as a site, build/site/index.html. make chaos: a hundred campaigns under
# faults, in half an hour.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test test-fast test-all chaos check docs clean

demo: $(INSTALLED)
	test -f demo/photos/images-000000.tar || $(BIN)/barrage pack demo demo/photos
	$(BIN)/barrage run campaigns/demo.yaml
	$(BIN)/barrage report demo/store -o demo/report.html

test-fast: SELECT := -m "not slow and not long"
test: SELECT := -m "not slow"
test-fast test test-all: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 \
	$(BIN)/python -m pytest $(SELECT) -n auto --dist loadgroup --no-loadscope-reorder

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

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[demo,torchvision,dev]"
	touch $@

clean:
	rm -rf .venv demo stores build *.egg-info .pytest_cache .mypy_cache .ruff_cache .cache
