"""The rules of a course: which attempt counts, when a hand-in is late, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta


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

    def days_late(self, exercise: str, submitted: datetime | None, own: datetime | None) -> int:
        """How many days have begun since it was due, for this student by the ``own`` deadline; 0 where that is not known."""
        due = own or self.due.get(exercise)
        if due is None or submitted is None or submitted <= due:
            return 0
        return math.ceil((submitted - due) / timedelta(days=1))

    def penalty(self, days: int, of: float) -> float:
        """Points lost for so many days of an exercise that is worth ``of``."""
        return round(of * self.late_penalty / 100 * days, 2)
