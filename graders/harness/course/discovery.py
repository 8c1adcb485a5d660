"""Hand-ins are found in what a course system gave: whose they are, for which exercise, and which attempt."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath

from graders.harness import lessons
from graders.harness.contents import Contents
from graders.harness.course.layouts import Layout, Piece
from graders.harness.course.newest import in_order
from graders.harness.course.owners import owned
from graders.harness.course.recognition import recognise
from graders.harness.course.roster import Roster
from graders.harness.course.tree import Tree, TreeError, tree
from graders.harness.data.archive import Archive, ArchiveError
from graders.harness.data.file_kinds import file_kind
from graders.harness.data.names import exercises_named
from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError
from graders.harness.marks import Student
from graders.harness.run import beside
from graders.harness.run.notebook import MAX_BYTES, parse
from graders.harness.run.source import code

MAX_PACKED = 200_000_000
"""Bytes of an archive that a student handed in; it is held in memory."""
MAX_NOTEBOOKS = 50
"""Notebooks that are read of an archive that a student handed in."""

NO_NOTEBOOK = "There is no notebook in the hand-in"

MAX_DOCUMENT = 1_000_000
"""Bytes that are read of another file, to say what it is."""


class DiscoveryError(ExplainedError):
    """There are no hand-ins where they were looked for."""


@dataclass(frozen=True)
class Attempt:
    """A notebook that a student handed in for an exercise; ``number`` counts their attempts from 1.

    ``file`` is its path as the student knows it; ``path`` that among all that was given, and ``member`` that in an archive there.
    ``group`` names those who handed it in together, each of whom has such an attempt. ``problem`` says why there is nothing
    to be graded, if so. ``upload`` is the course system's number of it, ``changed`` when the file was last changed, and
    ``others`` are other notebooks for the exercise that came at once with it: "time", "upload", "name" or "work" is what it
    was ``told_by`` that it is the last of them. ``beside`` are the
    files that were handed in with it: each with its path from the notebook's folder, and that among all that was given or in
    the archive.
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
    beside: tuple[tuple[str, str], ...] = ()
    group: str = ""
    upload: int = 0
    changed: datetime | None = None
    others: tuple[str, ...] = ()
    told_by: str = ""


@dataclass(frozen=True)
class Stray:
    """A file that belongs to no exercise or no student, and why; ``student`` is whose it is, if that is known."""

    file: str
    problem: str
    student: Student | None = None


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

    @property
    def exercises(self) -> dict[Student, set[str]]:
        """For which exercises each of them handed in something."""
        found: dict[Student, set[str]] = defaultdict(set)
        for attempt in self.attempts:
            found[attempt.student].add(attempt.exercise)
        return found

    def keep(self, exercises: Collection[str]) -> None:
        """Leave out what was handed in for other exercises, and say so."""
        others = [attempt for attempt in self.attempts if attempt.exercise not in exercises]
        self.attempts = [attempt for attempt in self.attempts if attempt.exercise in exercises]
        self.strays += [
            Stray(a.file, f"{a.exercise} is not among the course's exercises in course.toml", a.student) for a in others
        ]

    def content(self, attempt: Attempt) -> bytes:
        """The notebook of an attempt as it was handed in, at most a byte longer than may be; or :class:`ExplainedError`."""
        if not attempt.member:
            return self.tree.read(attempt.path, MAX_BYTES)
        return Archive(self.tree.read(attempt.path, MAX_PACKED)).read(attempt.member, MAX_BYTES)

    def beside(self, attempt: Attempt, content: bytes) -> bytes:
        """The archive of the files that go with the notebook of an attempt; b"" if there are none, or none can be read."""
        if not attempt.beside:
            return b""
        try:
            wanted = beside.wanted_of_hand_in(code(parse(content)))
            places = dict(attempt.beside)
            if not attempt.member:
                return beside.chosen(places, lambda name, limit: self.tree.read(places[name], limit), wanted)
            packed = Archive(self.tree.read(attempt.path, MAX_PACKED))
            return beside.chosen(places, lambda name, limit: packed.read(places[name], limit), wanted)
        except ExplainedError:
            return b""


