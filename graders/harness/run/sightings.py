"""What was seen while a notebook ran: backward passes, steps of optimizers, and what the lesson's watchers noted.

They noted it in the kernel, beside code that could have written anything in their place: what is malformed was not seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from graders.harness.data import values
from graders.harness.run.kernel import pictures
from graders.harness.run.states import StepsSeen

T = TypeVar("T")


class Sightings(ABC):
    """What was seen of a run; nothing of one that ended early, or was meddled with."""

    @property
    @abstractmethod
    def _session(self) -> Mapping[str, Any]:
        """What the watchers noted."""

    @property
    @abstractmethod
    def _budget(self) -> values.Budget:
        """What reading it may take."""

    def seen(self, what: str, read: Callable[[Any, values.Budget], T]) -> T | None:
        """What the watchers noted as ``what``, in the form that ``read`` makes of it; None if nothing can be read.

        ``read`` gets JSON that anyone may have written, and the budget that all reading of a hand-in shares. It is called once.
        """
        if what not in self._sightings:
            try:
                self._sightings[what] = read(self._session[what], self._budget)
            except Exception:  # bytes of a stranger's, which nobody is held to
                self._sightings[what] = None
        return self._sightings[what]

    @cached_property
    def _sightings(self) -> dict[str, Any]:
        return {}

    def count(self, what: str) -> int | None:
        """How many of something the watchers counted; None if that is not known."""
        return self.seen(what, lambda found, _: found if _is_count(found) else None)

    @property
    def backward_passes(self) -> int | None:
        """How many backward passes the run was seen to make in its own process; None if that is not known."""
        return self.count("backward_passes")

    @property
    def optimizer_steps(self) -> StepsSeen | None:
        """The steps of optimizers that were seen in the run's own process; None if that is not known."""
        return self.seen("optimizer_steps", lambda found, _: StepsSeen(*found) if all(map(_is_count, found)) else None)


def _is_count(given: Any) -> bool:
    return type(given) is int and 0 <= given < 1 << 63


def digest_of(picture: np.ndarray) -> str:
    """The SHA-256 of a picture's pixels (uint8 [h, w, 3]), as a lesson's watchers have it of what a notebook generated."""
    height, width, _ = picture.shape
    return pictures.digest(width, height, np.ascontiguousarray(picture).tobytes())
