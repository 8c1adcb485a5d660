"""Brightspace (D2L): a CSV file that its gradebook imports.

Its format is told in https://community.d2l.com/brightspace/kb/articles/3538-importing-grades.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graders.harness.data.cells import csv_file, number
from graders.harness.gradebooks.merging import scores
from graders.harness.marks import Gradebook, Student


@dataclass(frozen=True)
class Export:
    """A file to import, and the students who are not in it because Brightspace would not know them."""

    content: bytes
    unplaced: tuple[Student, ...] = ()


def export(gradebook: Gradebook, items: Mapping[str, str] | None = None) -> Export:
    """Scores for the grade items named in ``items``, by exercise; without it, each item is called as its exercise: "ex3".

    A student is known by the institution's number or by the login; who has neither is left out. Both are written with a #
    before them, as Brightspace does it, so that no spreadsheet takes them for a number or a formula. A cell is empty where
    there is no score, where the exercise does not count, and where nothing was handed in (see :func:`scores`).

    Points are written as they are, for Brightspace knows what an item is worth and we do not: make the item's maximum that
    of the exercise. Of an item that is not there Brightspace offers to make a new one.
    """
    items = items or {name: name for name in gradebook.exercises}
    rows = [["OrgDefinedId", "Username", *(f"{item} Points Grade" for item in items.values()), "End-of-Line Indicator"]]
    unplaced = []
    for record in gradebook.records:
        known = [record.student.sis_id, record.student.login]
        if not any(known):
            unplaced.append(record.student)
            continue
        points = [scores([record.grades[name]]) for name in items]
        rows.append([*map(_marked, known), *(number(p[0]) if p else "" for p in points), "#"])
    empty = {column for column in (0, 1) if not any(row[column] for row in rows[1:])}
    kept = ([cell for column, cell in enumerate(row) if column not in empty] for row in rows)
    return Export(csv_file(kept), tuple(unplaced))


def _marked(known: str) -> str:
    return f"#{known.removeprefix('#')}" if known else ""
