"""Bringing a gradebook and a course system's own file together: which row is whose, and what fits a column."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from graders.harness.data.cells import number
from graders.harness.data.values import one_line
from graders.harness.gradebooks.sheet import SheetError
from graders.harness.marks import Grade, Status, Student, name_keys

_KINDS = ("id", "sis_id", "login", "email", "name")
"""By what a row and a student are known to be the same, the surest first."""


@dataclass(frozen=True)
class Merged:
    """A course system's file with our scores in it, and what its user should know.

    ``columns`` maps each exercise to the header of the column it went to. ``unplaced`` are students of the gradebook that
    no row is about, ``unmatched`` rows that are about no student, as they call them. ``kept`` are cells that stayed as they
    were although there is a score, because the system says that the exercise does not count for that student.
    ``provisional`` are scores that went in and may still change: there is an answer to read. ``undecided`` are those that
    did not go in, because points are neither given nor lost yet.
    ``renamed`` are students whose row has another name than they have here, with that name: they changed it, or their id
    is from another course system and by chance somebody else's.
    """

    content: bytes
    columns: Mapping[str, str]
    unplaced: tuple[Student, ...] = ()
    unmatched: tuple[str, ...] = ()
    kept: tuple[tuple[Student, str], ...] = ()
    provisional: tuple[tuple[Student, str], ...] = ()
    undecided: tuple[tuple[Student, str], ...] = ()
    renamed: tuple[tuple[Student, str], ...] = ()


def pair(rows: Sequence[Student], students: Sequence[Student]) -> dict[int, int]:
    """Which of the students each row is about, as indices; a row or student without an equal has none.

    They are compared by id, then by what is left by SIS id, login, e-mail and name. What two have in common tells
    neither. Somebody of whom nothing but an id is known, such as the name of a folder, may be known by any of these.
    """
    known = [student if _details(student) else _called(student.id) for student in students]
    pairs: dict[int, int] = {}
    for kind in _KINDS:
        placed = set(pairs.values())
        ours = _unique((key, i) for i, one in enumerate(known) if i not in placed for key in _keys(kind, one))
        theirs = _unique((key, i) for i, one in enumerate(rows) if i not in pairs for key in _keys(kind, one))
        both = {(theirs[key], ours[key]) for key in theirs.keys() & ours.keys()}
        times = Counter(side for row, student in both for side in (("row", row), ("student", student)))
        pairs |= {row: i for row, i in both if times["row", row] == times["student", i] == 1}
    return pairs


def unplaced(students: Sequence[Student], pairs: Mapping[int, int]) -> tuple[Student, ...]:
    """The students whom no row is about."""
    placed = set(pairs.values())
    return tuple(student for i, student in enumerate(students) if i not in placed)


def renamed(
    rows: Sequence[Student], students: Sequence[Student], pairs: Mapping[int, int]
) -> tuple[tuple[Student, str], ...]:
    """The students whose row has another name than they have, with that name."""
    named = [(rows[row], students[i]) for row, i in sorted(pairs.items()) if rows[row].name and students[i].name]
    return tuple((student, row.name) for row, student in named if not {*_keys("name", row)} & {*_keys("name", student)})


def _details(student: Student) -> bool:
    return any((student.name, student.login, student.sis_id, student.email))


def _called(known: str) -> Student:
    return Student(known, known, known, known, known)


def _unique(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    found = defaultdict(set)
    for key, index in items:
        found[key].add(index)
    return {key: indices.pop() for key, indices in found.items() if len(indices) == 1}


def _keys(kind: str, student: Student) -> Iterator[str]:
    text = getattr(student, kind)
    return filter(None, name_keys(text) if kind == "name" else [text.strip().casefold()])


def scores(grades: Sequence[Grade]) -> tuple[float, float] | None:
    """Points for these exercises, and of how many; None where a course system should keep what it has.

    That is so if one of them is in trouble, and has no score yet, or has undecided points, or if nothing was handed in for
    any. A course system knows what is missing, says so to its students, and has rules for it that the instructor chose; a 0
    of ours would look like a grade that somebody gave.
    """
    counting = [grade for grade in grades if grade.status is not Status.EXEMPT]
    booked = [grade.booked for grade in counting if grade.booked is not None]
    if len(booked) < len(counting) or all(grade.status is Status.MISSING for grade in counting):
        return None
    return round(sum(booked), 2), sum(grade.of for grade in counting)


def fitting(score: float, of: float, worth: float, what: str, whose: str, scale: bool) -> float:
    """The score in a column that is worth ``worth`` points; :class:`SheetError` if that takes scaling it, unasked."""
    if math.isclose(of, worth):
        return score
    if not scale or not of:
        raise SheetError(
            f"{what} is worth {number(of)} points{whose}, and the column {number(worth)}.",
            "Make it the same in the course system and export the file again, or allow scaling.",
        )
    return round(score * worth / of, 2)


def positive(text: str) -> float | None:
    """A number as course systems write it, with a decimal point or comma; None if it is none, or not more than 0."""
    # Groups of three digits only where a fraction follows, or "1,500" would be one and a half
    grouped = re.fullmatch(r"\s*(\d{1,3}(?:([,.' \u00a0\u202f])\d{3})+)([.,]\d+)\s*", text)
    if grouped and grouped[2] != grouped[3][0]:
        text = re.sub(r"\D", "", grouped[1]) + grouped[3]
    match = re.fullmatch(r"\s*(\d+)(?:[.,](\d+))?\s*", text)
    return (float(f"{match[1]}.{match[2] or 0}") or None) if match else None


def listed(names: Iterable[Hashable]) -> str:
    """Names in a sentence: each on one line, and not too many of them."""
    shown = [repr(one_line(str(name), 80)) for name in names]
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return (", ".join(shown[:20]) or "none") + more
