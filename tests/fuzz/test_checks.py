"""Checks of readable hand-ins that hold anything: what no check has thought of must not end as a fault of the grader."""

import inspect
import math
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from graders import ex1, ex4
from graders.harness.data.values import Malformed, decode
from graders.harness.ending import RunError, RunReport
from graders.harness.errors import HandInError
from graders.harness.hand_in import HandIn
from graders.harness.result import CheckResult, Outcome
from graders.harness.rubric import CheckFailed, LeftToPerson, NotReached, Verdict
from graders.harness.run.evidence import Evidence
from graders.harness.run.records import TYPES, Missing
from graders.harness.run.states import TensorFacts
from graders.lora import catalog
from graders.lora.measures import losses
from graders.lora.measures.adapters import Adapter, LoraLayer
from graders.lora.measures.architecture import Architecture
from graders.lora.measures.grid import Cell, Grid
from graders.lora.measures.inspection import Inspection
from graders.lora.measures.tables import close, number, rows_by_rank
from graders.lora.measures.training_history import as_made, strengths
from graders.lora.sightings import SeenAdapter, SeenLayer
from tests.fuzz.strategies import NUMBERS, assert_explained, encoded, scalars, texts

VERDICTS = (CheckFailed, LeftToPerson, NotReached, HandInError)


class Held(Evidence):
    """Evidence that has been read already."""

    def __init__(
        self, values: Mapping[str, Any], run: RunReport | None = None, configs: list[Any] | None = None
    ) -> None:
        self.held = values
        self.__dict__["run"] = run or RunReport("completed", None, None, 1.0, 1, "cpu")
        self.__dict__["_sightings"] = {"lora_configs": configs}
        self.__dict__["written_answers"] = []

    def value(self, name: str) -> Any:
        if name not in self.held:
            raise Missing(name)
        return self.held[name]

    tensor = module = optimizer = pictures = value

    def tensor_facts(self, name: str) -> TensorFacts:
        tensor = self.value(name)
        in_graph = tensor.numel() == 1  # as a loss is
        return TensorFacts(str(tensor.dtype).removeprefix("torch."), "cpu", in_graph)


def judge(module: ModuleType, **fixtures: Any) -> None:
    """Run every check of a grader module; whatever ends one that is no verdict is raised."""
    outcomes: dict[str, Verdict] = {}
    for name, check in vars(module).items():
        wanted = inspect.signature(check).parameters if name.startswith("test_") else {"again": None}
        if "again" in wanted:
            continue
        needs = tuple(need for mark in getattr(check, "pytestmark", ()) if mark.name == "needs" for need in mark.args)
        verdict = outcomes[name.removeprefix("test_")] = Verdict(outcomes, needs)
        ended = Outcome.FAILED
        try:
            if all(outcomes[need].any_holds() for need in needs):
                check(**{key: {**fixtures, "verdict": verdict}[key] for key in wanted})
                ended = Outcome.FAILED if any(verdict.parts.values()) else Outcome.PASSED
        except VERDICTS as error:
            assert_said(error)
        verdict.concluded = CheckResult(name, name, ended, 0, 0)
        for error in verdict.parts.values():
            if error is not None:
                if not isinstance(error, VERDICTS):
                    raise error
                assert_said(error)


def assert_said(error: Exception) -> None:
    """What is said is of a length that can be read."""
    said = [error.found, error.expected, error.hint] if isinstance(error, CheckFailed) else [str(error)]
    assert all(len(text) < 2500 for text in said)


@st.composite
def decoded(draw: st.DrawFn) -> Any:
    try:
        return decode(draw(encoded))
    except Malformed:
        return None


MODEL = str(catalog.TINY_SD)
COMPLETED = RunReport("completed", None, None, 1.0, 1, "cpu")
run_reports = st.just(COMPLETED) | st.builds(
    RunReport, st.sampled_from(["cell_error", "out_of_memory"]), st.none() | st.integers(1, 9),
    st.none() | st.builds(RunError, st.just("E"), st.just("no"), st.just("x")), st.just(1.0), st.just(1), st.just("cpu"),
)  # fmt: skip

ARCHITECTURE = Architecture(MODEL)
numbers = st.sampled_from(NUMBERS) | st.integers() | st.floats() | decoded()
by_rank = st.fixed_dictionaries({}, optional={4: numbers, 16: numbers, "4": numbers}) | decoded()


@st.composite
def layer_lists(draw: st.DrawFn) -> Any:
    names = list(ARCHITECTURE.cross_attention)
    others = st.sampled_from(sorted(ARCHITECTURE.modules)) | st.sampled_from(names) | texts | decoded()
    kept = names[draw(st.integers(0, 3)) :: draw(st.integers(1, 3))]
    return draw(st.sampled_from([list, tuple]))([*kept, *draw(st.lists(others, max_size=4))])


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "cross_attention_layers": layer_lists() | decoded(), "lora_param_counts": by_rank, "lora_fraction": by_rank,
            "unet_param_count": numbers,
        },
    ),
    run_reports,
)  # fmt: skip
@example({"cross_attention_layers": [None]}, COMPLETED)
def test_ex1(held: dict[str, Any], run: RunReport) -> None:
    """Every check of exercise 1 comes to a verdict, whatever the variables hold."""
    hand_in = HandIn(Held(held, run), {"MODEL": MODEL})
    inspection = Inspection(hand_in, ex1.EXERCISE.hand_in)
    inspection.__dict__["architecture"] = ARCHITECTURE
    judge(ex1, hand_in=hand_in, inspection=inspection)


