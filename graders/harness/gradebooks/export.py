"""Files for course systems, made of a gradebook: those that stand for themselves, and those that the instructor's own
file is needed for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from graders.harness.data.saving import make_folder, put
from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError
from graders.harness.gradebooks import brightspace, canvas, gradescope, junit, moodle, nbgrader, table
from graders.harness.gradebooks.merging import Merged
from graders.harness.gradebooks.sheet import read
from graders.harness.marks import Gradebook, Record, Status, Student, folder_name

FOLDER = "gradebooks"
OURS = ("gradebook.csv", "nbgrader.csv", "junit.xml", "brightspace.csv", "moodle-feedback.zip", "gradescope")
"""The names in it that no copy of an instructor's file may have."""


class ExportError(ExplainedError):
    """A file that no scores can go into."""


@dataclass(frozen=True)
class Wanted:
    """The instructor's own files: exports of Canvas's gradebook, and Moodle's grading worksheets, each with the exercise
    that it is for ("" for all, or for the only one).

    ``columns`` maps an exercise, or "total", to the title of its column. With ``scale`` points are converted where a column
    is worth others.
    """

    files: tuple[tuple[str, Path], ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    scale: bool = False


def export(gradebook: Gradebook, pages: Mapping[str, str], layout: str, wanted: Wanted, to: Path) -> list[str]:
    """Write all files to ``to / FOLDER``; what the instructor should know of them, a line each.

    ``pages`` are the students' feedback by their ids. Raises :class:`ExplainedError` for an instructor's file that no scores
    can go into; by then all others are written.
    """
    folder = to / FOLDER
    make_folder(folder)
    put(table.export(gradebook), folder / "gradebook.csv")
    put(nbgrader.export(gradebook), folder / "nbgrader.csv")
    put(junit.export(gradebook, datetime.now(UTC)), folder / "junit.xml")
    items = brightspace.export(gradebook)
    notes = []
    if len(items.unplaced) < len(gradebook.records):
        put(items.content, folder / "brightspace.csv")
        notes += _left_out("brightspace.csv", items.unplaced) if "Brightspace" in layout else []
    for record in gradebook.records:
        for name, document in _gradescope(record):
            place = folder / "gradescope" / name
            make_folder(folder / "gradescope")
            make_folder(place)
            put(gradescope.to_json(document), place / f"{folder_name(record.student.id)}.json")
    if "Moodle" in layout:
        handed_in = [r for r in gradebook.records if any(g.attempts and g.file for g in r.grades.values())]
        folders = {record.student.id: moodle.folder(record.in_its_system) for record in handed_in}
        unknown = tuple(r.student for r in handed_in if not moodle.is_folder(folders[r.student.id]))
        notes += _left_out("moodle-feedback.zip", unknown)
        known = {student: name for student, name in folders.items() if moodle.is_folder(name)}
        feedback = {student: page.encode() for student, page in pages.items()}
        put(moodle.feedback_zip(known, feedback), folder / "moodle-feedback.zip")
    taken = set(OURS)
    for exercise, path in wanted.files:
        merged = _merge(path, exercise, gradebook, wanted)
        name = next(name for name in _names(path, exercise) if name.casefold() not in taken)
        taken.add(name.casefold())
        put(merged.content, folder / name)
        notes += _told(name, merged)
    return notes


def _names(path: Path, exercise: str) -> Iterator[str]:
    """What a copy of a file may be called, the best first: its own name, or one that tells it from others of that name."""
    yield path.name
    for more in filter(None, (exercise, path.parent.name)):
        yield f"{path.stem}-{more}{path.suffix}"
    yield from (f"{path.stem}-{number}{path.suffix}" for number in count(2))


def _merge(path: Path, exercise: str, gradebook: Gradebook, wanted: Wanted) -> Merged:
    header = {cell.strip().lower() for cell in read(path, ",;\t", backslash=True).header}
    if {"student", "id"} <= header or {"lastname", "firstname", "id"} <= header:
        columns = {name: title for name, title in wanted.columns.items() if exercise in ("", name)}
        return canvas.merge(path, gradebook, columns or None, scale=wanted.scale)
    if not exercise and len(gradebook.exercises) > 1:
        raise ExportError(
            f"{path.name} is for one exercise, and there are {len(gradebook.exercises)}.",
            f"Say for which: --gradebook {gradebook.exercises[0]}={path}",
        )
    meant = exercise or gradebook.exercises[0]
    return moodle.merge(path, gradebook, meant, grade=wanted.columns.get(meant, ""), scale=wanted.scale)


def _told(name: str, merged: Merged) -> list[str]:
    """What the instructor should know before importing a file."""
    notes = [f"{name}: {exercise} goes to {one_line(column, 80)!r}." for exercise, column in merged.columns.items()]
    notes += _left_out(name, merged.unplaced)
    if merged.unmatched:
        notes.append(
            f"{name}: {len(merged.unmatched)} rows are of nobody who is in the results: {_some(merged.unmatched)}."
        )
    for student, called in merged.renamed:
        notes.append(
            f"{name}: {_some([student.shown])} is called {_some([called])} there; look whether that is the same."
        )
    for student, exercise in merged.kept:
        notes.append(f"{name}: {exercise} does not count for {_some([student.shown])} there, and stays so.")
    if merged.provisional:
        notes.append(f"{name}: {len(merged.provisional)} scores may still change: answers are to be read.")
    if merged.undecided:
        whose = _some([f"{student.shown} ({exercise})" for student, exercise in merged.undecided])
        notes.append(f"{name}: {len(merged.undecided)} scores are left out because points are undecided: {whose}.")
    return notes


def _left_out(name: str, students: tuple[Student, ...]) -> list[str]:
    return (
        [f"{name}: {len(students)} students have no row there: {_some([s.shown for s in students])}."]
        if students
        else []
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(one_line(name, 60) for name in names[:5]) + more


def _gradescope(record: Record) -> Iterator[tuple[str, dict[str, Any]]]:
    """What Gradescope would show of each exercise that was handed in."""
    for name, grade in record.grades.items():
        if grade.result:
            yield name, gradescope.results(grade.result, grade.written, grade.max_written)
        elif grade.status is Status.REFUSED:
            yield name, gradescope.refused(grade.note)
        elif grade.status is Status.TROUBLE:
            yield name, gradescope.trouble()
