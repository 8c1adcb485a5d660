"""Hand-ins are found in what a course system gave: whose they are, for which exercise, and which attempt."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path, PurePosixPath

from graders.harness.course.layouts import LAYOUTS, Piece
from graders.harness.course.tree import Tree, tree
from graders.harness.data.archive import Archive, ArchiveError
from graders.harness.data.names import exercises_named, named_student
from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError
from graders.harness.grade import module_of
from graders.harness.marks import Student
from graders.harness.run.notebook import MAX_BYTES
from graders.lesson import EXERCISES

MAX_PACKED = 200_000_000
"""Bytes of an archive that a student handed in; it is held in memory."""
MAX_NOTEBOOKS = 50
"""Notebooks that are read of an archive that a student handed in."""


class DiscoveryError(ExplainedError):
    """There are no hand-ins where they were looked for."""


@dataclass(frozen=True)
class Attempt:
    """A notebook that a student handed in for an exercise; ``number`` counts their attempts from 1.

    ``file`` is its path as the student knows it; ``path`` that among all that was given, and ``member`` that in an archive
    there. ``problem`` says why there is nothing to be graded, if so.
    """

    student: Student
    exercise: str
    file: str
    path: str
    member: str = ""
    problem: str = ""
    late: bool = False
    submitted: datetime | None = None
    number: int = 1


@dataclass(frozen=True)
class Stray:
    """A file that belongs to no exercise or no student, and why."""

    file: str
    problem: str


@dataclass
class HandIns:
    """What was found: the layout that was recognised, everybody's attempts, and what could not be assigned."""

    layout: str
    tree: Tree
    attempts: list[Attempt] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)

    @property
    def students(self) -> dict[str, Student]:
        """Everybody who handed in anything, by id."""
        return {attempt.student.id: attempt.student for attempt in self.attempts}

    def content(self, attempt: Attempt) -> bytes:
        """The notebook of an attempt as it was handed in, at most a byte longer than may be; or :class:`ExplainedError`."""
        if not attempt.member:
            return self.tree.read(attempt.path, MAX_BYTES)
        return Archive(self.tree.read(attempt.path, MAX_PACKED)).read(attempt.member, MAX_BYTES)


def discover(path: Path, exercise: str | None = None) -> HandIns:
    """Find the hand-ins in a folder or zip archive, for ``exercise`` or for all.

    Of each student and exercise the attempts are numbered from the first to the last. Raises :class:`DiscoveryError` if
    there are no hand-ins, and :class:`TreeError` or :class:`ArchiveError` if there is nothing to look in.
    """
    there = tree(path)
    layout, pieces = recognise(there)
    found = HandIns(layout, there)
    claimed = {piece.path for piece in pieces}
    found.strays += [
        Stray(name, "its name does not say whose it is")
        for name in there.files
        if name not in claimed and PurePosixPath(name).suffix in (".ipynb", ".zip")
    ]
    numbers: Counter[tuple[str, str]] = Counter()
    for attempt in sorted(_attempts(there, pieces, exercise, found.strays), key=_age):
        numbers[attempt.student.id, attempt.exercise] += 1
        found.attempts.append(replace(attempt, number=numbers[attempt.student.id, attempt.exercise]))
    if not found.attempts:
        why = f" {one_line(found.strays[0].file, 100)}: {found.strays[0].problem}." if found.strays else ""
        raise DiscoveryError(
            f"There are no hand-ins in {path}.{why}",
            "Name what the course system gave: its zip archive, a folder per student, or a folder of notebooks.",
        )
    return found


def recognise(there: Tree) -> tuple[str, list[Piece]]:
    """What the layout of the files is called, and whose each file is in it. All of it may lie in a folder of its own."""
    views = list(_views(there))
    named, others = list(LAYOUTS.items())[:-2], list(LAYOUTS.items())[-2:]
    # A folder that holds the only folder is somebody's packing, and so is one whose notebooks name several students
    packed = [view for view in views[1:] if view.packed]
    for view, layouts in [*((view, named) for view in views), ([views[0], *packed][-1], others)]:
        for name, layout in layouts:
            pieces = layout(view, view.files)
            if pieces is not None:
                return name, [replace(piece, path=view.prefix + piece.path) for piece in pieces]
    raise AssertionError("the last layout takes everything")


