"""The folder of results: a folder for each attempt, of which every gradebook and report can be made again at any time.

    batch.json                   what was graded, and by which rules
    hand-ins/STUDENT/ex3/1/      a student's first attempt at exercise 3:
        hand-in.json                 whose it is, when it came, and what became of it
        ex3.ipynb                    as it was handed in
        graded/                      its runs, its result, and the log of the graders' faults

A file is written beside its place and renamed there, and a folder counts when it has its ``hand-in.json``, so that a
kill at any moment loses no more than what was in flight.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from graders.harness.course.discovery import Attempt
from graders.harness.course.roster import Entry, Roster
from graders.harness.course.tree import natural
from graders.harness.data import documents, files
from graders.harness.data.documents import DamagedError, Fields
from graders.harness.data.saving import make_folder, put, set_aside
from graders.harness.data.values import Malformed
from graders.harness.errors import ExplainedError
from graders.harness.marks import Status, Student
from graders.harness.result import Result, of_document
from graders.harness.run.notebook import MAX_BYTES
from graders.lesson import EXERCISES
from graders.lora.profile import beside

SCHEMA_VERSION = 1


class StoreError(ExplainedError):
    """A folder of results that cannot be used."""


@dataclass(frozen=True)
class Rules:
    """The rules of a course.

    ``attempts`` is "last" or "best". Hand-ins for an exercise are late after it was ``due``, unless the roster gives a
    student more time, and ``late_penalty`` is what each day that has begun since then costs, in per cent of its points.
    """

    exercises: tuple[str, ...]
    attempts: str = "last"
    due: Mapping[str, datetime] = field(default_factory=dict)
    late_penalty: float = 0.0


@dataclass(frozen=True)
class Order:
    """What was to be graded: by which rules, for whom, in which layout it came, and what could not be assigned."""

    rules: Rules
    roster: Roster
    layout: str
    strays: tuple[str, ...] = ()
    anonymous: bool = False


@dataclass(frozen=True)
class Stored:
    """An attempt in the folder of results; ``status`` is None until something has become of it.

    ``digest`` is a hash of what was handed in. ``problem`` and ``fix`` say why there is no result. ``damage`` is what makes
    its own record unusable: of such an attempt no more is known than the folder says.
    """

    folder: Path
    student: Student
    exercise: str
    number: int
    file: str
    digest: str
    submitted: datetime | None = None
    late: bool = False
    status: Status | None = None
    problem: str = ""
    fix: str = ""
    damage: str = ""

    @property
    def mend(self) -> str:
        """What to do about damage in it."""
        return f"Grade it again: grade batch HAND-INS -o {self.folder.parents[3]}, with the options as before."

    @property
    def notebook(self) -> Path:
        """The notebook as it was handed in."""
        return self.folder / f"{self.exercise}.ipynb"

    @property
    def graded(self) -> Path:
        """The folder that grading leaves."""
        return self.folder / "graded"

    @property
    def result(self) -> Result | None:
        """The result, if there is one; :class:`DamagedError` if what is stored is not what grading left of this hand-in."""
        if self.damage:
            raise DamagedError(self.damage, self.mend)
        if self.status is not Status.GRADED:
            return None
        runs = [path.name for path in (self.graded / "run", self.graded / "again") if os.path.lexists(path)]
        kept = [f"{self.exercise}.ipynb", *(f"graded/{name}/notebook.ipynb" for name in runs)]
        for name in kept:
            try:
                content = files.read_file(self.folder, name, MAX_BYTES)
            except FileNotFoundError:
                raise DamagedError(f"{self.folder / name} is missing.", self.mend) from None
            except (files.Refused, OSError) as error:
                raise DamagedError(f"{self.folder} cannot be used: {error}.", self.mend) from None
            if hashlib.sha256(content).hexdigest() != self.digest:
                raise DamagedError(f"{self.folder / name} is not the notebook that was handed in.", self.mend)
        beside(self.graded)  # the profile that it was graded with
        result = documents.read(self.folder, "graded/result.json", of_document, self.mend)
        if result.exercise != self.exercise:
            raise DamagedError(f"{self.graded / 'result.json'} is the result of another exercise.", self.mend)
        return result

    def holds(self, digest: str) -> bool:
        """Whether the notebook that is kept is the one with this hash."""
        try:
            return hashlib.sha256(files.read_file(self.folder, self.notebook.name, MAX_BYTES)).hexdigest() == digest
        except (files.Refused, OSError):
            return False

    def concluded(self, status: Status, problem: str = "", fix: str = "") -> Stored:
        """What has become of it, written down."""
        stored = replace(self, status=status, problem=problem, fix=fix)
        stored.save()
        return stored

    def save(self) -> None:
        """Write everything but the notebook."""
        document = {key: value for key, value in asdict(self).items() if key not in ("folder", "damage")}
        _write(self.folder / "hand-in.json", document)

    def set_damage_aside(self) -> Stored:
        """Make room for grading it again: what is damaged of it stays there under another name."""
        if not os.path.lexists(self.graded):
            return self if self.status is not Status.GRADED else self._forgotten()
        try:
            replace(self, status=Status.GRADED).result  # noqa: B018
        except DamagedError:
            set_aside(self.graded)
            return self._forgotten()
        return self

    def _forgotten(self) -> Stored:
        stored = replace(self, status=None)
        stored.save()
        return stored


class Store:
    """A folder of results, which is made if need be."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known = self._read()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from changing the folder; :class:`StoreError` if one is at work in it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            file = (self.root / ".lock").open("w")
        except OSError as error:
            raise StoreError(
                f"The folder {self.root} cannot be written: {error.strerror}.", "Name another: -o FOLDER"
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(
                    f"Another command is at work in {self.root}.", "Wait for it, or end it with Ctrl-C."
                ) from None
            self._known = self._read()  # another command may have changed it until now
            yield

    def attempts(self) -> list[Stored]:
        """Everybody's attempts."""
        return [stored for attempts in self._known.values() for stored in attempts]

    def deposit(self, attempt: Attempt, content: bytes) -> Stored:
        """Keep an attempt; what this student has handed in for the exercise before is not kept again."""
        digest = hashlib.sha256(content or attempt.problem.encode()).hexdigest()
        mine = self._known.setdefault((attempt.student.id, attempt.exercise), [])
        # Where a record was damaged, the folder's name may be all that told whose it is
        unnamed = self._known.pop((folder_name(attempt.student.id), attempt.exercise), [])
        mine += [replace(stored, student=attempt.student) for stored in unnamed]
        for place, stored in enumerate(mine):
            if stored.damage and stored.holds(digest):  # its record alone is damaged: it gets a new one
                set_aside(stored.folder / "hand-in.json")
                mine[place] = stored = replace(
                    stored, student=attempt.student, file=attempt.file, digest=digest, damage=""
                )
                stored.save()
            if not stored.damage and stored.digest == digest:
                if content and not stored.holds(digest):
                    set_aside(stored.notebook)
                    stored.notebook.write_bytes(content)
                known = replace(
                    stored, student=attempt.student, submitted=attempt.submitted or stored.submitted, late=attempt.late
                )
                if known != stored:
                    known.save()
                    mine[place] = known
                return known
        number = max((stored.number for stored in mine), default=0) + 1
        folder = self.root / "hand-ins" / folder_name(attempt.student.id) / attempt.exercise / str(number)
        for level in (folder.parents[1], folder.parent, folder):
            make_folder(level)
        stored = Stored(
            folder,
            attempt.student,
            attempt.exercise,
            number,
            attempt.file,
            digest,
            attempt.submitted,
            attempt.late,
        )
        stored.notebook.write_bytes(content)
        stored.save()
        mine.append(stored)
        return stored

    def update(self, stored: Stored) -> None:
        """Take over what has become of an attempt."""
        mine = self._known[stored.student.id, stored.exercise]
        mine[[s.number for s in mine].index(stored.number)] = stored

    def write_order(self, order: Order) -> None:
        """Write down by which rules and for whom the batch is graded."""
        entries = [{**asdict(e), "exempt": sorted(e.exempt)} for e in order.roster.entries]
        document = {**asdict(order), "roster": entries}
        _write(self.root / "batch.json", {"schema_version": SCHEMA_VERSION, **document})

    def order(self) -> Order:
        """What was written down: the rules, the roster, the layout, and what could not be assigned."""
        if not os.path.lexists(self.root / "batch.json"):
            raise StoreError(f"{self.root} holds no results.", "Make some first: grade batch HAND-INS -o FOLDER")
        return documents.read(
            self.root,
            "batch.json",
            _order,
            f"Grade into it again, which writes it anew: grade batch HAND-INS -o {self.root}, with the options as before.",
        )

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
            names = tuple(name for name in EXERCISES if name in {*order.rules.exercises, *there})
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
            names = tuple(name for name in EXERCISES if name in (*before.rules.exercises, *order.rules.exercises))
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
                    self.root, f"hand-ins/{place}/{exercise}/{number}/hand-in.json", partial(_hand_in, folder), ""
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


def _attempts(hand_ins: Path) -> Iterator[Path]:
    """The folders of all attempts, and what stands in place of one: a link or a file, of which nothing will be read."""
    for student in _entries(hand_ins):
        if not re.fullmatch("(.+-)?[0-9a-f]{8}", student.name):
            continue
        for exercise in _entries(student) if _is_folder(student) else [student / name for name in EXERCISES]:
            if exercise.name not in EXERCISES:
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


def _hand_in(folder: Path, fields: Fields) -> Stored:
    student = _student(fields.object("student"))
    exercise, number = fields.text("exercise"), fields.whole("number", 1)
    if (folder_name(student.id), exercise, str(number)) != folder.parts[-3:]:
        raise Malformed("it belongs into another folder")
    return Stored(
        folder,
        student,
        exercise,
        number,
        fields.text("file"),
        fields.text("digest"),
        fields.moment("submitted"),
        fields.flag("late"),
        None if fields["status"] is None else Status(fields.text("status")),
        fields.text("problem"),
        fields.text("fix"),
    )


def _student(fields: Fields) -> Student:
    return Student(*(fields.text(name) for name in ("id", "name", "login", "sis_id", "email")))


def _order(fields: Fields) -> Order:
    rules = fields.object("rules")
    exercises, attempts = rules.texts("exercises"), rules.text("attempts")
    if not set(exercises) <= set(EXERCISES) or attempts not in ("last", "best"):
        raise Malformed("its rules are for other exercises or attempts")
    due = {name: documents.moment(when, "due") for name, when in rules.object("due").all().items()}
    entries = [_entry(Fields(entry, "an entry of the roster")) for entry in fields.items("roster")]
    return Order(
        Rules(exercises, attempts, due, rules.number("late_penalty", 0, 100)),
        Roster(tuple(entries)),
        fields.text("layout"),
        fields.texts("strays"),
        fields.flag("anonymous"),
    )


def _entry(fields: Fields) -> Entry:
    return Entry(_student(fields.object("student")), frozenset(fields.texts("exempt")), fields.moment("due"))


def folder_name(student_id: str) -> str:
    """A short name for a folder that every file system takes, and that no two students share."""
    ascii_only = unicodedata.normalize("NFKD", student_id).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9]+", "-", ascii_only).strip("-")[:40]
    digest = hashlib.sha256(student_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable}-{digest}" if readable else digest


def _write(path: Path, document: dict[str, Any]) -> None:
    put((json.dumps(document, indent=1, default=datetime.isoformat) + "\n").encode(), path)
