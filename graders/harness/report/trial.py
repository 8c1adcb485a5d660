"""The table of a lesson on trial: what was tried, what came of it, and whether that is right."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from graders.harness.trial import Row

_MARKS = {True: Text("✓", "green"), False: Text("✗", "red"), None: Text("–")}


def render(rows: Sequence[Row], console: Console) -> int:
    """Print the table; 1 if anything is wrong."""
    table = Table("", "exercise", Column("what", ratio=1), Column("found", ratio=2), box=None)
    for row in sorted(rows, key=lambda row: row.exercise):
        table.add_row(_MARKS[row.right], row.exercise, Text(row.what), Text(row.found))
    console.print(table)
    wrong = sum(row.right is False for row in rows)
    console.print(f"{len(rows)} tried, {wrong or 'nothing'} wrong")
    return 1 if wrong else 0
