"""Tables of numbers as a student writes them down."""

from __future__ import annotations

import math
from typing import Any

from graders.engine import fail

RELATIVE = {"lora_parameters": 0.0, "final_loss": 0.01}
"""Counts must be exact; means may be rounded to two digits and more."""
ABSOLUTE = {"style_similarity": 0.02}
"""A cosine similarity computed on another device, or from pictures before they were rounded to 8 bits, differs by
less than 0.005; mixing up two ranks' pictures differs by more only where it matters."""


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
    return {row["rank"]: row for row in table}


def close(told: Any, measured: float, column: str) -> bool:
    """Whether a number in the table is the one that was measured, within the tolerance of its column."""
    if isinstance(told, bool) or not isinstance(told, (int, float)):
        return False
    return math.isclose(told, measured, rel_tol=RELATIVE.get(column, 0.0), abs_tol=ABSOLUTE.get(column, 0.0))
