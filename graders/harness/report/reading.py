"""In which order a student reads the checks of an exercise: one thing to look at next, what is open, then what holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from graders.harness.report import wording
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


def named(checks: Sequence[CheckResult]) -> str:
    """What to call checks that stand together: the title of one, the number of several."""
    return checks[0].title if len(checks) == 1 else f"{len(checks)} checks"


def together(checks: Sequence[CheckResult]) -> str:
    """The points of several checks as those of one, such as 0/7; "" where there are none."""
    sums = {name: round(sum(getattr(c, name) for c in checks), 2) for name in ("score", "max_score", "undecided")}
    whole = replace(checks[0], **sums)
    return wording.points(whole) if whole.worth else ""
