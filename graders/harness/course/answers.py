"""Written answers: collected for the person who reads them, and the points which that person gives."""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nbformat import NotebookNode

from graders.harness.data.cells import BOM, csv_file, defused
from graders.harness.data.saving import save
from graders.harness.data.spreadsheets import Row, TableError, rows
from graders.harness.data.values import shown
from graders.harness.errors import ExplainedError
from graders.harness.marks import letters
from graders.harness.release import without_solutions
from graders.harness.run.notebook import MAX_BYTES, WRITTEN_ANSWER, has_tag, read

csv.field_size_limit(MAX_BYTES)  # an answer may be as long as a notebook
COLUMNS = ("exercise", "hand_in", "question", "asked", "answer", "guide", "entry", "of", "points")
_SOLUTION = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.DOTALL)


class PointsError(ExplainedError):
    """The file of points holds something else."""


@dataclass(frozen=True)
class Answer:
    """What one hand-in answers to one question.

    ``question`` counts from 1. ``guide`` is the model answer with what each point is for; ``of`` is the most points that
    can be given, ``points`` what a person gave, None before that.
    """

    exercise: str
    hand_in: str
    question: int
    asked: str
    answer: str
    guide: str
    of: float
    points: float | None = None

    @property
    def entry(self) -> str:
        """What points are given for, in short: an answer that was changed has to be read again."""
        return _entry(self.exercise, defused(self.hand_in), f"{self.question}", defused(self.answer))

    @property
    def blank(self) -> bool:
        """Whether there is nothing to be read."""
        return not self.answer


def collect(graded: Path, references: Path) -> list[Answer]:
    """The written answers of every hand-in under ``graded``, the folder .grade, as its notebooks were handed in."""
    answers = []
    for reference in sorted(references.glob("*.ipynb")):
        solved = read(reference)
        for folder in sorted((graded / reference.stem).glob("*/run/notebook.ipynb")):
            answers += answers_in(reference.stem, folder.parents[1].name, read(folder), solved)
    return answers


def answers_in(exercise: str, hand_in: str, notebook: NotebookNode, solved: NotebookNode) -> list[Answer]:
    """The answers in a notebook to the questions of ``solved``, the reference solution or the assignment.

    They are found by the ids of their cells, which some tools keep while they drop the tags or, where a tool has changed
    those, by their order. Where nothing but the prompt is left, the answer is empty.
    """
    given = [cell for cell in notebook.cells if has_tag(cell, WRITTEN_ANSWER)]
    by_id = {cell.id: cell for cell in notebook.cells if cell.cell_type == "markdown"}
    blank = {cell.id: cell.source for cell in without_solutions(solved).cells}
    places = [place for place, cell in enumerate(solved.cells) if has_tag(cell, WRITTEN_ANSWER)]
    answers = []
    for number, place in enumerate(places, start=1):
        model = solved.cells[place]
        cell = by_id.get(model.id) or (given[number - 1] if len(given) == len(places) else None)
        text = cell.source.strip() if cell else ""
        solution = _SOLUTION.search(model.source)
        answers.append(
            Answer(
                exercise,
                hand_in,
                number,
                solved.cells[place - 1].source.strip(),
                "" if letters(text) in ("", letters(blank[model.id])) else text,
                solution.group(1).strip() if solution else "",
                float(model.metadata.get("points", 1)),
            )
        )
    return answers


def read_points(path: Path) -> dict[str, float]:
    """The points in a file that :func:`write` made and a person filled in, by :attr:`Answer.entry`.

    Whatever a spreadsheet has made of the other columns, ``entry`` tells what a row is about; without it, they do. Raises
    :class:`PointsError`, which names a bad line.
    """
    points = {}
    for line, row in _rows(path):
        if (text := row["points"] or "").strip():
            points[_entry_of(row)] = _points(text, row.get("of"), path, line)
    return points


def _rows(path: Path) -> list[tuple[int, Row]]:
    """The rows of a file of points; :class:`PointsError` if it is none."""
    problem = PointsError(
        f"{path.name} is not a file of written answers.", "Give another name, or move it out of the way."
    )
    try:
        found = rows(path.read_bytes())
    except TableError as error:
        where = f", row {error.row}" if error.row else ""
        raise PointsError(
            f"{path.name}{where}: it cannot be read as CSV ({error}).",
            "Undo the last change of that file, and save it as CSV.",
        ) from None
    for _, row in found:
        if row.get("points") is None or not (
            row.get("entry") or {"exercise", "hand_in", "question", "answer"} <= row.keys()
        ):
            raise problem
    return found


def _points(text: str, of: str | None, path: Path, line: int) -> float:
    value, most = _number(text), _number(of or "")
    if not 0 <= value <= (math.inf if math.isnan(most) else most) or math.isinf(value):
        upto = "" if math.isnan(most) else f" from 0 to {most:g}"
        problem = f"{path.name}, row {line}: {shown(text)} is no number of points{upto}."
        raise PointsError(problem, "Correct the column points.")
    return value


def _number(text: str) -> float:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return math.nan


def with_points(answers: list[Answer], points: Mapping[str, float]) -> list[Answer]:
    """The answers with the points that were given for them; those whose text has changed since have none."""
    return [replace(answer, points=points.get(answer.entry)) for answer in answers]


def write(answers: list[Answer], path: Path) -> None:
    """Write a CSV file for a spreadsheet, a row per answer; rows with points that the file has for others stay in it.

    Raises :class:`PointsError` for a file that is there and cannot be read: it stays as it is.
    """
    written: list[tuple[str, ...]] = [COLUMNS]
    for a in answers:
        given = "" if a.points is None else f"{a.points:g}"
        cells = (a.exercise, a.hand_in, str(a.question), a.asked, a.answer, a.guide, a.entry, f"{a.of:g}", given)
        written.append(tuple(map(defused, cells)))
    written += _others(path, {answer.entry for answer in answers}) if path.is_file() else []
    # The name of a hand-in may be no text at all
    save(csv_file(written, start=BOM, errors="surrogateescape"), path)


def remove(path: Path, hand_ins: Collection[str]) -> None:
    """Take the rows of some hand-ins out of a file that :func:`write` made."""
    gone = {defused(name) for name in hand_ins}
    kept = [
        [row.get(column) or "" for column in COLUMNS]
        for _, row in _rows(path)
        if (row.get("hand_in") or "") not in gone
    ]
    save(csv_file([COLUMNS, *kept], start=BOM, errors="surrogateescape"), path)


def _others(path: Path, entries: Collection[str]) -> Iterator[tuple[str, ...]]:
    """What a person gave for other answers than these, such as those of a hand-in that cannot be read now."""
    for _, row in _rows(path):
        if (row["points"] or "").strip() and _entry_of(row) not in entries:
            yield tuple((row | {"entry": _entry_of(row)}).get(column) or "" for column in COLUMNS)


def _entry_of(row: Row) -> str:
    return row.get("entry") or _entry(*(row[column] or "" for column in ("exercise", "hand_in", "question", "answer")))


def _entry(*parts: str) -> str:
    """A letter and digits, so that no spreadsheet takes it for a number or a date; ends of lines make no difference."""
    text = "\0".join(" ".join(part.split()) for part in parts)
    return "a" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:15]
