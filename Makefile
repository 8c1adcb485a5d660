# The two commands of the README, and what a contributor needs besides.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Random hand-ins that `make fuzz` tries on each reader.
EXAMPLES ?= 2000

# Of the generated course that `make bench` grades, straight through and killed on the way.
HAND_INS ?= 300
KILLS ?= 10
# Of all exercises together that it times.
MIX ?= 80

TESTS := $(BIN)/python -m pytest -m "not campaign" --numprocesses=auto --maxprocesses=4 --dist=loadfile

.PHONY: demo test quick campaign fuzz bench bench-peers lint release wheel clean

# A CPU build of torch has a "+cpu" version; where the package index has none, the constraint takes its plain build.
$(BIN)/grade: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(BIN)/grade
	$(BIN)/grade ex3 reference_solutions/ex3.ipynb --verbose

test: $(BIN)/grade
	$(TESTS) tests --no-loadscope-reorder

# What needs no kernel and no model.
QUICK := $(addprefix tests/,harness/data/test_cells.py harness/data/test_saving.py harness/gradebooks harness/report \
	harness/course/test_answers.py harness/course/test_discovery.py harness/course/test_likeness.py \
	harness/course/test_marking.py harness/course/test_provenance.py harness/course/test_roster.py \
	harness/run/test_evidence.py harness/run/test_notebook.py harness/test_checking.py harness/test_exhibits.py \
	harness/test_measured.py \
	harness/test_release.py harness/test_result.py harness/test_second_run.py lora/figures lora/measures/test_blocks.py \
	lora/measures/test_combined_weight.py lora/measures/test_composition_mistakes.py lora/measures/test_layer_names.py \
	lora/measures/test_layers.py lora/measures/test_losses.py lora/measures/test_pictures.py lora/measures/test_tables.py)

quick: $(BIN)/grade
	$(TESTS) $(QUICK)

campaign: $(BIN)/grade
	$(BIN)/python -m pytest -p tests.campaign tests -m campaign
	$(BIN)/grade zoo --output .grade/zoo
	$(BIN)/grade fixtures verify

fuzz: $(BIN)/grade
	HYPOTHESIS_PROFILE=campaign FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -p tests.campaign tests/fuzz

bench: $(BIN)/grade
	$(BIN)/python -m tests.harness.course.benchmark --mix $(MIX) --hand-ins $(HAND_INS) --kills $(KILLS)

bench-peers: $(BIN)/grade
	$(BIN)/python -m tests.harness.course.peers

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
