"""Mappings and tables of numbers as a student writes them down."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from graders.harness.data import values
from graders.harness.rubric import fail

ABSOLUTE = {"lora_parameters": 0.0, "final_loss": 1e-6, "style_similarity": 0.02}
"""A count must be exact. A cosine similarity computed on another device, or from pictures before they were rounded to
8 bits, differs by less than 0.005; the pictures of base and adapter differ by several times 0.02."""
DIGITS = {"final_loss": (2, 3, 4)}
"""A mean may be rounded to so many decimals."""


def number(cell: Any) -> float | None:
    """The number in a cell, also from a tensor with one element or a row with one cell; None if it is none."""
    while isinstance(cell, (list, tuple, dict)) and len(cell) == 1:
        (cell,) = cell.values() if isinstance(cell, dict) else cell
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return None
    try:
        return float(cell)
    except OverflowError:
        return None


def as_mapping(value: Any) -> dict[Any, Any] | None:
    """A mapping, items with labels or a tuple with names, as a dict; None for what is none of these."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, values.Record):
        return dict(zip(value.names, value, strict=False))
    labels = value.labels if isinstance(value, values.Items) else None
    return None if labels is None else dict(zip(labels, value, strict=True))


def by_rank(value: Any) -> dict[Any, Any] | None:
    """What a value holds for each rank, a row or a column of it if it is a table; None if it has no keys of any kind."""
    if not isinstance(value, values.Table):
        return as_mapping(value)
    columns = list(value[0]) if value else []
    if "rank" in columns:
        ranks: dict[Any, list[Any]] = {}
        for row in value:
            rest = {name: cell for name, cell in row.items() if name != "rank"}
            ranks.setdefault(number(row["rank"]), []).append(rest)
        return {rank: _alone(rows) for rank, rows in ranks.items()}
    if (
        columns == list(range(len(columns)))
        and value.labels
        and all(number(label) is not None for label in value.labels)
    ):
        cells = [values.Items(row.values(), value.type_name) for row in value]
        return dict(zip(value.labels, cells, strict=True))
    if any(number(column) is not None for column in columns) or value.labels is None:
        return {name: values.Items([row[name] for row in value], value.type_name, value.labels) for name in columns}
    return as_mapping(value)


def _alone(rows: list[dict[Any, Any]]) -> Any:
    """The rows of one rank, by what they hold if that is one cell each, and without the list if it is one row."""
    cells = [next(iter(row.values())) if len(row) == 1 else row for row in rows]
    return cells[0] if len(cells) == 1 else cells


def rows_by_rank(table: Any) -> dict[Any, dict[str, Any]]:
    """Rows of a table, by their `rank`: a row, a column or a mapping for each rank, or a column for each figure."""
    rows = _rows(table)
    if rows is None or not all("rank" in row for row in rows):
        fail(
            f"`rank_table` is of type `{values.type_name(table)}`, and no table with a `rank` in every row.",
            expected="a list of dictionaries, or a DataFrame, with one row per rank",
            hint="Append a dictionary with rank, lora_parameters, final_loss and style_similarity for each rank.",
        )
    return {rank: row for row in rows if (rank := number(row["rank"])) is not None}


def _rows(table: Any) -> list[dict[Any, Any]] | None:
    """The rows of a table in any layout, with the rank that each is for wherever that is said; None if it is none."""
    if isinstance(table, values.Table):
        if any("rank" in row for row in table):
            return list(table)
        table = by_rank(table)
    elif isinstance(table, (list, tuple)) and as_mapping(table) is None:
        rows = [as_mapping(row) for row in table]
        return None if None in rows else [row for row in rows if row is not None]
    table = as_mapping(table)
    if not table:
        return None
    rows_or_columns = {name: as_mapping(part) for name, part in table.items()}
    parts = {name: part for name, part in rows_or_columns.items() if part is not None}
    if len(parts) < len(table):  # {"rank": [4, 16], ...}
        if not all(isinstance(column, (list, tuple)) for column in table.values()):
            return None
        return [dict(zip(table, row, strict=False)) for row in zip(*table.values(), strict=False)]
    if any("rank" in part for part in parts.values()) or all(number(name) is not None for name in parts):
        return [{"rank": rank, **row} for rank, row in parts.items()]
    # {"lora_parameters": {4: ..., 16: ...}, ...}
    ranks = list(dict.fromkeys(rank for part in parts.values() for rank in part))
    return [{"rank": rank} | {name: part[rank] for name, part in parts.items() if rank in part} for rank in ranks]


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
