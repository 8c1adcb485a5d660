"""A hand-in for an exercise: what the checks of a lesson look at."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from graders.harness import lessons
from graders.harness.lesson import Exercise
from graders.harness.run.evidence import Evidence
from graders.harness.run.records import Missing, NotRead, Unreadable
from graders.harness.run.sightings import digest_of
from graders.harness.run.states import (
    ModuleState,
    OptimizerState,
    ParameterState,
    StepsSeen,
    TensorFacts,
)
from graders.harness.second_run import Again

__all__ = [
    "Again", "Evidence", "HandIn", "Missing", "ModuleState", "NotRead", "OptimizerState", "ParameterState", "StepsSeen",
    "TensorFacts", "Unreadable", "digest_of",
]  # fmt: skip


@dataclass(frozen=True)
class HandIn:
    """What a run left behind, the parameters it ran with, and the same of a second run with other parameters.

    ``profile`` is what it is measured with, of the lesson's own kind. Of the parameters that the notebook set again, ``own``
    are those for whose own values it is judged; ``lost`` says of each of the others in which place that was.
    """

    evidence: Evidence
    parameters: Mapping[str, Any]
    again: HandIn | None = None
    profile: Any = field(default_factory=lambda: lessons.meant().standard)
    own: Collection[str] = ()
    lost: Mapping[str, str] = field(default_factory=dict)

    def as_set(self, exercise: Exercise, carrying: bool = True) -> HandIn:
        """The same, judged for the values that the notebook gave its parameters, as far as it can be, unless not ``carrying``."""
        again = exercise.set_again(self.evidence)
        own = {
            name: _as(self.parameters[name], again[name].value)
            for name, judged in exercise.carried.items()
            if carrying and name in again and again[name].value in judged
        }
        lost = {name: one.place for name, one in again.items() if name not in own}
        return replace(self, parameters={**self.parameters, **own}, own=tuple(own), lost=lost)

    def because(self, *parameters: str) -> str:
        """A sentence on the first of some parameters that is lost; "" if none is."""
        found = next((name for name in parameters if name in self.lost), None)
        return (
            f"`{found}` is set again in {self.lost[found]}, so the value that it was run with is lost." if found else ""
        )

    @property
    def for_practice(self) -> bool:
        """Whether what decides some checks is on the instructor's machine alone."""
        return self.profile.for_practice


def _as(given: Any, value: Any) -> Any:
    """A value in the place of a given one: a number of the same type."""
    return type(given)(value) if isinstance(given, int | float) else value
