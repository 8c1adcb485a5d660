"""Hand-ins with known outcomes: small, readable changes of a reference solution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from graders.release import without_solutions

Change = Callable[[NotebookNode], None]


@dataclass(frozen=True)
class Submission:
    """A hand-in and what must be said of it.

    Every check that is not named must pass. ``fails`` maps a check to the misconception that its feedback must name
    (None for a failure that has no name). ``may_fail`` lists checks whose outcome is a matter of luck.
    """

    title: str
    changes: tuple[Change, ...]
    fails: Mapping[str, str | None] = field(default_factory=dict)
    not_reached: tuple[str, ...] = ()
    may_fail: tuple[str, ...] = ()
    pretrained: bool = False
    """Start from the adapters and losses of the reference solution's run, to test what comes after training."""
    ended: str = "completed"

    def notebook(self, reference: Path, *first: Change) -> NotebookNode:
        """The hand-in as a notebook: the reference solution, changed."""
        notebook = nbformat.read(reference, as_version=4)
        for change in (*first, *self.changes):
            change(notebook)
        return notebook


def cell(notebook: NotebookNode, cell_id: str) -> NotebookNode:
    """A cell of the reference solution by its id."""
    return next(c for c in notebook.cells if c.id == cell_id)


def replace(cell_id: str, *pairs: str) -> Change:
    """Replace text in a cell: old, new, old, new … Each old text must be there exactly once."""

    def change(notebook: NotebookNode) -> None:
        target = cell(notebook, cell_id)
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert target.source.count(old) == 1, f"{old!r} is in {cell_id} {target.source.count(old)} times"
            target.source = target.source.replace(old, new)

    return change


def rewrite(cell_id: str, source: str) -> Change:
    """Give a cell another source."""

    def change(notebook: NotebookNode) -> None:
        cell(notebook, cell_id).source = source.strip("\n")

    return change


def append(cell_id: str, source: str) -> Change:
    """Add lines to a cell."""

    def change(notebook: NotebookNode) -> None:
        cell(notebook, cell_id).source += "\n" + source.strip("\n")

    return change


def strip_solutions(notebook: NotebookNode) -> None:
    """Turn the reference solution into the assignment."""
    notebook.cells = without_solutions(notebook).cells
