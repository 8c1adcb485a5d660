"""Tables as students write them down."""

import math

import pytest

from graders.harness.rubric import CheckFailed
from graders.lora.measures.tables import close, rows_by_rank

ROW = {"lora_parameters": 21760, "final_loss": 0.1}


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
