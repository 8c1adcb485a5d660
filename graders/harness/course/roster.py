"""The roster: who is in the course, what counts for them, and by when they hand in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from graders.harness import lessons
from graders.harness.data.spreadsheets import Row, TableError, rows
from graders.harness.data.times import in_zone
from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError
from graders.harness.marks import Student, letters


class RosterError(ExplainedError):
    """A file that is no list of students."""


@dataclass(frozen=True)
class Entry:
    """A student of the course, the exercises that do not count for them, a later date by which they hand in, and the groups
    that they are in.
    """

    student: Student
    exempt: frozenset[str] = frozenset()
    due: datetime | None = None
    groups: tuple[str, ...] = ()


_COLUMNS = {
    "id": ("id", "student_id", "identifier", "user id", "student id", "kennung", "identifiant", "identificador"),
    "name": ("name", "student", "full name", "fullname", "vollständiger name", "nom complet", "nombre completo"),
    "first": ("first name", "firstname", "given name", "vorname", "prénom", "nombre", "nome", "voornaam", "förnamn"),
    "last": (
        "last name", "lastname", "surname", "family name", "nachname", "nom", "nom de famille", "apellido(s)", "apellidos",
        "apellido", "cognome", "sobrenome", "achternaam", "efternamn",
    ),
    "login": (
        "login", "username", "sis login id", "user name", "github_username", "anmeldename", "nom d'utilisateur",
        "nombre de usuario",
    ),
    "sis_id": (
        "sis_id", "sis user id", "id number", "orgdefinedid", "sid", "id-nummer", "matrikelnummer", "numéro d'identification",
        "número de id",
    ),
    "email": (
        "email", "email address", "e-mail", "e-mail-adresse", "adresse de courriel", "dirección de correo",
        "correo electrónico",
    ),
    "role": ("role", "roles", "rolle", "rollen", "rôle", "rôles", "rol", "roles"),
    "groups": (
        "group", "groups", "group_name", "group name", "team", "teams", "gruppe", "gruppen", "groupe", "groupes", "grupo",
        "grupos", "gruppo", "gruppi", "groep", "groepen", "grupp", "grupper",
    ),
    "exempt": ("exempt", "excused"),
    "due": ("due", "extension"),
}  # fmt: skip
"""What course systems call the columns of their exports, in small letters."""
_NOBODY = ("points possible", "student, test", "test student", "points possible (read only)")
_STAFF = re.compile(
    r"\b(?:teacher|instructor|ta|teaching assistant|staff|observer|designer|admin|manager|grader|trainer|dozent|tutor|"
    r"enseignant|profesor|professor|docente)",
    re.IGNORECASE,
)
"""Roles of people who hand in nothing."""


@dataclass(frozen=True)
class Roster:
    """The students of a course, in the order of the list; empty if there is none."""

    entries: tuple[Entry, ...] = ()


def read(path: Path) -> Roster:
    """The students in a CSV file: our own columns (id, name, login, sis_id, email, group, exempt, due), or a course system's.

    Lists and exports of Canvas, Moodle, Brightspace, Blackboard, Gradescope and GitHub Classroom will do. ``group`` names those
    with whom somebody hands in; ``exempt`` names exercises, or is "all"; ``due`` is a date and time, of this machine's zone
    unless it says. Raises :class:`RosterError`.
    """
    listed = _rows(path)
    columns: dict[str, str] = {}
    for header in listed[0][1] if listed else ():
        for kind in (kind for kind in _COLUMNS if _named(kind, header)):
            columns.setdefault(kind, header)
    if not columns.keys() & {"id", "name", "last", "login", "sis_id", "email"}:
        raise RosterError(
            f"{path.name} has no column that says who the students are.",
            "Name the columns id, name, login, sis_id, email, group, exempt, due; at least one of the first five.",
        )
    numbered = _numbered(row.get(columns["id"]) or "" for _, row in listed) if "id" in columns else False
    seen: dict[str, tuple[int, Student]] = {}
    entries = []
    for line, entry in _entries(listed, columns, path.name, numbered):
        first = seen.setdefault(letters(entry.student.id) or entry.student.id, (line, entry.student))
        if first[0] == line:
            entries.append(entry)
        elif first[1] != entry.student:
            raise RosterError(
                f"{path.name}: rows {first[0]} and {line} are both about {one_line(entry.student.id, 40)}, and say that it "
                f"is {one_line(first[1].shown, 40)} and {one_line(entry.student.shown, 40)}.",
                "Give each student a row, and a number or login of their own.",
            )
    return Roster(tuple(entries))


def _rows(path: Path) -> list[tuple[int, Row]]:
    """The rows of a CSV file with the line where each ends."""
    try:
        return rows(path.read_bytes())
    except OSError as error:
        raise RosterError(f"The list of students {path} cannot be read: {error.strerror}.", "Check its path.") from None
    except TableError as error:
        if error.row is None:
            raise RosterError(f"{path.name} is no CSV file.", "Export it again, or save it as CSV UTF-8.") from None
        raise RosterError(
            f"{path.name}, row {error.row}: it cannot be read as CSV ({error}).",
            "Look for a quotation mark that is never closed there.",
        ) from None


def _named(kind: str, header: str | None) -> bool:
    return header is not None and header.strip().lower() in _COLUMNS[kind]


def _numbered(identifiers: Iterable[str]) -> bool:
    """Whether they are what Moodle counts its participants by, in any language: one word and a number."""
    words = {
        match[1] if (match := re.fullmatch(r"(\D{5,}?)\s*\d+", said.strip())) else "" for said in identifiers if said
    }
    return len(words) == 1 and "" not in words


def _entries(
    listed: Iterable[tuple[int, Row]], columns: Mapping[str, str], file: str, numbered: bool
) -> Iterator[tuple[int, Entry]]:
    for line, row in listed:
        said = {kind: (row.get(header) or "").strip() for kind, header in columns.items()}
        name = said.get("name") or f"{said.get('first', '')} {said.get('last', '')}".strip()
        # Canvas says below its header how many points there are, and lists somebody who is not there
        if name.lower() in _NOBODY or not any(said.values()) or _STAFF.search(said.get("role", "")):
            continue
        # "Participant 123" hands in a folder named by that number; Brightspace writes "#" before ids and logins
        identity = re.sub(r"\D", "", said.get("id", "")) if numbered else said.get("id", "")
        login, sis_id, email = (said.get(kind, "").removeprefix("#") for kind in ("login", "sis_id", "email"))
        student_id = identity or login or sis_id or name or email
        student = Student(student_id, name, login, sis_id, email)
        yield (
            line,
            Entry(
                student,
                _exempt(said.get("exempt", ""), file, line),
                _due(said.get("due", ""), file, line),
                _groups(said.get("groups", "")),
            ),
        )


def _groups(text: str) -> tuple[str, ...]:
    """One, whatever is in its name, or several in a row."""
    return tuple(dict.fromkeys(filter(None, (text, *map(str.strip, re.split(r"[;,]", text))))))


def _exempt(text: str, file: str, line: int) -> frozenset[str]:
    if text.lower() in ("all", "yes", "true"):
        return frozenset(lessons.meant().names)
    names = frozenset(re.findall(r"\w+", text.lower()))
    if names - set(lessons.meant().names):
        raise RosterError(
            f"{file}, row {line}: {one_line(text, 60)!r} names no exercises.",
            f"Write some of {', '.join(lessons.meant().names)} into the column, or all.",
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
    """A date and time such as `2026-11-30 23:59+01:00`; one of this machine's zone unless it says. ValueError if it is none."""
    return in_zone(datetime.fromisoformat(text))
