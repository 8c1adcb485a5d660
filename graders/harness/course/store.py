"""The folder of results: a folder for each attempt, of which every gradebook and report can be made again at any time.

    batch.json                   what was graded, for whom
    course.toml                  by which rules
    hand-ins/STUDENT/ex3/1/      a student's first attempt at exercise 3:
        hand-in.json                 whose it is, when it came, and what became of it
        ex3.ipynb                    as it was handed in
        beside.zip                   the files that were handed in with it, if any were
        graded/                      its runs, its result, and the log of the graders' faults

A file is written beside its place and renamed there, and a folder counts when it has its ``hand-in.json``, so that a
kill at any moment loses no more than what was in flight.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from graders.harness import lessons
from graders.harness.course.discovery import Attempt
from graders.harness.course.order import Order
from graders.harness.course.roster import Roster
from graders.harness.course.stored import Stored
from graders.harness.course.takeover import take_over
from graders.harness.course.tree import natural
from graders.harness.data import documents
from graders.harness.data.documents import DamagedError
from graders.harness.data.saving import keep_aside, make_folder, put, room, set_aside
from graders.harness.errors import ExplainedError
from graders.harness.marks import Student, folder_name

_TOLD = ("student", "submitted", "late", "group", "others", "told_by")
"""What is taken over from an attempt, whenever it comes."""


_GIVEN_UP = ".forgotten"
"""What the name of a folder ends with that holds nobody's hand-ins any more."""


class StoreError(ExplainedError):
    """A folder of results that cannot be used."""


