"""Numbers that a check measures for a figure: small tables, which travel in the result beside what the check says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, TypeAlias

Number: TypeAlias = float | None
"""None stands for what is not there, and for NaN and infinity, which JSON cannot hold."""
Table: TypeAlias = Mapping[str, list[Number]]
"""Columns of numbers by name."""

MAX_TABLES, MAX_COLUMNS, MAX_ROWS = 8, 12, 512
MAX_NAME = 40
MAX_COUNT = 1_000_000
DIGITS = 4
"""More than a figure can show; results are kept for every hand-in of a course."""


def table(columns: Mapping[str, Iterable[Any]]) -> Table:
    """The columns as numbers that any JSON can hold, of which there are not too many."""
    shown = list(columns.items())[:MAX_COLUMNS]
    return {name[:MAX_NAME]: [_number(value) for value in islice(column, MAX_ROWS)] for name, column in shown}


def tables(stored: Any) -> dict[str, Table]:
    """The tables in a stored result; what is none is left out, so that no stored result is too odd to be shown."""
    if not isinstance(stored, Mapping):
        return {}
    sound = {
        str(part)[:MAX_NAME]: {str(name): column for name, column in columns.items() if isinstance(column, list)}
        for part, columns in list(stored.items())[:MAX_TABLES]
        if isinstance(columns, Mapping)
    }
    return {part: table(columns) for part, columns in sound.items() if columns}


def count(number: Number) -> int:
    """A number of a table as one of things, 0 where it cannot be one."""
    return int(number) if number is not None and 0 <= number <= MAX_COUNT else 0


def _number(value: Any) -> Number:
    if type(value) is int and abs(value) < 10**15:
        return value
    try:
        real = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return float(f"{real:.{DIGITS}g}") if math.isfinite(real) else None
