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
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from graders import EXERCISES
from graders.batch.discovery import Attempt
from graders.batch.gradebook import Status, Student
from graders.batch.roster import Entry, Roster
from graders.batch.tree import natural
from graders.errors import ExplainedError
from graders.result import Result, load
from graders.saving import save

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

    ``digest`` is a hash of what was handed in. ``problem`` and ``fix`` say why there is no result.
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
        """The result, if there is one."""
        return load(self.graded / "result.json") if self.status is Status.GRADED else None

    def concluded(self, status: Status, problem: str = "", fix: str = "") -> Stored:
        """What has become of it, written down."""
        stored = replace(self, status=status, problem=problem, fix=fix)
        stored.save()
        return stored

    def save(self) -> None:
        """Write everything but the notebook."""
        _write(self.folder / "hand-in.json", {key: value for key, value in asdict(self).items() if key != "folder"})


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
        for place, stored in enumerate(mine):
            if stored.digest == digest:
                known = replace(
                    stored, student=attempt.student, submitted=attempt.submitted or stored.submitted, late=attempt.late
                )
                if known != stored:
                    known.save()
                    mine[place] = known
                return known
        number = max((stored.number for stored in mine), default=0) + 1
        folder = self.root / "hand-ins" / folder_name(attempt.student.id) / attempt.exercise / str(number)
        folder.mkdir(parents=True, exist_ok=True)
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
        try:
            document = json.loads((self.root / "batch.json").read_text(encoding="utf-8"))
        except OSError:
            raise StoreError(
                f"{self.root} holds no results.", "Make some first: grade batch HAND-INS -o FOLDER"
            ) from None
        rules = document["rules"]
        entries = [
            Entry(Student(**entry["student"]), frozenset(entry["exempt"]), _moment(entry["due"]))
            for entry in document["roster"]
        ]
        return Order(
            Rules(
                tuple(rules["exercises"]),
                rules["attempts"],
                {name: datetime.fromisoformat(when) for name, when in rules["due"].items()},
                rules["late_penalty"],
            ),
            Roster(tuple(entries)),
            document["layout"],
            tuple(document["strays"]),
            document["anonymous"],
        )

    def extend(self, order: Order) -> None:
        """Write down what is to be graded, in addition to what was: other exercises, and students of the same roster."""
        if (self.root / "batch.json").is_file():
            before = self.order()
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
        paths = self.root.glob("hand-ins/*/*/*/hand-in.json")
        for path in sorted(paths, key=lambda path: natural(str(path))):
            fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            fields |= {"student": Student(**fields["student"]), "submitted": _moment(fields["submitted"])}
            fields["status"] = Status(fields["status"]) if fields["status"] else None
            yield Stored(path.parent, **fields)


def folder_name(student_id: str) -> str:
    """A short name for a folder that every file system takes, and that no two students share."""
    ascii_only = unicodedata.normalize("NFKD", student_id).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9]+", "-", ascii_only).strip("-")[:40]
    digest = hashlib.sha256(student_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable}-{digest}" if readable else digest


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _write(path: Path, document: dict[str, Any]) -> None:
    save((json.dumps(document, indent=1, default=datetime.isoformat) + "\n").encode(), path)