STEPS = 40
curves = st.lists(numbers, max_size=3) | st.sampled_from([[0.5, 0.1] * 20, [1e308] * 40])
losses_told = st.fixed_dictionaries({}, optional={4: curves}) | decoded()


@given(losses_told)
def test_losses(told: Any) -> None:
    """Losses are judged, and their end is a number."""
    try:
        by_rank = losses.by_rank(told)
        assert isinstance(losses.judge(by_rank, 4, STEPS), str)
        assert isinstance(losses.final(by_rank, 4), float)
    except VERDICTS as error:
        assert_said(error)


rows = st.fixed_dictionaries({"rank": numbers}, optional={"final_loss": numbers, "lora_parameters": numbers})
tables = st.lists(rows | decoded(), max_size=3) | st.dictionaries(st.integers() | texts, rows, max_size=2) | decoded()


@given(tables)
def test_tables(table: Any) -> None:
    """A table is rows by rank, whose cells can be compared with what was measured."""
    try:
        found = rows_by_rank(table)
    except VERDICTS as error:
        assert_said(error)
        return
    for rank, row in found.items():
        assert type(rank) is float
        for cell in row.values():
            assert number(cell) is None or type(number(cell)) is float
            for measured in (1.5, float("nan"), float("inf")):
                assert close(cell, measured, "final_loss") in (True, False)


seen_layers = st.builds(
    SeenLayer, st.sampled_from([1, 2]), numbers.filter(lambda n: isinstance(n, float)) | st.just(2.0),
    *(st.sampled_from([(), (1.0,), (0.0, 0.0), (math.nan,), (1e-300, 1e300)]) for _ in range(4)),
)  # fmt: skip
seen_adapters = st.builds(SeenAdapter, st.booleans(), st.dictionaries(st.sampled_from(["a", "b"]), seen_layers))


@given(st.lists(seen_adapters, max_size=3))
def test_strength(seen: list[SeenAdapter]) -> None:
    """The strength that an adapter was trained at is a number that can be shown, or unknown."""
    layer = LoraLayer("a", torch.ones(2, 3), torch.zeros(3, 2), None)
    for one in (strengths(Adapter({"a": layer}, "diffusers"), seen) or {}).values():
        assert f"{one.applied:g}{one.trained:g}{one.folded:g}"
        assert {one.kept, one.twice, one.is_folded} <= {True, False}
    assert as_made(Adapter({"a": layer}, "diffusers"), seen) in (True, False)


CELLS = (Cell((1.0, 0.0)), Cell((0.7, 0.4)))
PICTURE = np.zeros((8, 8, 3), np.uint8)
pictures = st.lists(st.sampled_from([PICTURE, PICTURE[:1], PICTURE[:, :3], PICTURE[:1, :1]]), max_size=3)
keys = st.sampled_from([(1, 0), (0.7, 0.4), (1, 0, 0), 1]) | st.tuples(scalars, scalars)
galleries = st.dictionaries(keys, pictures | st.just({4: [PICTURE]}), max_size=3)


@given(galleries | pictures)
def test_grid(images: Any) -> None:
    """A grid has, for each of its cells, the pictures of all prompts at the size that is generated, or says what is wrong."""
    grid = object.__new__(Grid)
    hand_in = HandIn(Held({"images": images}), {"PROMPTS": ["a", "b"]})
    vars(grid).update(_hand_in=hand_in, cells=CELLS, composition=SimpleNamespace(prompts=("a", "b"), shape=(8, 8, 3)))
    for cell in CELLS:
        try:
            assert [picture.shape for picture in grid.pictures(cell)] == [(8, 8, 3)] * 2
        except HandInError as error:
            assert_explained(error)


LORA = LoraLayer("a", torch.ones(2, 3), torch.ones(4, 2), 4.0)
found_weights = st.builds(
    lambda shape, dtype, value: torch.full(shape, 1.0).mul(value).to(dtype),
    st.sampled_from([(4, 3), (3, 4), (), (0,), (1,) * 64]), st.sampled_from(TYPES),
    st.sampled_from([0.0, 1.0, 1e38, math.nan, math.inf]),
)  # fmt: skip


@given(found_weights)
def test_combined_weight(found: Tensor) -> None:
    """Any tensor is a right weight or a wrong one."""
    layer = torch.ones(4, 3), LORA, LORA
    grid = SimpleNamespace(composition=SimpleNamespace(layer=lambda name: layer), cells=CELLS)
    hand_in = HandIn(Held({"combined_weight": found}), {"LAYER": "a"})
    with pytest.raises(VERDICTS):
        ex4.test_combined_weight(hand_in, grid, Verdict({}))