def discover(
    path: Path,
    exercise: str | None = None,
    layout: Layout | None = None,
    roster: Roster | None = None,
) -> HandIns:
    """Find the hand-ins in a folder or zip archive, for ``exercise`` or for all, in a ``layout`` or the one they seem to have.

    What comes under the name of a group on the ``roster`` is the work of each of its members.
    Of each student and exercise the attempts are numbered from the first to the last. Raises :class:`DiscoveryError` if
    there are no hand-ins, :class:`LayoutError` if it is not clear whose they are, and :class:`TreeError` or
    :class:`ArchiveError` if there is nothing to look in, or a file of the archive that was given is damaged.
    """
    there = tree(path)
    if not there.files:
        raise DiscoveryError(f"There are no files in {path}.", "Name what the course system gave.")
    recognised = recognise(there, layout)
    there, pieces = recognised.tree, owned(recognised.pieces, roster or Roster())
    found = HandIns(recognised.title, there)
    found.strays += [Stray(name, problem) for name, problem in there.left_out]
    claimed = {piece.path for piece in pieces} | recognised.lists
    found.strays += [
        Stray(name, "its name does not say whose it is")
        for name in there.files
        if name not in claimed and PurePosixPath(name).suffix in (".ipynb", ".zip")
    ]
    numbers: Counter[tuple[str, str]] = Counter()
    something_else = []
    for attempt in in_order(_attempts(there, pieces, exercise, found.strays), found.content):
        if not attempt.exercise:
            something_else.append(attempt)
            continue
        numbers[attempt.student.id, attempt.exercise] += 1
        found.attempts.append(replace(attempt, number=numbers[attempt.student.id, attempt.exercise]))
    only = {attempt.exercise for attempt in found.attempts}
    for attempt in something_else:
        if len(only) == 1:  # then it is known for which exercise it came: it is not missing
            found.attempts.append(replace(attempt, exercise=next(iter(only))))
        else:
            problem = attempt.problem[0].lower() + attempt.problem[1:].rstrip(".")
            found.strays.append(Stray(attempt.path, problem, attempt.student))
    if not found.attempts:
        why = f" {one_line(found.strays[0].file, 100)}: {found.strays[0].problem}." if found.strays else ""
        raise DiscoveryError(
            f"There are no hand-ins in {path}.{why}",
            "Name what the course system gave: its zip archive, a folder per student, or a folder of notebooks.",
        )
    return found


def _attempts(there: Tree, pieces: list[Piece], exercise: str | None, strays: list[Stray]) -> Iterator[Attempt]:
    of_student: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        of_student[piece.student.id].append(piece)
    for mine in of_student.values():
        opened = [found for piece in mine for found in _opened(there, piece, exercise)]
        named = {attempt.exercise for attempt, plain in opened if plain}
        # One notebook may hold all exercises, whichever its name says
        attempts = [attempt for attempt, plain in opened if plain or attempt.exercise not in named]
        meant = [attempt for attempt in attempts if exercise in (None, attempt.exercise)]
        if exercise and not meant:  # named for another exercise, but handed in for this one
            meant = [replace(attempt, exercise=exercise) for attempt in attempts]
        if exercise and not meant:
            meant = [replace(_attempt(mine[-1], exercise, mine[-1].name), problem=f"{_no_notebook(there, mine)}.")]
        for attempt in meant:
            if attempt.exercise:
                yield replace(attempt, beside=attempt.beside or _together(attempt, mine))
            else:
                strays.append(
                    Stray(
                        attempt.file,
                        attempt.problem or "neither its name nor its variables say for which exercise it is",
                        attempt.student,
                    )
                )
        if not meant:
            yield replace(_attempt(mine[0], None, mine[0].name), problem=f"{_no_notebook(there, mine)}.")


def _no_notebook(there: Tree, mine: list[Piece]) -> str:
    """That there is none and, as far as it is known, what there is."""
    said = []
    for piece in mine[:3]:
        with suppress(ExplainedError):
            if kind := file_kind(there.read(piece.path, MAX_DOCUMENT)):
                said.append(f"{one_line(piece.name, 60)} {kind.says}")
    return f"{NO_NOTEBOOK}{': ' if said else ''}{', '.join(said)}"


