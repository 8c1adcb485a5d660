"""The rules of a course: which attempt counts, when a hand-in is late, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from graders.harness.course.people import known_as
from graders.harness.marks import Student, letters, name_keys


@dataclass(frozen=True)
class Extension:
    """More time for a person, by id, login, e-mail or name, for one exercise."""

    person: str
    exercise: str
    due: datetime

    def is_for(self, student: Student, exercise: str) -> bool:
        """Whether it is meant for this one."""
        return exercise == self.exercise and bool(
            {*known_as(student)} & {letters(self.person), *name_keys(self.person)}
        )


@dataclass(frozen=True)
class Rules:
    """The rules of a course.

    ``attempts`` is "last" or "best". Hand-ins for an exercise are late after it was ``due`` and ``grace`` has passed, unless
    the roster or one of ``extensions`` gives a student more time. ``late_penalty`` is what each day that has begun since it
    was due costs, in per cent of its points. ``weights`` are the points of checks, by exercise and check, where they are not
    the rubric's.
    """

    exercises: tuple[str, ...]
    attempts: str = "last"
    due: Mapping[str, datetime] = field(default_factory=dict)
    late_penalty: float = 0.0
    grace: timedelta = timedelta()
    extensions: tuple[Extension, ...] = ()
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def days_late(
        self, exercise: str, submitted: datetime | None, own: datetime | None = None, student: Student | None = None
    ) -> int:
        """How many days have begun since it was due; 0 where that is not known.

        A student's ``own`` deadline, from the roster, and an extension give more time, and never less.
        """
        due = self.due.get(exercise)
        if due is None or submitted is None:
            return 0
        more = [one.due for one in self.extensions if student and one.is_for(student, exercise)]
        due = max([due, *more, *([own] if own else [])])
        return 0 if submitted <= due + self.grace else math.ceil((submitted - due) / timedelta(days=1))

    def penalty(self, days: int, of: float) -> float:
        """Points lost for so many days of an exercise that is worth ``of``."""
        return round(of * self.late_penalty / 100 * days, 2)
