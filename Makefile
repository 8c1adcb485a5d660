# The two commands of the README, and what a contributor needs besides.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Random hand-ins that `make fuzz` tries on each reader.
EXAMPLES ?= 2000

# Of the generated course that `make bench` grades, straight through and killed on the way.
HAND_INS ?= 300
KILLS ?= 10

.PHONY: demo test campaign fuzz bench lint release wheel clean

# A CPU build of torch has a "+cpu" version; where the package index has none, the constraint takes its plain build.
$(BIN)/grade: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(BIN)/grade
	$(BIN)/grade ex3 reference_solutions/ex3.ipynb --verbose

test: $(BIN)/grade
	$(BIN)/python -m pytest tests -m "not campaign" --numprocesses=auto --maxprocesses=4 --dist=loadfile

campaign: $(BIN)/grade
	$(BIN)/python -m pytest tests -m campaign
	$(BIN)/grade zoo --output .grade/zoo
	$(BIN)/grade fixtures verify

fuzz: $(BIN)/grade
	HYPOTHESIS_PROFILE=campaign FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/fuzz

bench: $(BIN)/grade
	$(BIN)/python -m tests.harness.course.benchmark --hand-ins $(HAND_INS) --kills $(KILLS)

lint: $(BIN)/grade
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

release: $(BIN)/grade
	$(BIN)/grade release

wheel: $(BIN)/grade
	$(BIN)/python -m build --wheel
	$(BIN)/python -m build --wheel --outdir dist fixtures

clean:
	rm -rf $(VENV) .grade dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
