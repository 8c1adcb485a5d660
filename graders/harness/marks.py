"""The gradebook: who handed in what, and what each is worth. Every report and every course system's file is made of it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from graders.harness.result import Result


@dataclass(frozen=True)
class Student:
    """Someone of the course. ``id`` is unique in a batch; the others are empty where they are not known.

    ``id`` is what the course system's folders or files are named by: Canvas's user id, Moodle's participant number,
    nbgrader's student id. ``login`` and ``sis_id`` are the course system's login name and the institution's number.
    """

    id: str
    name: str = ""
    login: str = ""
    sis_id: str = ""
    email: str = ""

    @property
    def shown(self) -> str:
        """What people call them."""
        return self.name or self.id


def letters(name: str) -> str:
    """What is left of a name when it is written otherwise: case, accents composed or not, what is no letter or digit."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())


def name_parts(name: str) -> list[str]:
    """The parts of a name, in small letters."""
    words = re.split(r"[\W_]+", unicodedata.normalize("NFKC", name).casefold().replace("'", "").replace("’", ""))
    return [word for word in words if word]


def name_keys(name: str) -> list[str]:
    """What a name may be written as in letters alone: `Ada Lovelace`, `Lovelace, Ada` and `lovelaceada` have one in common."""
    parts = name_parts(name)
    return [*dict.fromkeys("".join(parts[start:] + parts[:start]) for start in range(len(parts)))]


def folder_name(student_id: str) -> str:
    """A short name for a folder that every file system takes, and that no two students share."""
    ascii_only = unicodedata.normalize("NFKD", student_id).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9]+", "-", ascii_only).strip("-")[:40]
    digest = hashlib.sha256(student_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable}-{digest}" if readable else digest


class Status(StrEnum):
    """What became of a student's exercise."""

    GRADED = "graded"
    REFUSED = "refused"
    """There is a hand-in, but nothing in it can be graded, such as a file that is no notebook. It has no points."""
    MISSING = "missing"
    """Nothing was handed in. It has no points."""
    EXEMPT = "exempt"
    """It does not count for this student."""
    TROUBLE = "trouble"
    """It could not be graded for reasons of the machine, and awaits an instructor. It has no score, which is not 0."""


@dataclass(frozen=True)
class Grade:
    """What a student has for one exercise.

    ``max_score`` and ``max_written`` are the points to be had from the graders and for written answers. ``written`` are the
    points that a person gave, None before all answers were read. ``penalty`` are the points lost for being late. ``note``
    says in a sentence why there is no result, or what a person should look at. ``folder`` keeps the run. ``group`` names
    those who handed it in together. ``missing`` are modules that the notebook imports and that nobody has yet said what they
    are of. ``damage`` names the stored file because of which an attempt does not count until it is graded again.
    ``graded_as`` is the id of the result as the graders gave it; in ``result`` points are those of the course, and a person
    may have changed them.
    """

    exercise: str
    status: Status
    max_score: float
    max_written: float
    result: Result | None = None
    written: float | None = None
    penalty: float = 0.0
    submitted: datetime | None = None
    late: bool = False
    attempt: int = 1
    attempts: int = 1
    file: str = ""
    note: str = ""
    folder: Path | None = None
    damage: str = ""
    graded_as: str = ""
    missing: tuple[str, ...] = ()
    group: str = ""

    @property
    def earned(self) -> float | None:
        """Points from the graders and a person before the penalty; None where there is no score."""
        if self.status in (Status.EXEMPT, Status.TROUBLE):
            return None
        return round((self.result.score if self.result else 0.0) + (self.written or 0.0), 2)

    @property
    def score(self) -> float | None:
        """Points earned, without those lost for being late; None where there is no score.

        More may come: see :attr:`undecided`.
        """
        return None if self.earned is None else max(0.0, round(self.earned - self.penalty, 2))

    @property
    def undecided(self) -> float:
        """Points of checks that are neither given nor lost yet: a grader broke, or a person has to look."""
        return self.result.undecided if self.result else 0.0

    @property
    def booked(self) -> float | None:
        """The score for files that other systems import; None where there is none, or where points are undecided."""
        return None if self.undecided else self.score

    @property
    def of(self) -> float:
        """Points that can be had."""
        return self.max_score + self.max_written

    @property
    def final(self) -> bool:
        """Whether nobody has to look at it any more: no answer to read, no trouble, nothing undecided."""
        if self.status is Status.TROUBLE:
            return False
        if self.result is None:
            return True
        unread = self.max_written > 0 and self.written is None
        return not unread and self.result.final


@dataclass(frozen=True)
class Record:
    """One student with a grade for every exercise of the gradebook.

    ``handed_in_as`` is what the course system calls them that their hand-ins came from, if anything came: its number may be
    another than that of the roster.
    """

    student: Student
    grades: Mapping[str, Grade]
    handed_in_as: Student | None = None

    @property
    def in_its_system(self) -> Student:
        """The student by the number of the course system that the hand-ins came from."""
        return replace(self.student, id=self.handed_in_as.id) if self.handed_in_as else self.student

    @property
    def score(self) -> float | None:
        """Points of all exercises that have a score; None if none has."""
        scores = [grade.score for grade in self.grades.values() if grade.score is not None]
        return round(sum(scores), 2) if scores else None

    @property
    def undecided(self) -> float:
        """Points of all exercises that are neither given nor lost yet."""
        return round(sum(grade.undecided for grade in self.grades.values()), 2)

    @property
    def booked(self) -> float | None:
        """The score for files that other systems import; None where an exercise that counts has none to be booked."""
        counting = [grade for grade in self.grades.values() if grade.status is not Status.EXEMPT]
        return None if any(grade.booked is None for grade in counting) else self.score

    @property
    def of(self) -> float:
        """Points to be had in the exercises that count for this student."""
        return sum(grade.of for grade in self.grades.values() if grade.status is not Status.EXEMPT)


@dataclass(frozen=True)
class Gradebook:
    """A whole course: its exercises with their titles, and a record for each student, in the order of their names."""

    titles: Mapping[str, str]
    records: tuple[Record, ...]

    @property
    def exercises(self) -> tuple[str, ...]:
        """The names of the exercises."""
        return tuple(self.titles)