class Store:
    """A folder of results, which is made if need be."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.taken_over = False
        """Whether an earlier version made the folder, and this command has taken it over."""
        self._known = self._read()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from changing the folder, which is taken over if an earlier version made it.

        Raises :class:`StoreError` if one is at work in it, and :class:`DiskFullError` when nothing can be written any more.
        """
        try:
            with room(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                file = (self.root / ".lock").open("w")
        except OSError as error:
            raise StoreError(
                f"The folder {self.root} cannot be written: {error.strerror}.", "Name another: -o FOLDER"
            ) from None
        with file, room(self.root):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(
                    f"Another command is at work in {self.root}.", "Wait for it, or end it with Ctrl-C."
                ) from None
            self.clear()
            self.taken_over = take_over(self.root)
            self._known = self._read()  # another command may have changed it until now
            yield

    def attempts(self) -> list[Stored]:
        """Everybody's attempts."""
        return [stored for attempts in self._known.values() for stored in attempts]

    def deposit(
        self, attempt: Attempt, content: bytes, files: bytes = b"", *, after: Stored | None = None, alone: bool = True
    ) -> Stored:
        """Keep an attempt, unless it is kept already. Handed in again after another one, the same notebook is a new attempt.

        ``files`` are an archive of those that were handed in with the notebook; ``after`` is the attempt that came before
        it in what was given now, and ``alone`` says that there is only this one.
        """
        digest = hashlib.sha256(content or attempt.problem.encode()).hexdigest()
        beside = hashlib.sha256(files).hexdigest() if files else ""
        told = {name: getattr(attempt, name) for name in _TOLD}
        mine = self._known.setdefault((attempt.student.id, attempt.exercise), [])
        # Where a record was damaged, the folder's name may be all that told whose it is
        unnamed = self._known.pop((folder_name(attempt.student.id), attempt.exercise), [])
        mine += [replace(stored, student=attempt.student) for stored in unnamed]
        for place, stored in enumerate(mine):
            if stored.damage and stored.holds(digest):  # its record alone is damaged: it gets a new one
                keep_aside(stored.folder / "hand-in.json")
                mine[place] = stored = replace(
                    stored, student=attempt.student, file=attempt.file, digest=digest, beside=beside, damage=""
                )
                stored.save()
        again = [s for s in mine if not s.damage and (s.digest, s.beside) == (digest, beside)]
        for place, stored in enumerate(mine):
            if stored in again and _is(stored, attempt, mine, after, alone):
                stored.keep_beside(files)
                if content and not stored.holds(digest):
                    keep_aside(stored.notebook)
                    put(content, stored.notebook)
                known = replace(stored, **told | {"submitted": attempt.submitted or stored.submitted})
                if known != stored:
                    known.save()
                    mine[place] = known
                return known
        number = max((stored.number for stored in mine), default=0) + 1
        folder = self.root / "hand-ins" / folder_name(attempt.student.id) / attempt.exercise / str(number)
        for level in (folder.parents[1], folder.parent, folder):
            make_folder(level)
        stored = Stored(
            folder, exercise=attempt.exercise, number=number, file=attempt.file, digest=digest, beside=beside, **told
        )
        put(content, stored.notebook)
        stored.keep_beside(files)
        stored.save()
        mine.append(stored)
        return stored

    def newest(self, attempt: Attempt, content: bytes) -> Stored | None:
        """The last of a student's attempts at an exercise that is kept with this notebook, if any is."""
        digest = hashlib.sha256(content).hexdigest()
        mine = self._known.get((attempt.student.id, attempt.exercise), [])
        return max((one for one in mine if one.digest == digest), key=lambda one: one.number, default=None)

    def give_up(self, student: str) -> None:
        """Let the hand-ins of a student, by id, count no more: all at once, and for good once the folder is cleared."""
        place = self.root / "hand-ins" / folder_name(student)
        if os.path.lexists(place):
            place.rename(place.with_name(f"{place.name}{_GIVEN_UP}"))

    def clear(self) -> None:
        """Remove what was given up, now or by a command that was interrupted."""
        for left in (self.root / "hand-ins").glob(f"*{_GIVEN_UP}"):
            shutil.rmtree(left, ignore_errors=True)

    def update(self, stored: Stored) -> None:
        """Take over what has become of an attempt."""
        mine = self._known[stored.student.id, stored.exercise]
        mine[[s.number for s in mine].index(stored.number)] = stored

    def write_order(self, order: Order) -> None:
        """Write down by which rules and for whom the batch is graded."""
        documents.write(order.document(), self.root / "batch.json")

    def order(self) -> Order:
        """What was written down: the rules, the roster, the layout, and what could not be assigned."""
        if not os.path.lexists(self.root / "batch.json"):
            raise StoreError(f"{self.root} holds no results.", "Make some first: grade batch HAND-INS -o FOLDER")
        return documents.read(
            self.root,
            "batch.json",
            Order.of,
            f"Grade into it again, which writes it anew: grade batch HAND-INS -o {self.root}, with the options as before.",
        )

    @property
    def roster(self) -> Roster:
        """The roster that was written down; an empty one where none was, or it cannot be read."""
        with suppress(ExplainedError):
            return self.order().roster
        return Roster()

    def extend(self, order: Order) -> None:
        """Write down what is to be graded, in addition to what was: other exercises, and students of the same roster."""
        try:
            before = self.order()
        except StoreError:
            before = None
        except DamagedError:
            before = None
            set_aside(self.root / "batch.json")
            there = {stored.exercise for stored in self.attempts()}
            names = tuple(name for name in lessons.meant().names if name in {*order.rules.exercises, *there})
            order = replace(order, rules=replace(order.rules, exercises=names))
        if before:
            if before.anonymous != order.anonymous:
                how = "without names, and would get some" if before.anonymous else "with names"
                raise StoreError(
                    f"What is in {self.root} was graded {how}.",
                    "Grade with --anonymous and the same key, or into another folder."
                    if before.anonymous
                    else "Grade without --anonymous, or into another folder.",
                )
            names = tuple(
                name for name in lessons.meant().names if name in (*before.rules.exercises, *order.rules.exercises)
            )
            rules = replace(order.rules, exercises=names, due={**before.rules.due, **order.rules.due})
            order = replace(order, rules=rules, roster=order.roster if order.roster.entries else before.roster)
        self.write_order(order)

    def _read(self) -> dict[tuple[str, str], list[Stored]]:
        known: dict[tuple[str, str], list[Stored]] = {}
        for stored in self._stored():
            known.setdefault((stored.student.id, stored.exercise), []).append(stored)
        return known

    def _stored(self) -> Iterator[Stored]:
        known: dict[str, Student] = {}
        damaged = []
        for folder in sorted(_attempts(self.root / "hand-ins"), key=lambda folder: natural(str(folder))):
            *_, place, exercise, number = folder.parts
            try:
                stored = documents.read(
                    self.root, f"hand-ins/{place}/{exercise}/{number}/hand-in.json", partial(Stored.of, folder), ""
                )
            except DamagedError as error:
                damaged.append(Stored(folder, Student(place), exercise, int(number), "", "", damage=error.problem))
            else:
                known[place] = stored.student
                yield stored
        if damaged:
            with suppress(ExplainedError):
                known = {folder_name(e.student.id): e.student for e in self.order().roster.entries} | known
        for stored in damaged:
            yield replace(stored, student=known.get(stored.student.id, stored.student))


def _is(stored: Stored, attempt: Attempt, mine: Sequence[Stored], after: Stored | None, alone: bool) -> bool:
    """Whether an attempt with the same content is the one that is kept already."""
    if stored.submitted and attempt.submitted:
        return stored.submitted == attempt.submitted
    if after is not None:
        return stored.number > after.number or stored.digest == after.digest
    # Of a download with the last attempts alone, nothing else tells that it was handed in once more
    return not alone or stored.number == max(other.number for other in mine)


def _attempts(hand_ins: Path) -> Iterator[Path]:
    """The folders of all attempts, and what stands in place of one: a link or a file, of which nothing will be read."""
    for student in _entries(hand_ins):
        if not re.fullmatch("(.+-)?[0-9a-f]{8}", student.name):
            continue
        for exercise in (
            _entries(student) if _is_folder(student) else [student / name for name in lessons.meant().names]
        ):
            if exercise.name not in lessons.meant().names:
                continue
            for attempt in _entries(exercise) if _is_folder(exercise) else [exercise / "1"]:
                # A folder counts when it has its hand-in.json, unless that was lost and something else is left of it
                if re.fullmatch("[1-9][0-9]{0,5}", attempt.name) and (not _is_folder(attempt) or _holds_any(attempt)):
                    yield attempt


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, for as long as it is one."""
    try:
        return [Path(entry) for entry in os.scandir(folder)]
    except OSError:
        return []


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _holds_any(attempt: Path) -> bool:
    return any(os.path.lexists(attempt / name) for name in ("hand-in.json", "graded"))
