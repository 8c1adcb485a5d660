"""Assignments, made from the reference solutions by taking the solutions out."""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from graders.harness import lessons
from graders.harness.errors import ExplainedError
from graders.harness.run.notebook import WRITTEN_ANSWER, has_tag, read

_SOLUTION = re.compile(
    r"^[ \t]*### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_LEFT_OPEN = {"code": "# YOUR CODE HERE\n", "markdown": "…\n"}


class ReleaseError(ExplainedError):
    """A reference solution's markers do not match."""


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """The assignment of a reference solution: no solutions, no outputs."""
    assignment = nbformat.from_dict(notebook)
    for number, cell in enumerate(assignment.cells, start=1):
        cell.source = _SOLUTION.sub(_LEFT_OPEN.get(cell.cell_type, ""), cell.source).rstrip("\n")
        if "### BEGIN SOLUTION" in cell.source or "### END SOLUTION" in cell.source:
            raise ReleaseError(
                f"Cell {number} has a solution marker without its other half.",
                "Close each ### BEGIN SOLUTION with an ### END SOLUTION in the same cell.",
            )
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return assignment


def release(solution: Path, assignment: Path) -> None:
    """Write the assignment of one reference solution."""
    notebook = without_solutions(nbformat.read(solution, as_version=4))
    nbformat.validate(notebook)
    assignment.parent.mkdir(parents=True, exist_ok=True)
    assignment.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def untouched(notebook: NotebookNode, exercise: str) -> bool:
    """Whether nothing was filled in: its code and its written answers are all in the assignment as well."""
    return _filled_in(notebook) <= _handed_out(exercise)


@cache
def _handed_out(exercise: str) -> frozenset[str]:
    return _filled_in(read(lessons.meant().notebooks / f"{exercise}.ipynb"))


def _filled_in(notebook: NotebookNode) -> frozenset[str]:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" or has_tag(cell, WRITTEN_ANSWER)]
    return frozenset(text for cell in cells if (text := " ".join(cell.source.split())))


def start(folder: Path) -> list[tuple[Path, bool]]:
    """Copy the assignments and their fixtures into ``folder``; each notebook, and whether it is new there."""
    lesson, notebooks = lessons.meant(), []
    for source in sorted(lesson.notebooks.glob("*.ipynb")):
        target = folder / "assignments" / source.name
        notebooks.append((target, not target.exists()))
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for name in lesson.for_students():
        source, target = lesson.fixtures.root / name, folder / "fixtures" / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    return notebooks
