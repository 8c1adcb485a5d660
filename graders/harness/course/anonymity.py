"""Grading without names: students are numbers in the results, and a file that lies elsewhere says who is who."""

from __future__ import annotations

import csv
import secrets
from dataclasses import replace
from pathlib import Path

from graders.harness.course.discovery import NO_NOTEBOOK, HandIns
from graders.harness.course.people import match
from graders.harness.course.roster import Roster
from graders.harness.data.cells import csv_file
from graders.harness.data.saving import save
from graders.harness.errors import ExplainedError
from graders.harness.marks import Student

_COLUMNS = ("pseudonym", "id", "name", "login", "sis_id", "email")


class KeyFileError(ExplainedError):
    """A file that does not say who is who, or lies where it must not."""


class Key:
    """Who is who: students by their pseudonyms, in a CSV file that is made if need be."""

    def __init__(self, path: Path, results: Path) -> None:
        self.path = path
        if path.resolve().is_relative_to(results.resolve()):
            raise KeyFileError(
                "The key file would lie among the results that it is the key to.", "Name a file outside of that folder."
            )
        self.students: dict[str, Student] = {}
        if path.exists():
            try:
                with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                    for row in csv.DictReader(file, strict=True):
                        self.students[row["pseudonym"]] = Student(*(row[name] for name in _COLUMNS[1:]))
            except (OSError, KeyError, ValueError, csv.Error):
                raise KeyFileError(f"{path} does not say who is who.", "Name the file that --anonymous made.") from None

    def pseudonym(self, student: Student) -> Student:
        """What a student is called in the results; a new number for a new one."""
        for pseudonym, known in self.students.items():
            if known.id == student.id:
                return Student(pseudonym)
        while (pseudonym := f"student-{secrets.randbelow(90_000) + 10_000}") in self.students:
            pass
        self.students[pseudonym] = student
        return Student(pseudonym)

    def save(self) -> None:
        """Write the file; nobody else may read it."""
        rows = [_COLUMNS, *((p, s.id, s.name, s.login, s.sis_id, s.email) for p, s in self.students.items())]
        try:
            save(csv_file(rows, errors="surrogateescape"), self.path, mode=0o600)
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be written: {error.strerror}.", "Name another file.") from None


def hide(found: HandIns, roster: Roster, key: Key) -> tuple[HandIns, Roster]:
    """The hand-ins and the roster without names. What files were called, which often is a name, goes as well."""
    attempts = []
    people = match(found.exercises, roster)
    hidden = {student: key.pseudonym(people.entry(student).student) for student in found.exercises}
    groups: dict[str, str] = {"": ""}  # named after the one of their members whose number comes first
    for attempt in found.attempts:
        if attempt.group:
            number = hidden[attempt.student].id
            groups[attempt.group] = min(groups.get(attempt.group, number), number)
    for attempt in found.attempts:
        student = hidden[attempt.student]
        problem = NO_NOTEBOOK if attempt.problem.startswith(NO_NOTEBOOK) else attempt.problem
        attempts.append(
            replace(
                attempt,
                student=student,
                file=f"{attempt.exercise}.ipynb",
                problem=problem,
                group=groups[attempt.group],
                others=("another one",) * len(attempt.others),
            )
        )
    entries = tuple(replace(entry, student=key.pseudonym(entry.student), groups=()) for entry in roster.entries)
    key.save()
    return replace(found, attempts=attempts, strays=[]), Roster(entries)