def _opened(there: Tree, piece: Piece, exercise: str | None) -> Iterator[tuple[Attempt, bool]]:
    """The notebooks in a file, itself or those in an archive, for each exercise; and whether it is plainly meant for that one."""
    suffix = PurePosixPath(piece.name).suffix.lower()
    try:
        if suffix == ".ipynb" or ".ipynb" in PurePosixPath(piece.name).suffixes:  # browsers save ex1.ipynb.txt
            content = there.read(piece.path, MAX_BYTES)
            for one, plain in exercises_of(piece.above + piece.name, content) or [(exercise, True)]:
                yield replace(_attempt(piece, one, piece.name), changed=there.changed(piece.path)), plain
        elif suffix == ".zip":
            packed = there.read(piece.path, MAX_PACKED)
            if len(packed) > MAX_PACKED:
                raise ArchiveError(f"The archive is larger than {MAX_PACKED >> 20} MiB.", "Hand in the notebook alone.")
            inside = Archive(packed)
            names = [name for name in inside.files if name.lower().endswith(".ipynb")]
            if not names:
                raise ArchiveError("The archive holds no notebook.", "Hand in the notebook itself.")
            for name in names[:MAX_NOTEBOOKS]:
                known = exercises_of(f"{piece.above}{piece.name}/{name}", inside.read(name, MAX_BYTES))
                for one, plain in known or [(exercise, True)]:
                    found = replace(
                        _attempt(piece, one, f"{piece.name}/{name}"), member=name, changed=inside.changed(name)
                    )
                    yield replace(found, beside=_below(name, [(other, other) for other in inside.files])), plain
    except TreeError:
        raise  # what was given cannot be read, and no student is to blame
    except ExplainedError as error:
        known = exercises_of(piece.above + piece.name) or [(exercise, True)]
        yield replace(_attempt(piece, known[0][0], piece.name), problem=error.problem), True


def _together(attempt: Attempt, mine: list[Piece]) -> tuple[tuple[str, str], ...]:
    """What a student handed in beside a notebook that is in no archive."""
    if attempt.member or attempt.problem:
        return ()
    return _below(attempt.file, [(piece.name, piece.path) for piece in mine])


def _below(notebook: str, files: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Of files by their names those in the folder of the notebook and below, by their paths from there."""
    folder = notebook[: notebook.rfind("/") + 1]
    return tuple((name[len(folder) :], place) for name, place in files if name.startswith(folder) and name != notebook)


def _attempt(piece: Piece, exercise: str | None, file: str) -> Attempt:
    return Attempt(
        piece.student,
        exercise or "",
        file,
        piece.path,
        late=piece.late,
        submitted=piece.submitted,
        group=piece.group,
        upload=piece.number,
    )


def exercises_of(name: str, content: bytes = b"") -> list[tuple[str | None, bool]]:
    """The exercises that a notebook is for: the one that its name says, and those that its content says; whether it is plain.

    What its content says beside its name is not: somebody may have copied a part of another exercise.
    """
    said = None
    for part in reversed(PurePosixPath(name).parts):
        named = set(exercises_named(part)) & set(lessons.meant().names)
        if len(named) == 1:
            said = named.pop()
            break
    words, variables = _words()
    there = {word.decode() for word in words.findall(content)}
    shares = {name: len(there & variables[name]) / len(variables[name]) for name in lessons.meant().names}
    best = max(shares.values())
    found = [name for name, share in shares.items() if share == best] if best > 0.5 else []
    if sum(share > 0.5 for share in shares.values()) > 1:  # many words are used by several: what is assigned tells more
        with suppress(ExplainedError):
            found = Contents(parse(content), lessons.meant().exercises()).held or found
    return (
        [(said, True), *((name, False) for name in found if name != said)] if said else [(name, True) for name in found]
    )


@cache
def _words() -> tuple[re.Pattern[bytes], dict[str, set[str]]]:
    """The hand-in variables of every exercise, and what finds any of them."""
    variables = {one.name: {*one.hand_in} for one in lessons.meant().exercises()}
    anything = "|".join(sorted({*chain(*variables.values())}))
    return re.compile(rf"\b(?:{anything})\b".encode()), variables