class _View:
    """A tree as it is seen from a folder in it."""

    def __init__(self, there: Tree, prefix: str) -> None:
        self.there, self.prefix = there, prefix
        self.files = [name.removeprefix(prefix) for name in there.files]

    @property
    def packed(self) -> bool:
        """Whether students are told apart below this folder."""
        direct = [name for name in self.files if "/" not in name]
        return not direct or any(named_student(name) for name in direct)

    def read(self, name: str, limit: int) -> bytes:
        return self.there.read(self.prefix + name, limit)


def _views(there: Tree) -> Iterator[_View]:
    """The tree, and as long as all of it lies in one folder, what is in that."""
    view = _View(there, "")
    yield view
    while len(tops := {name.partition("/")[0] for name in view.files}) == 1 and all("/" in name for name in view.files):
        view = _View(there, f"{view.prefix}{tops.pop()}/")
        yield view


def _age(attempt: Attempt) -> tuple[datetime, bool]:
    """From the first attempt to the last. What Jupyter names a copy is one that was put aside."""
    aside = re.search(r"-Copy\d+\.ipynb$", attempt.file) is not None
    return attempt.submitted or datetime.min.replace(tzinfo=UTC), not aside


def _attempts(there: Tree, pieces: list[Piece], exercise: str | None, strays: list[Stray]) -> Iterator[Attempt]:
    of_student: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        of_student[piece.student.id].append(piece)
    for mine in of_student.values():
        attempts = [attempt for piece in mine for attempt in _opened(there, piece, exercise)]
        meant = [attempt for attempt in attempts if exercise in (None, attempt.exercise)]
        if exercise and not meant:  # named for another exercise, but handed in for this one
            meant = [replace(attempt, exercise=exercise) for attempt in attempts]
        if exercise and not meant:
            meant = [
                replace(_attempt(mine[-1], exercise, mine[-1].name), problem="There is no notebook in the hand-in.")
            ]
        for attempt in meant:
            if attempt.exercise:
                yield attempt
            else:
                strays.append(
                    Stray(
                        attempt.file,
                        attempt.problem or "neither its name nor its variables say for which exercise it is",
                    )
                )
        if not meant:
            strays.append(Stray(mine[0].path, "there is no notebook"))


def _opened(there: Tree, piece: Piece, exercise: str | None) -> Iterator[Attempt]:
    """The notebooks in a file: itself, or those in an archive."""
    suffix = PurePosixPath(piece.name).suffix.lower()
    try:
        if suffix == ".ipynb":
            content = there.read(piece.path, MAX_BYTES)
            yield _attempt(piece, exercise_of(piece.name, content) or exercise, piece.name)
        elif suffix == ".zip":
            packed = there.read(piece.path, MAX_PACKED)
            if len(packed) > MAX_PACKED:
                raise ArchiveError(f"The archive is larger than {MAX_PACKED >> 20} MiB.", "Hand in the notebook alone.")
            inside = Archive(packed)
            names = [name for name in inside.files if name.lower().endswith(".ipynb")]
            if not names:
                raise ArchiveError("The archive holds no notebook.", "Hand in the notebook itself.")
            for name in names[:MAX_NOTEBOOKS]:
                known = exercise_of(f"{piece.name}/{name}", inside.read(name, MAX_BYTES))
                yield replace(_attempt(piece, known or exercise, f"{piece.name}/{name}"), member=name)
    except ExplainedError as error:
        yield replace(_attempt(piece, exercise_of(piece.name) or exercise, piece.name), problem=error.problem)


def _attempt(piece: Piece, exercise: str | None, file: str) -> Attempt:
    return Attempt(piece.student, exercise or "", file, piece.path, late=piece.late, submitted=piece.submitted)


def exercise_of(name: str, content: bytes = b"") -> str | None:
    """The exercise that a notebook is for: the one that its name says or, failing that, its hand-in variables."""
    for part in reversed(PurePosixPath(name).parts):
        said = set(exercises_named(part)) & set(EXERCISES)
        if len(said) == 1:
            return said.pop()
    shares = {name: _share(variables, content) for name, variables in _hand_in_variables().items()}
    best = max(shares.values())
    fitting = [name for name, share in shares.items() if share == best]
    return fitting[0] if best > 0.5 and len(fitting) == 1 else None


def _share(variables: list[bytes], content: bytes) -> float:
    return sum(re.search(rb"\b" + name + rb"\b", content) is not None for name in variables) / len(variables)


@cache
def _hand_in_variables() -> dict[str, list[bytes]]:
    return {name: [variable.encode() for variable in module_of(name).EXERCISE.hand_in] for name in EXERCISES}
