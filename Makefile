# Two commands: `make demo` and `make test`. Each makes .venv, installs, and runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := demo
# one thread for each worker of the tests: two workers on two cores are faster than shared threads
TEST_ENV := OMP_NUM_THREADS=1 MPLBACKEND=agg

.PHONY: demo test lint unit reference quick slow campaign fuzz gpu bench clean

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "opdsl needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.12 ..." % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/opdsl data generate darcy --resolution 33 --samples 1000 --seed 0 --out $(DEMO)/train.h5
	$(BIN)/opdsl data generate darcy --resolution 129 --samples 100 --seed 1 --out $(DEMO)/test.h5
	rm -rf $(DEMO)/run
	$(BIN)/opdsl train specs/darcy.op --out $(DEMO)/run
	$(BIN)/opdsl evaluate $(DEMO)/run --resolutions 33,65,129
	@echo "report page: $(DEMO)/run/report.html"

test: lint unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(READY)
	$(TEST_ENV) $(BIN)/python -m pytest -n 2

# the generated pages, docs/reference; a test fails while they are out of date
reference: $(READY)
	$(BIN)/python tools/reference.py

# the front end, for use while working; `make test` is what has to pass
QUICK := syntax elaborate checks diagnostics ir render
quick: $(READY)
	$(BIN)/ruff check .
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 $(QUICK:%=tests/unit/%) tests/golden tests/language

# campaigns of minutes
slow: $(READY)
	$(TEST_ENV) $(BIN)/python -m pytest -m slow

# a million damaged texts through the parser, with figures; `SEED` and `COUNT` choose a part
SEED := 0
COUNT := 1000000
campaign: $(READY)
	$(BIN)/python -m tests.property.campaign --seed $(SEED) --count $(COUNT)

# damaged files through every reader: FILES=5000 takes about 15 minutes on two cores
FILES ?= 5000
fuzz: $(READY)
	$(TEST_ENV) $(BIN)/python -m tests.property.fuzz_readers --seed $(SEED) --count $(FILES)

# needs an accelerator
gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

# ratios against what a user would pick instead; see benchmarks/README.md
bench: $(READY)
	$(BIN)/python benchmarks/darcy_accuracy.py
	$(BIN)/python benchmarks/kernel_rates.py

clean:
	rm -rf $(VENV) $(DEMO) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
