"""A profile: what notebooks are graded with, where it is not what comes with the lesson."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from graders.harness.data.documents import Fields

FILE = "profile.json"
"""Beside the runs that were graded with another profile than the lesson's own."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """``parameters`` are those of notebooks that differ from the exercises' own, by exercise.

    A lesson whose models or data can be other ones adds what it needs to know of them. The properties are what the harness
    asks of any.
    """

    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    @property
    def for_practice(self) -> bool:
        """Whether what decides some checks is missing on this machine, because only instructors have it."""
        return False

    @property
    def small(self) -> bool:
        """Whether a machine that grades at all has room for two runs at once."""
        return True

    @property
    def extra_memory(self) -> int:
        """Bytes that a run takes beyond what the exercise needs with the lesson's own models."""
        return 0

    @property
    def deciding(self) -> str | None:
        """The path of a file beside the lesson's own that verdicts depend on."""
        return None

    @classmethod
    def of(cls, fields: Fields) -> Self:
        """The profile that a document holds; :class:`graders.harness.data.values.Malformed` if it holds none."""
        return cls(parameters=parameters_of(fields))


def parameters_of(fields: Fields) -> Mapping[str, Mapping[str, Any]]:
    """The parameters by exercise that a document holds."""
    parameters = fields.object("parameters")
    return {name: parameters.object(name).all() for name in parameters.all()}
