"""Likeness: hand-ins that are more alike than independent work is, for a person to look at."""

from __future__ import annotations

from dataclasses import dataclass

from graders.batch.gradebook import Student


@dataclass(frozen=True)
class Likeness:
    """Students whose hand-ins for an exercise are alike: a reason to look, and never a verdict.

    ``kind`` names in a few words how they are alike, such as "same adapter"; what is of one kind is listed together.
    ``what`` says in a sentence what is alike, ``measure`` how much, such as "every number, rank 4 and 16".
    """

    kind: str
    students: tuple[Student, ...]
    exercise: str
    what: str
    measure: str
