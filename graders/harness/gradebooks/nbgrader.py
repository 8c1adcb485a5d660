"""nbgrader: a CSV file like that of `nbgrader export`, for whatever reads those.

Its columns are in https://github.com/jupyter/nbgrader, nbgrader/plugins/export.py.
"""

from __future__ import annotations

from datetime import UTC

from graders.harness.data.cells import csv_file, defused
from graders.harness.marks import Grade, Gradebook, Student

COLUMNS = (
    "assignment",
    "duedate",
    "timestamp",
    "student_id",
    "last_name",
    "first_name",
    "email",
    "raw_score",
    "late_submission_penalty",
    "score",
    "max_score",
)


def export(gradebook: Gradebook) -> bytes:
    """A row for each exercise and student, in this order, as nbgrader has it; times are in UTC, and due dates empty.

    nbgrader has no word for an exercise that does not count, could not be graded or has undecided points: there the three
    scores are empty, for 0 would be a grade. Nothing handed in is 0, as with nbgrader.
    """
    rows = [
        [name, "", _time(grade), record.student.id, *_names(record.student), record.student.email, *_scores(grade)]
        for name in gradebook.exercises
        for record in gradebook.records
        for grade in [record.grades[name]]
    ]
    return csv_file([COLUMNS, *([defused(cell) for cell in row] for row in rows)])


def _time(grade: Grade) -> str:
    return str(grade.submitted.astimezone(UTC).replace(tzinfo=None)) if grade.submitted else ""


def _names(student: Student) -> tuple[str, str]:
    """Last and first name, where they are told apart; else all of it as the last name, for a guess may be wrong."""
    last, _, first = student.name.partition(",")
    return last.strip(), first.strip()


def _scores(grade: Grade) -> list[str]:
    if grade.booked is None:
        scores = ["", "", ""]
    else:
        scores = [str(float(points)) for points in (grade.earned or 0.0, grade.penalty, grade.booked)]
    return [*scores, str(float(grade.of))]
