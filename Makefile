# make demo: 20 photographs attacked through the barrage. make test: the tests, in minutes. make test-all: the slow ones too.
# make chaos: a hundred campaigns under faults, in half an hour. make check: linters and types.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test test-all chaos check clean

demo: $(INSTALLED)
	test -f demo/photos/images-000000.tar || $(BIN)/barrage pack demo demo/photos
	$(BIN)/barrage run campaigns/demo.yaml

test: SELECT := -m "not slow"
test test-all: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SELECT) -n 2 --dist worksteal tests/bart
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SELECT) -n 2 --dist loadfile --ignore tests/bart

chaos: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[demo,torchvision,dev]"
	touch $@

clean:
	rm -rf .venv demo stores build *.egg-info .pytest_cache .mypy_cache .ruff_cache
