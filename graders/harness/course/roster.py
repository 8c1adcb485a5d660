"""The roster: who is in the course, what counts for them, and by when they hand in."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError
from graders.harness.marks import Student, letters
from graders.lesson import EXERCISES


class RosterError(ExplainedError):
    """A file that is no list of students."""


@dataclass(frozen=True)
class Entry:
    """A student of the course, the exercises that do not count for them, and a later date by which they hand in."""

    student: Student
    exempt: frozenset[str] = frozenset()
    due: datetime | None = None


_COLUMNS = {
    "id": ("id", "student_id", "identifier", "user id"),
    "name": ("name", "student", "full name", "first name", "fullname"),
    "login": ("login", "username", "sis login id", "user name"),
    "sis_id": ("sis_id", "sis user id", "id number", "orgdefinedid", "sid"),
    "email": ("email", "email address", "e-mail"),
    "exempt": ("exempt", "excused"),
    "due": ("due", "extension"),
}
"""What course systems call the columns of their exports, in small letters."""


@dataclass(frozen=True)
class Roster:
    """The students of a course, in the order of the list; empty if there is none."""

    entries: tuple[Entry, ...] = ()
    _found: dict[str, Entry] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for kind in ("name", "email", "sis_id", "login", "id"):  # what says most comes last, and wins
            keys = [(letters(getattr(entry.student, kind)), entry) for entry in self.entries]
            times = Counter(key for key, _ in keys)  # what two students share tells neither
            self._found.update({key: entry for key, entry in keys if key and times[key] == 1})

    def find(self, student: Student) -> Entry | None:
        """The entry of someone who handed in, by id, login, number, e-mail or name."""
        for known in (student.id, student.login, student.sis_id, student.email, student.name):
            if (key := letters(known)) and (entry := self._found.get(key)):
                return entry
        return None


def read(path: Path) -> Roster:
    """The students in a CSV file: our own columns (id, name, login, sis_id, email, exempt, due), or a course system's.

    Canvas's export of its gradebook, Moodle's grading worksheet and Brightspace's export will do. ``exempt`` names
    exercises, or is "all"; ``due`` is a date and time, in UTC unless it says otherwise. Raises :class:`RosterError`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            rows = list(csv.DictReader(file, delimiter=";" if header.count(";") > header.count(",") else ","))
    except OSError as error:
        raise RosterError(f"The list of students {path} cannot be read: {error.strerror}.", "Check its path.") from None
    except (UnicodeDecodeError, csv.Error):
        raise RosterError(
            f"{path.name} is no CSV file in UTF-8.", "Export it again, or save it as CSV UTF-8."
        ) from None
    columns = {kind: header for kind in _COLUMNS for header in (rows[0] if rows else ()) if _named(kind, header)}
    if not columns.keys() & {"id", "name", "login", "sis_id"}:
        raise RosterError(
            f"{path.name} has no column that says who the students are.",
            "Name the columns id, name, login, sis_id, email, exempt, due; at least one of the first four.",
        )
    return Roster(tuple(_entries(rows, columns, path.name)))


def _named(kind: str, header: str | None) -> bool:
    return header is not None and header.strip().lower() in _COLUMNS[kind]


def _entries(rows: Iterable[Mapping[str, str | None]], columns: Mapping[str, str], file: str) -> Iterable[Entry]:
    for line, row in enumerate(rows, start=2):
        said = {kind: (row.get(header) or "").strip() for kind, header in columns.items()}
        # Canvas says below its header how many points there are, and lists somebody who is not there
        if said.get("name") in ("Points Possible", "Student, Test") or not any(said.values()):
            continue
        # Moodle counts its participants: "Participant 123" hands in a folder named by that number
        number = re.fullmatch(r"\D+(\d+)", said.get("id", ""))
        identity = number[1] if number and "id" in columns and columns["id"].strip().lower() == "identifier" else None
        student_id = identity or said.get("id") or said.get("login") or said.get("sis_id") or said.get("name") or ""
        student = Student(student_id, *(said.get(kind, "") for kind in ("name", "login", "sis_id", "email")))
        yield Entry(student, _exempt(said.get("exempt", ""), file, line), _due(said.get("due", ""), file, line))


def _exempt(text: str, file: str, line: int) -> frozenset[str]:
    if text.lower() in ("all", "yes", "true"):
        return frozenset(EXERCISES)
    names = frozenset(re.findall(r"\w+", text.lower()))
    if names - set(EXERCISES):
        raise RosterError(
            f"{file}, row {line}: {one_line(text, 60)!r} names no exercises.",
            f"Write some of {', '.join(EXERCISES)} into the column, or all.",
        )
    return names


def _due(text: str, file: str, line: int) -> datetime | None:
    try:
        return moment(text) if text else None
    except ValueError:
        raise RosterError(
            f"{file}, row {line}: {one_line(text, 60)!r} is no date and time.", "Write it as 2026-11-30 23:59."
        ) from None


def moment(text: str) -> datetime:
    """A date and time such as `2026-11-30 23:59+01:00`; in UTC unless it says otherwise. ValueError if it is none."""
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
