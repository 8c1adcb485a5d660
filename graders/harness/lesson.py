"""An exercise, and a hand-in for it: what a grader module has to work with.

Beside :mod:`graders.harness.rubric`, by which checks say what they see, this is all that a lesson may use of the harness.
Both stand on ``errors``, ``measured`` and ``data``, as everything does.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graders.harness.errors import HandInError
from graders.harness.run.evidence import Evidence, SetAgain
from graders.harness.run.kernel.watchers import settings_of
from graders.harness.run.records import Missing, NotRead, Unreadable
from graders.harness.run.states import (
    ModuleState,
    OptimizerState,
    ParameterState,
    SeenAdapter,
    SeenLayer,
    StepsSeen,
    TensorFacts,
)
from graders.harness.second_run import Again
from graders.lora.profile import STANDARD, Profile

__all__ = [
    "Again", "Between", "Evidence", "Exercise", "HandIn", "Missing", "ModuleState", "NotRead", "OptimizerState",
    "ParameterState", "SeenAdapter", "SeenLayer", "StepsSeen", "TensorFacts", "Texts", "Unreadable", "settings_of",
]  # fmt: skip

MAX_ASPECT = 8
"""No pipeline generates longer pictures, and the CLIP model, which scales the shorter side, would need gigabytes for them."""


@dataclass(frozen=True)
class Texts:
    """Texts of up to so many characters, as what a parameter may hold."""

    longest: int

    def __contains__(self, value: object) -> bool:
        """Whether it is one of them."""
        return isinstance(value, str) and 0 < len(value) <= self.longest


@dataclass(frozen=True)
class Between:
    """Numbers from ``low`` to ``high``, as what a parameter may hold."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        """Whether it is one of them."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Exercise:
    """What an exercise asks for and how its notebook is run.

    ``hand_in`` maps each variable that the notebook leaves behind to how it is kept: "value", "tensor", "pictures",
    "module" or "optimizer". ``parameters`` are what the harness injects for grading. ``others`` are changes of them;
    with one of these, which the notebook's content picks, the same notebook is run a second time, and held to the checks
    named in ``checked_again``, or to all. Its code picks one of the ``seeds``, so that the same hand-in
    always meets the same one, and what is alike in different hand-ins has not come out of trainings from the same.
    ``carried`` are the parameters whose values, where a notebook sets them again to one of those, it is judged for. A
    parameter may shape some of the hand-in variables alone, which ``shapes`` names; set again after those were filled, it
    changes nothing.
    """

    name: str
    title: str
    hand_in: Mapping[str, str]
    parameters: Mapping[str, Any]
    others: Sequence[Mapping[str, Any]] = ()
    checked_again: Sequence[str] = ()
    seeds: Sequence[int] = ()
    carried: Mapping[str, Container[Any]] = field(default_factory=dict)
    shapes: Mapping[str, Collection[str]] = field(default_factory=dict)

    def set_again(self, evidence: Evidence) -> dict[str, SetAgain]:
        """The parameters that a notebook set again before it filled what they shape."""
        return {
            name: again
            for name, again in evidence.set_again.items()
            if name in self.parameters
            and any(evidence.set_before(name, shaped) for shaped in self.shapes.get(name, self.hand_in))
        }


@dataclass(frozen=True)
class HandIn:
    """What a run left behind, the parameters it ran with, and the same of a second run with other parameters.

    ``profile`` is what it is measured with. Of the parameters that the notebook set again, ``own`` are those for whose own
    values it is judged; ``lost`` says of each of the others in which place that was.
    """

    evidence: Evidence
    parameters: Mapping[str, Any]
    again: HandIn | None = None
    profile: Profile = STANDARD
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

    def picture_list(self, pictures: Any, name: str, count: int | None = None) -> list[np.ndarray]:
        """A list of ``count`` pictures, or :class:`HandInError`."""
        if pictures is None:
            raise HandInError(f"`{name}` is missing.", "Paint one picture per prompt and keep the list there.")
        if not isinstance(pictures, list):
            raise HandInError(f"`{name}` is not a list of pictures.", "Keep the pictures in a list, one per prompt.")
        if not pictures or (count is not None and len(pictures) != count):
            raise HandInError(
                f"`{name}` holds {len(pictures)} pictures for {len(self.parameters['PROMPTS'])} prompts.",
                "Paint exactly one picture per prompt in PROMPTS, in their order.",
            )
        if any(max(p.shape[:2]) > MAX_ASPECT * min(p.shape[:2]) for p in pictures):
            raise HandInError(
                f"`{name}` holds a picture that is more than {MAX_ASPECT} times as long as wide.",
                "Hand in the pictures as the pipeline paints them.",
            )
        return pictures

    def pictures_by_rank(self, name: str) -> dict[Any, Any]:
        """A mapping from rank to a list of pictures, or :class:`HandInError`."""
        pictures = self.evidence.pictures(name)
        if not isinstance(pictures, dict):
            raise HandInError(f"`{name}` is not a mapping from rank to pictures.", f"Fill it as `{name}[rank] = ...`.")
        return pictures


def _as(given: Any, value: Any) -> Any:
    """A value in the place of a given one: a number of the same type."""
    return type(given)(value) if isinstance(given, int | float) else value
