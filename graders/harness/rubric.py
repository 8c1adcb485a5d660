"""What a check says, and how: through its verdict, by :func:`fail`, or by leaving it to a person.

A check is a test function. The first line of its docstring is the title that students see, the rest says why it
matters; ``@pytest.mark.points`` gives what it is worth and ``@pytest.mark.needs`` names the checks without which it
makes no sense. It says what it saw through the ``verdict`` fixture and fails by calling :func:`fail`.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from graders.harness import measured
from graders.harness.errors import HandInError
from graders.harness.result import CheckResult, Outcome

_Key = TypeVar("_Key")


class CheckFailed(Exception):
    """The hand-in does not satisfy a check."""

    def __init__(self, found: str, *, expected: str, hint: str, misconception: str | None = None) -> None:
        super().__init__(found)
        self.found, self.expected, self.hint, self.misconception = found, expected, hint, misconception


class NotReached(Exception):
    """A check cannot be decided because of what another check found.

    Without ``costs`` it follows from that, and a mistake costs once: its points stand.
    """

    def __init__(self, because: str, *, costs: bool = True) -> None:
        super().__init__(f"not checked, because of the check “{because}”")
        self.because, self.costs = because, costs


class LeftToPerson(Exception):
    """What was seen is for a person to judge; ``because`` is a sentence for the student, or "" where none is needed.

    Until then the points are undecided.
    """

    def __init__(self, because: str = "") -> None:
        super().__init__(because)
        self.because = because


class Undecided(Exception):
    """A check cannot be decided before another one is, whose title this is; ``broken`` if a grader broke there."""

    def __init__(self, title: str, *, broken: bool) -> None:
        super().__init__(f"not decided yet, because “{title}” is not")
        self.title, self.broken = title, broken


class Unfinished(Exception):
    """A part of a check that was not looked at before the check broke."""


def fail(found: str, *, expected: str, hint: str, misconception: str | None = None) -> NoReturn:
    """End a check, or the part of it that is running, as failed."""
    raise CheckFailed(found, expected=expected, hint=hint, misconception=misconception)


@dataclass
class Verdict:
    """What one check has to say. Checks that look at several ranks do so in parts, and each part earns its share."""

    outcomes: dict[str, Verdict]
    needs: tuple[str, ...] = ()
    parts: dict[str, Exception | None] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    measured: dict[str, measured.Table] = field(default_factory=dict)
    shares: tuple[float, float] | None = None
    rehearsal: str = ""
    concluded: CheckResult | None = None

    def found(self, text: str) -> None:
        """Say what was seen; of a check that fails, its failures are told instead."""
        self.seen.append(text)

    def measure(self, columns: Mapping[str, Iterable[Any]], part: str = "") -> None:
        """Keep columns of numbers for a figure, of the whole check or of one part, whether it passes or fails."""
        if len(self.measured) < measured.MAX_TABLES:
            self.measured[part] = measured.table(columns)

    def earn(self, earned: float, undecided: float) -> None:
        """Say which shares of the points are earned and undecided, from 0 to 1, whether the check passes or fails."""
        self.shares = earned, undecided

    @property
    def result(self) -> CheckResult:
        """How the check ended, once it has."""
        assert self.concluded is not None
        return self.concluded

    def each(self, kind: str, keys: Iterable[_Key]) -> Iterator[tuple[_Key, AbstractContextManager[None]]]:
        """Each key with the part of the check that is about it, named for example "rank 4".

        A failure inside a part ends the part, not the check. Parts that need what failed elsewhere are left out.
        """
        named = {f"{kind} {key}": key for key in keys}
        self.parts |= dict.fromkeys(named, Unfinished())
        for name, key in named.items():
            if missing := self.missing(name):
                self.parts[name] = NotReached(missing)
            else:
                yield key, self._part(name)

    def missing(self, part: str | None = None) -> str | None:
        """The first needed check against which something was found, or else the first that is undecided; None if all hold."""
        open_ = [need for need in self.needs if not self._met(need, part)]
        return min(open_, key=lambda need: bool(self.outcomes[need].result.undecided), default=None)

    def _met(self, need: str, part: str | None) -> bool:
        needed = self.outcomes[need]
        return needed.any_holds() if part is None else needed.holds(part)

    @contextlib.contextmanager
    def _part(self, name: str) -> Iterator[None]:
        try:
            yield
            self.parts[name] = None
        except Exception as error:  # also a fault of the grader, which must not keep the others from being judged
            if is_fault(error):
                traceback.clear_frames(error.__traceback__)  # which may hold all the memory there is
            self.parts[name] = error

    def holds(self, part: str | None = None) -> bool:
        """Whether the check, or one part of it, passed, be it in practice."""
        if part in self.parts:
            return self.parts[part] is None
        ended = self.result.outcome
        return ended is Outcome.PASSED or (ended is Outcome.AWAITING_REVIEW and not self.result.undecided)

    def any_holds(self) -> bool:
        """Whether anything is left for a check that needs this one."""
        return self.holds() or any(self.holds(part) for part in self.parts)


def is_fault(error: BaseException) -> bool:
    """Whether an exception says that the grader broke."""
    return not isinstance(error, (CheckFailed, HandInError, NotReached, Undecided, LeftToPerson))


def as_failure(error: CheckFailed | HandInError) -> CheckFailed:
    """A failed check, also from an error in the hand-in's data that explains itself."""
    return error if isinstance(error, CheckFailed) else CheckFailed(error.problem, expected="", hint=error.fix)
