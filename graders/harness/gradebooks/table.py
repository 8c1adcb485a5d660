"""A table of our own: the whole gradebook for a spreadsheet, or for a program, with a row for each student."""

from __future__ import annotations

from graders.harness.data.cells import BOM, csv_file, defused, number
from graders.harness.marks import Grade, Gradebook
from graders.harness.report import wording

COLUMNS = ("score", "of", "status", "late", "written", "undecided")
"""What there is for each exercise, as `ex3_score`: points of how many, what became of it, "yes" if it was late, the points
among them that a person gave for written answers, empty before that, and the points that are undecided, if any are."""


def export(gradebook: Gradebook) -> bytes:
    """The table, in UTF-8 that Excel takes for it. No cell is a formula, and names are on one line.

    Its columns are `id`, `name`, `login`, those of :data:`COLUMNS` for each exercise, `total` and `of`. A score is
    empty where there is none, which is not 0, and where points are undecided; `of` are the points to be had in all exercises
    that count for the student.
    """
    header = ["id", "name", "login", *(f"{name}_{column}" for name in gradebook.exercises for column in COLUMNS)]
    rows = [[*header, "total", "of"]]
    for record in gradebook.records:
        student = record.student
        grades = [cell for name in gradebook.exercises for cell in _cells(record.grades[name])]
        row = [student.id, wording.name(student), student.login, *grades, _points(record.booked), number(record.of)]
        rows.append([defused(wording.visible(cell, keep=wording.JOINERS)) for cell in row])
    return csv_file(rows, start=BOM)


def _cells(grade: Grade) -> list[str]:
    late = "yes" if grade.late else ""
    return [
        _points(grade.booked), number(grade.of), grade.status.value, late, _points(grade.written),
        _points(grade.undecided or None),
    ]  # fmt: skip


def _points(points: float | None) -> str:
    return "" if points is None else number(points)
