"""Tables as students write them down."""

import json
import math
import sys
from collections import namedtuple
from dataclasses import make_dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from graders.harness.data import values
from graders.harness.rubric import CheckFailed
from graders.harness.run.kernel.encoding import Encoder
from graders.lora.measures import losses
from graders.lora.measures.lora_counts import by_rank, number_at
from graders.lora.measures.tables import close, number, rows_by_rank

ROW = {"lora_parameters": 21760, "final_loss": 0.1}
LARGE = {"lora_parameters": 87040, "final_loss": 0.2}
ROWS = [{"rank": 4, **ROW}, {"rank": 16, **LARGE}]
FRAME = pd.DataFrame(ROWS)
Tuple = namedtuple("Tuple", ["rank", *ROW])
DataClass = make_dataclass("DataClass", ["rank", *ROW])


def as_read(value: Any) -> Any:
    """What the graders read of a variable that the collector has written down."""
    return values.decode(values.parse(json.dumps(Encoder().encode(value), allow_nan=False).encode()))


LAYOUTS = {
    "DataFrame": FRAME,
    "indexed by rank": FRAME.set_index("rank"),
    "indexed by rank, which stays": FRAME.set_index("rank", drop=False),
    "transposed": FRAME.T,
    "indexed and transposed": FRAME.set_index("rank").T,
    "from_dict": pd.DataFrame.from_dict({4: ROW, 16: LARGE}, orient="index"),
    "a column for each rank": pd.DataFrame({4: ROW, 16: LARGE}),
    "series": [pd.Series(row) for row in ROWS],
    "iterrows": [row for _, row in FRAME.iterrows()],
    "series by rank": {4: pd.Series(ROW), 16: pd.Series(LARGE)},
    "a series of mappings": pd.Series({4: ROW, 16: LARGE}),
    "a series for each column": {name: FRAME.set_index("rank")[name] for name in ROW},
    "named tuples": [Tuple(**row) for row in ROWS],
    "itertuples": list(FRAME.itertuples()),
    "data classes": [DataClass(**row) for row in ROWS],
    "namespaces": [SimpleNamespace(**row) for row in ROWS],
    "to_dict": FRAME.to_dict(),
    "to_dict of columns": FRAME.to_dict("list"),
    "to_records": FRAME.to_records(index=False),
    "Arrow": pa.Table.from_pylist(ROWS),
}


@pytest.mark.parametrize("table", LAYOUTS.values(), ids=LAYOUTS)
def test_any_library(table: object) -> None:
    """A table of any library, with its ranks wherever they stand, is read as the rows that it means."""
    rows = rows_by_rank(as_read(table))
    for rank, row in ((4, ROW), (16, LARGE)):
        assert {name: number(rows[rank][name]) for name in row} == row


