"""The points that a course gives for checks, in place of the rubric's. Stored results keep the rubric's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graders.harness import lessons
from graders.harness.checking import points
from graders.harness.result import CheckResult, Result

Weights = Mapping[str, float]
"""Points by check, of one exercise; the others keep the rubric's."""


def adjustable(exercise: str) -> dict[str, float]:
    """The checks of an exercise that have points in the rubric, with these: written answers are marked by a person."""
    return {check: worth for check, worth in points(lessons.meant().rubric(exercise)).items() if worth}


def max_score(exercise: str, weights: Weights) -> float:
    """The points that can be had in an exercise."""
    return round(sum((points(lessons.meant().rubric(exercise)) | dict(weights)).values()), 2)


def weighted(result: Result, weights: Weights) -> Result:
    """The result with the points of the course: of each check the same share of them, earned, lost or undecided.

    A check that is worth nothing is left out, so that nobody has to decide it.
    """
    counting = (check for check in result.checks if weights.get(check.id) != 0)
    checks = (_weighted(check, weights[check.id]) if check.id in weights else check for check in counting)
    return replace(result, checks=tuple(checks))


def _weighted(check: CheckResult, worth: float) -> CheckResult:
    if not check.worth:
        return check
    undecided = round(worth * check.undecided / check.worth, 2)
    decided = round(worth - undecided, 2)
    score = min(round(worth * check.score / check.worth, 2), decided)
    return replace(check, score=score, max_score=decided, undecided=undecided)
