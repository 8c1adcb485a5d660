"""A second run of the same notebook on other input: what holds for one input only was written down, not computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graders.engine import NotReached, Verdict, fail
from graders.result import CheckResult, Outcome


@dataclass(frozen=True)
class Again:
    """The second run, checked: the names of the parameters that were other ones, and how every check ended.

    ``error`` says, in words, how the second run ended if it did not reach the notebook's end.
    """

    changed: Sequence[str]
    error: str | None
    checks: Mapping[str, CheckResult]

    def compare(self, verdict: Verdict) -> None:
        """Fail if a check that holds for the first run does not for this one; not reached if none holds."""
        held = [check for name, check in self.checks.items() if verdict.outcomes[name].ended is Outcome.PASSED]
        if not held:
            raise NotReached(next(iter(self.checks)))
        lost = [check for check in held if check.outcome in (Outcome.FAILED, Outcome.NOT_REACHED)]
        listed = " and ".join(filter(None, [", ".join(self.changed[:-1]), self.changed[-1]]))
        inputs = f"other values of {listed}" if len(self.changed) > 1 else f"another value of {listed}"
        if not lost:
            verdict.found(f"with {inputs}, what is right here is right as well")
            return
        first = next((check for check in lost if check.outcome is Outcome.FAILED), lost[0])
        how = f"the notebook stops ({self.error})." if self.error else f"“{first.title}” no longer holds: {first.found}"
        fail(
            f"With {inputs}, {how}",
            expected="answers that are computed from the parameters, and so are right for other input, too",
            hint="Look for numbers, names and paths that you typed in where a parameter, or something computed from it, "
            "belongs. Change the parameters yourself and run all cells again.",
            misconception=next((check.misconception for check in lost if check.misconception), "hard-coded"),
        )