def test_polars(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame and a series of polars, which stands in here for itself, are read by the names that it documents."""
    frame = type("DataFrame", (), {"columns": ["rank", *ROW], "rows": lambda _: [tuple(row.values()) for row in ROWS],
                                   "shape": (2, 3)})  # fmt: skip
    series = type("Series", (), {"to_list": lambda _: [7, 28], "shape": (2,)})
    for kind in (frame, series):
        kind.__module__ = "polars.core"
    monkeypatch.setitem(sys.modules, "polars", SimpleNamespace(DataFrame=frame, Series=series))
    rows = rows_by_rank(as_read(frame()))
    assert rows[16]["lora_parameters"] == LARGE["lora_parameters"]
    assert as_read(series()) == [7, 28]
    assert values.type_name(as_read(series())) == "polars.Series"


CURVES = {4: [0.1, 0.2, 0.3], 16: [0.4, 0.5, 0.6]}
TIDY = pd.DataFrame([{"rank": rank, "step": i, "loss": c} for rank, cs in CURVES.items() for i, c in enumerate(cs)])


@pytest.mark.parametrize(
    "recorded",
    [
        pd.DataFrame(CURVES),
        pd.DataFrame(CURVES, index=[1, 2, 3]),
        pd.DataFrame(CURVES).rename_axis("step"),
        pd.DataFrame(CURVES).T,
        pd.Series(CURVES),
        TIDY,
        {rank: pd.Series(curve) for rank, curve in CURVES.items()},
        {rank: np.array(curve, dtype=np.longdouble) for rank, curve in CURVES.items()},
        {rank: torch.tensor(curve) for rank, curve in CURVES.items()},
    ],
    ids=[
        "columns",
        "from 1",
        "a named index",
        "rows",
        "a series",
        "a row for each loss",
        "series",
        "arrays",
        "tensors",
    ],
)
def test_curves_of_any_library(recorded: object) -> None:
    """Losses are read from a table with a column or a row for each rank, as from lists."""
    curves = losses.by_rank(as_read(recorded))
    for rank, curve in CURVES.items():
        assert losses.curve(curves, rank) == pytest.approx(curve)


@pytest.mark.parametrize(
    "counts",
    [
        pd.Series({4: 7, 16: 28}),
        pd.DataFrame([{4: 7, 16: 28}]),
        pd.DataFrame({"parameters": [7, 28]}, index=[4, 16]),
        pd.DataFrame({"rank": [4, 16], "parameters": [7, 28]}),
        pd.DataFrame({"rank": [4, 16], "parameters": [7, 28]}).set_index("rank").parameters,
    ],
)
def test_counts_of_any_library(counts: object) -> None:
    """A series or a table with one number for each rank is the mapping that it means."""
    told = by_rank(as_read(counts), "lora_param_counts")
    assert [number_at(told, rank, "lora_param_counts") for rank in (4, 16)] == [7, 28]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (pd.Series([7, 28]), "pandas.Series"),
        (np.array([7, 28]), "numpy.ndarray"),
        (torch.tensor([7, 28]), "torch.Tensor"),
        ([7, 28], "list"),
        ([1j], "list"),
    ],
)
def test_the_type_that_it_was_is_named(value: object, kind: str) -> None:
    """What has no ranks is named by the type that it had in the notebook, and never called a list if it was none."""
    for read in (losses.by_rank, rows_by_rank, lambda value: by_rank(value, "lora_param_counts")):
        with pytest.raises(CheckFailed, match=f"`{kind}`"):
            read(as_read(value))


@pytest.mark.parametrize(
    "table",
    [
        [{"rank": 4, **ROW}],
        ({"rank": 4.0, **ROW},),
        [{"rank": [4], **ROW}],
        {4: ROW},
        {"rank": [4], "lora_parameters": [21760], "final_loss": [0.1]},
    ],
    ids=["list", "tuple", "tensor with one element", "by rank", "by column"],
)
def test_any_layout(table: object) -> None:
    """A table is read however its rows and columns are nested."""
    assert rows_by_rank(table)[4]["lora_parameters"] == 21760


@pytest.mark.parametrize("table", [None, 3, "rank", [1], [{"rang": 4}]])
def test_no_table(table: object) -> None:
    """What is no table is failed in words."""
    with pytest.raises(CheckFailed, match="rank_table"):
        rows_by_rank(table)


@pytest.mark.parametrize(
    ("told", "measured", "column", "agrees"),
    [
        (21760, 21760, "lora_parameters", True),
        ([21760], 21760, "lora_parameters", True),
        (21761, 21760, "lora_parameters", False),
        ("21760", 21760, "lora_parameters", False),
        (True, 1, "lora_parameters", False),
        (10**400, 21760, "lora_parameters", False),
        (0.13, 0.1347, "final_loss", True),
        (0.1347, 0.13471234, "final_loss", True),
        (0.14, 0.1347, "final_loss", False),
        (0.1, 0.1347, "final_loss", False),
        (math.nan, math.nan, "final_loss", True),
        (math.nan, 0.1, "final_loss", False),
        (0.36, 0.355, "style_similarity", True),
        (0.2, 0.355, "style_similarity", False),
        (math.nan, 0.355, "style_similarity", False),
        (None, 0.355, "style_similarity", False),
    ],
)
def test_values_strictly(told: object, measured: float, column: str, agrees: bool) -> None:
    """Counts must be exact, means may be rounded, and NaN agrees with nothing but NaN."""
    assert close(told, measured, column) is agrees
