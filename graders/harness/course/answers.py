"""Written answers: collected for the person who reads them, and the points which that person gives."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nbformat import NotebookNode

from graders.harness.data.cells import BOM, csv_file, defused
from graders.harness.data.saving import save
from graders.harness.data.values import shown
from graders.harness.errors import ExplainedError
from graders.harness.release import without_solutions
from graders.harness.run.notebook import MAX_BYTES, WRITTEN_ANSWER, has_tag, read

csv.field_size_limit(MAX_BYTES)  # an answer may be as long as a notebook
COLUMNS = ("exercise", "hand_in", "question", "asked", "answer", "guide", "of", "points")
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
    def key(self) -> tuple[str, str, int, str]:
        """What points are given for: an answer that was changed has to be read again."""
        return self.exercise, defused(self.hand_in), self.question, defused(self.answer)


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

    They are found by the ids of their cells or, where a tool has changed those, by their order.
    """
    given = [cell for cell in notebook.cells if has_tag(cell, WRITTEN_ANSWER)]
    by_id = {cell.id: cell for cell in given}
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
                "" if text == blank[model.id].strip() else text,
                solution.group(1).strip() if solution else "",
                float(model.metadata.get("points", 1)),
            )
        )
    return answers


def read_points(path: Path) -> dict[tuple[str, str, int, str], float]:
    """The points in a file that :func:`write` made and a person filled in; :class:`PointsError` names a bad line."""
    points = {}
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                if not (row.get("points") or "").strip():
                    continue
                points[_key(row)] = _points(row["points"], float(row["of"]), path, line)
    except (KeyError, ValueError, TypeError, csv.Error):  # TypeError: a row that ends early
        raise PointsError(
            f"{path.name} is not a file of written answers.", "Give another name, or move it out of the way."
        ) from None
    return points


def _points(text: str, of: float, path: Path, line: int) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not 0 <= value <= of or math.isinf(value):
        problem = f"{path.name}, row {line}: {shown(text)} is no number of points from 0 to {of:g}."
        raise PointsError(problem, "Correct the column points.")
    return value


def with_points(answers: list[Answer], points: Mapping[tuple[str, str, int, str], float]) -> list[Answer]:
    """The answers with the points that were given for them; those whose text has changed since have none."""
    return [replace(answer, points=points.get(answer.key)) for answer in answers]


def write(answers: list[Answer], path: Path) -> None:
    """Write a CSV file for a spreadsheet, a row per answer; rows with points that the file has for others stay in it."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    for a in answers:
        given = "" if a.points is None else f"{a.points:g}"
        row = (a.exercise, a.hand_in, str(a.question), a.asked, a.answer, a.guide, f"{a.of:g}", given)
        rows.append(tuple(defused(value) for value in row))
    rows += _others(path, {answer.key for answer in answers}) if path.is_file() else []
    # The name of a hand-in may be no text at all
    save(csv_file(rows, start=BOM, errors="surrogateescape"), path)


def _others(path: Path, keys: Collection[tuple[str, str, int, str]]) -> Iterator[tuple[str, ...]]:
    """What a person gave for other answers than these, such as those of a hand-in that cannot be read now."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        for row in csv.DictReader(file):
            if (row.get("points") or "").strip() and _key(row) not in keys:
                yield tuple(row[column] for column in COLUMNS)


def _key(row: Mapping[str, str]) -> tuple[str, str, int, str]:
    return row["exercise"], row["hand_in"], int(row["question"]), row["answer"]
