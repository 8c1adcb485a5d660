"""Canvas: scores go into the gradebook that the instructor exported, which Canvas then imports.

What Canvas makes of the file is in https://github.com/instructure/canvas-lms, lib/gradebook_importer.rb.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from graders.harness.data.cells import number
from graders.harness.gradebooks.merging import Merged, fitting, listed, pair, positive, renamed, scores, unplaced
from graders.harness.gradebooks.sheet import Sheet, SheetError, read, unquoted
from graders.harness.marks import Gradebook, Status, Student

TOTAL = "total"
"""Stands for the sum of all exercises where columns are named."""
EXCUSED, UNASSIGNED = "EX", "N/A"
"""What Canvas writes, and reads, for a student for whom an assignment does not count, or to whom it was not given."""
_ASSIGNMENT = re.compile(r"(?s)(?P<title>.*)\s\(\d+\)")
_TOTALS = re.compile(r"(Current|Final) (Score|Points|Grade)|Override (Score|Grade|Status)")
"""Canvas computes them, and takes no column for an assignment's whose header says one of these."""
_WHO = (
    "Student", "LastName", "FirstName", "ID", "SIS User ID", "SIS Login ID", "Integration ID", "Root Account", "Notes",
)  # fmt: skip
"""The columns before that of the section."""
_NAME_IT = "Say for each exercise the title of its column; make the assignment in Canvas first if there is none."


def merge(path: Path, gradebook: Gradebook, columns: Mapping[str, str] | None = None, *, scale: bool = False) -> Merged:
    """The export ``path`` with our scores, of the columns that say who the students are and those that get scores.

    ``columns`` says for each exercise, or :data:`TOTAL`, to which column it goes, by its header with or without the number
    at its end. Without it, each exercise goes to the only column whose title has it as a word, as "ex3" or "Exercise 3".
    With ``scale`` points are converted where a column is worth others than the exercise; a total is worth less to
    somebody for whom an exercise does not count.

    An exempt student's cell says EX. A cell stays as it was exported where there is no score and where nothing was
    handed in (see :func:`scores`), and where Canvas has EX or N/A. What stays is imported as well: so export shortly before.

    Raises :class:`SheetError` for a file that is no such export, for a column that is not there (Canvas would make a new
    assignment of it) or cannot be found, and for points that do not fit a column.
    """
    sheet = read(path)
    header = sheet.header
    known = _identifying(sheet)
    targets = _targets(sheet, len(known), gradebook, columns)
    worth = _worth(sheet, targets)
    lines = [i for i in range(1, len(sheet.rows)) if _is_student(sheet.values(i))]
    rows = [_student(dict(zip(known, sheet.whole(i), strict=False))) for i in lines]
    students = [record.student for record in gradebook.records]
    pairs = pair(rows, students)
    kept, provisional, undecided = [], [], []
    mark = "," if sheet.delimiter == ";" else "."  # as Canvas writes numbers there; it reads both
    for row, index in pairs.items():
        record, cells = gradebook.records[index], sheet.rows[lines[row]]
        for name, column in targets.items():
            grades = list(record.grades.values()) if name == TOTAL else [record.grades[name]]
            points = scores(grades)
            if unquoted(cells[column]).strip().upper() in (EXCUSED, UNASSIGNED):
                kept += [(record.student, name)] if points else []
            elif points:
                whose = f" for {record.student.shown}" if name == TOTAL else ""
                score = fitting(*points, worth[name], f"{header[column]!r} is for {name}, which", whose, scale)
                cells[column] = number(score, mark)
                provisional += [] if all(grade.final for grade in grades) else [(record.student, name)]
            elif all(grade.status is Status.EXEMPT for grade in grades):
                cells[column] = EXCUSED
            elif any(grade.undecided for grade in grades):
                undecided.append((record.student, name))
    return Merged(
        sheet.content([*range(len(known)), *sorted(targets.values())]),
        {name: header[column] for name, column in targets.items()},
        unplaced(students, pairs),
        tuple(row.shown for i, row in enumerate(rows) if i not in pairs and row.name != "Student, Test"),
        tuple(kept),
        tuple(provisional),
        tuple(undecided),
        renamed(rows, students, pairs),
    )


