"""In which order a student reads the checks of an exercise: one thing to look at next, what is open, then what holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from graders.harness.result import CheckResult, Outcome, Result

_LEFT_NOTHING = "Nothing of this was there when the notebook ended early."
_OPEN = (Outcome.FAILED, Outcome.GRADER_FAULT, Outcome.AWAITING_REVIEW)


@dataclass(frozen=True)
class Reading:
    """The checks of a result, each in one of three places.

    ``open`` are those with something to read. ``unchecked`` are those that there is nothing to do about, by what is in their
    way. ``holding`` are those that passed. ``next`` is the one of the open ones to begin with: the first that failed, unless
    the notebook ended early, which comes before all of them.
    """

    next: CheckResult | None
    open: tuple[CheckResult, ...]
    unchecked: Mapping[str, tuple[CheckResult, ...]]
    holding: tuple[CheckResult, ...]

    @property
    def standing(self) -> str:
        """How many checks hold; written answers are none."""
        checks = [*self.open, *(check for those in self.unchecked.values() for check in those), *self.holding]
        count = sum(not check.written for check in checks)
        if len(self.holding) < count:
            return f"{len(self.holding)} of {count} checks hold."
        return f"All {count} checks hold." if count > 1 else "The check holds." if count else ""


def reading(result: Result) -> Reading:
    """The order in which to read a result."""
    whole = result.run["ended"] == "completed"
    open_, holding = [], []
    unchecked: dict[str, list[CheckResult]] = {}
    for check in result.checks:
        if check.outcome is Outcome.PASSED:
            holding.append(check)
        elif check.outcome is Outcome.NOT_REACHED:
            unchecked.setdefault(check.found, []).append(check)
        elif check.outcome is Outcome.FAILED and not check.expected and not whole:
            unchecked.setdefault(_LEFT_NOTHING, []).append(check)
        else:
            open_.append(check)
    failed = (check for check in open_ if check.outcome is Outcome.FAILED and whole)
    by_outcome = tuple(sorted(open_, key=lambda check: _OPEN.index(check.outcome)))
    return Reading(next(failed, None), by_outcome, {cause: (*some,) for cause, some in unchecked.items()}, (*holding,))


def together(checks: Iterable[CheckResult]) -> str:
    """The points of several checks, such as 0/7; "" where there are none."""
    score, of = (sum(worth) for worth in zip(*((check.score, check.max_score) for check in checks), strict=True))
    return f"{round(score, 2):g}/{round(of, 2):g}" if of else ""
