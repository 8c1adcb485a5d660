"""A second run of the same notebook on other input: what holds for one input only was written down, not computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graders.harness.result import CheckResult, Outcome
from graders.harness.rubric import NotReached, Undecided, Verdict, fail

HARD_CODED = "hard-coded"
"""The misconception of a hand-in that is right for one input only."""


@dataclass(frozen=True)
class Again:
    """The second run, checked: the names of the parameters that were other ones, and how every check ended.

    ``error`` says, in words, how the second run ended if it did not reach the notebook's end.
    """

    changed: Sequence[str]
    error: str | None
    checks: Mapping[str, CheckResult]

    def compare(self, verdict: Verdict) -> None:
        """Earn the share of all points looked at that is earned in both runs; fail if a check holds in the first run only.

        Not reached where something was wrong in the first run already. Raises :class:`Undecided` where nothing is known
        against the hand-in, but not everything is known.
        """
        first = {name: verdict.outcomes[name].result for name in self.checks}
        pairs = [(first[name], second) for name, second in self.checks.items()]
        of = sum(one.worth for one, _ in pairs) or 1.0
        earned = sum(min(one.score, two.score) for one, two in pairs)
        open_ = sum(min(max(one.undecided, two.undecided), one.worth - min(one.score, two.score)) for one, two in pairs)
        verdict.earn(earned / of, open_ / of)
        lost = [
            two
            for one, two in pairs
            if one.outcome is Outcome.PASSED and two.outcome in (Outcome.FAILED, Outcome.NOT_REACHED)
        ]
        listed = " and ".join(filter(None, [", ".join(self.changed[:-1]), self.changed[-1]]))
        inputs = f"other values of {listed}" if len(self.changed) > 1 else f"another value of {listed}"
        known = {said for one, _ in pairs if one.outcome is Outcome.FAILED for said in _said(one)}
        if lost := [two for two in lost if not two.found or not _said(two) <= known]:
            # What was not reached is told by what it was waiting for
            failed = [two for two in (*lost, *self.checks.values()) if two.outcome is Outcome.FAILED]
            self._fail(failed or lost, inputs)
        if wrong := [name for name, one in first.items() if one.score < one.max_score]:
            raise NotReached(wrong[0])
        if waiting := [check for pair in pairs for check in pair if check.undecided]:
            raise Undecided(waiting[0].title, broken=any(check.outcome is Outcome.GRADER_FAULT for check in waiting))
        verdict.found(f"with {inputs}, your answers stay right")

    def _fail(self, lost: Sequence[CheckResult], inputs: str) -> None:
        first = lost[0]
        how = f"the notebook stops ({self.error})." if self.error else f"“{first.title}” no longer holds: {first.found}"
        fail(
            f"With {inputs}, {how}",
            expected="answers that are computed from the parameters, and so are right for other input, too",
            hint="Look for numbers, names and paths that you typed in where a parameter, or something computed from it, "
            "belongs. Change the parameters yourself and run all cells again.",
            misconception=next((check.misconception for check in lost if check.misconception), HARD_CODED),
        )


def _said(check: CheckResult) -> set[str]:
    """What is said of a check, whichever of its parts it is said of."""
    return {line.partition(": ")[2] or line for line in check.found.splitlines()}
