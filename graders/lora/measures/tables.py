"""Tables of numbers as a student writes them down."""

from __future__ import annotations

import math
from typing import Any

from graders.harness.rubric import fail

ABSOLUTE = {"lora_parameters": 0.0, "final_loss": 1e-6, "style_similarity": 0.02}
"""A count must be exact. A cosine similarity computed on another device, or from pictures before they were rounded to
8 bits, differs by less than 0.005; the pictures of base and adapter differ by several times 0.02."""
DIGITS = {"final_loss": (2, 3, 4)}
"""A mean may be rounded to so many decimals."""


def number(cell: Any) -> float | None:
    """The number in a cell, also from a tensor with one element; None if it is none."""
    while isinstance(cell, (list, tuple)) and len(cell) == 1:
        cell = cell[0]
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return None
    try:
        return float(cell)
    except OverflowError:
        return None


def rows_by_rank(table: Any) -> dict[Any, dict[str, Any]]:
    """Rows of a list of mappings, by their `rank`."""
    if isinstance(table, dict):  # {"rank": [4, 16], ...} or {4: {...}, 16: {...}}
        if all(isinstance(row, dict) for row in table.values()):
            table = [{"rank": rank, **row} for rank, row in table.items()]
        elif all(isinstance(column, (list, tuple)) for column in table.values()):
            table = [dict(zip(table, row, strict=False)) for row in zip(*table.values(), strict=False)]
    if not isinstance(table, (list, tuple)) or not all(isinstance(row, dict) and "rank" in row for row in table):
        fail(
            "`rank_table` is not a table with a `rank` in every row.",
            expected="a list of dictionaries, or a DataFrame, with one row per rank",
            hint="Append a dictionary with rank, lora_parameters, final_loss and style_similarity for each rank.",
        )
    return {rank: row for row in table if (rank := number(row["rank"])) is not None}


def close(told: Any, measured: float, column: str) -> bool:
    """Whether a cell says what was measured, within the tolerance of its column."""
    value = number(told)
    if value is None:
        return False
    if math.isnan(measured):
        return math.isnan(value)
    rounded = [round(measured, digits) for digits in DIGITS.get(column, ())] if math.isfinite(measured) else []
    return any(math.isclose(value, m, rel_tol=1e-9, abs_tol=1e-9) for m in rounded) or math.isclose(
        value, measured, rel_tol=1e-5 if column == "final_loss" else 0.0, abs_tol=ABSOLUTE[column]
    )
