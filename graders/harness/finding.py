"""What was found out about a machine: one thing that holds, or that does not, and then what helps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from graders.harness.errors import MachineError


@dataclass(frozen=True)
class Finding:
    """Whether something holds, which ``words`` say; ``broken`` says what is wrong instead, None if it holds.

    ``fix`` says what helps. Without an ``essential`` one nothing can be done here that needs it; any other is a warning.
    """

    name: str
    words: str
    broken: str | None = None
    fix: str = ""
    essential: bool = True

    @property
    def fatal(self) -> bool:
        """Whether one cannot go on like this."""
        return self.essential and self.broken is not None


def insist(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The warnings among the findings; :class:`MachineError` at the first with which one cannot go on."""
    for finding in findings:
        if finding.fatal:
            raise MachineError(f"{finding.words}: {finding.broken}.", finding.fix)
        if finding.broken is not None:
            yield finding