def _identifying(sheet: Sheet) -> list[str]:
    """The headers of the columns that say who a student is: all up to the section or, without one, those that Canvas has."""
    header = sheet.header
    named = header[:2] == ["Student", "ID"] or header[:3] == ["LastName", "FirstName", "ID"]
    if named and "Section" not in header:
        return [*takewhile(lambda name: name in _WHO, header)]
    if not named:
        raise SheetError(
            f"{sheet.name} is no gradebook of Canvas: its header begins with {listed(header[:4])}.",
            "In Canvas, open Grades and choose Export; give the file as it came.",
        )
    return header[: header.index("Section") + 1]


def _targets(sheet: Sheet, first: int, gradebook: Gradebook, columns: Mapping[str, str] | None) -> dict[str, int]:
    """To which column each exercise goes."""
    header, titles = sheet.header, _titles(sheet.header, first)
    there = f"{sheet.name} has these assignments: {listed(header[i] for i in titles)}."
    targets = {}
    for name, wanted in (columns or dict.fromkeys(gradebook.exercises, "")).items():
        if name != TOTAL and name not in gradebook.exercises:
            raise SheetError(
                f"There is no exercise {name!r} in the gradebook.", f"It has {listed([*gradebook.exercises, TOTAL])}."
            )
        found = [i for i in titles if (wanted in (header[i], titles[i]) if wanted else _means(titles[i], name))]
        if len(found) != 1:
            what = f"column {wanted!r}" if wanted else f"column whose title has {name} as a word"
            raise SheetError(f"There is {'more than one' if found else 'no'} {what}. {there}", _NAME_IT)
        targets[name] = found[0]
    if len(set(targets.values())) < len(targets):
        raise SheetError(f"Two exercises go to the same column. {there}", _NAME_IT)
    return targets


def _titles(header: Sequence[str], first: int) -> dict[int, str]:
    """The columns from ``first`` on that Canvas imports, with their titles."""
    matches = {i: _ASSIGNMENT.fullmatch(header[i]) for i in range(first, len(header))}
    return {i: match["title"] for i, match in matches.items() if match and not _TOTALS.search(header[i])}


def _means(title: str, exercise: str) -> bool:
    """Whether a title has the exercise as a word."""
    digits = re.escape(exercise.removeprefix("ex"))
    return re.search(rf"(?i)(?<![^\W_])ex(?:ercise)?[\s_-]*0*{digits}(?![^\W_]|\.\d)", title) is not None


def _worth(sheet: Sheet, targets: Mapping[str, int]) -> dict[str, float]:
    """The points of each column."""
    row = next((i for i in range(1, len(sheet.rows)) if "Points Possible" in sheet.values(i)[0]), None)
    if row is None:
        raise SheetError(
            f"{sheet.name} does not say how many points there are.", "Give the export as it came, with all its rows."
        )
    worth = {}
    for name, column in targets.items():
        said = sheet.whole(row)[column]
        points = positive(said)
        if points is None:
            raise SheetError(
                f"{sheet.header[column]} is worth {said!r} in Canvas.", "Give the assignment points, and export again."
            )
        worth[name] = points
    return worth


def _is_student(values: Sequence[str]) -> bool:
    posting = all(re.fullmatch(r"(?is)\s*(Muted|Manual Posting.*)?\s*", value) for value in values)
    return not posting and "Points Possible" not in values[0]


def _student(said: Mapping[str, str]) -> Student:
    name = said["Student"] if "Student" in said else f"{said['LastName']}, {said['FirstName']}"
    return Student(said["ID"], name, said.get("SIS Login ID", ""), said.get("SIS User ID", ""))
