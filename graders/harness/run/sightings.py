"""What was seen while a notebook ran: configurations, adapters, backward passes, and how pictures were generated.

The kernel's watchers noted it, beside code that could have written anything in their place: what is malformed was not seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from graders.harness.data import values
from graders.harness.run.kernel import adapters, pictures, watchers
from graders.harness.run.states import SeenAdapter, SeenLayer, StepsSeen

MAX_DIGEST = 64
"""Characters of a digest."""
MAX_SETTINGS = 20
PLAIN = (str, bool, int, float, type(None))
"""Types of what a picture was made with."""


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

    @cached_property
    def lora_configs(self) -> list[dict[str, Any]]:
        """The fields of every LoRA configuration that the run made which say how its adapter trains: ``r``, ``lora_alpha`` …"""
        configs = self._seen("lora_configs", lambda found: [values.decode(config, self._budget) for config in found])
        return [config for config in configs if isinstance(config, dict)]

    @cached_property
    def lora_adapters(self) -> list[SeenAdapter]:
        """The LoRA adapters that PEFT was seen adding to a model with numbers in it, in that order."""
        return self._seen("lora_adapters", lambda found: list(map(self._seen_adapter, found)))

    def _seen_adapter(self, record: Any) -> SeenAdapter:
        layers = {name: self._seen_layer(*fields) for name, fields in record["layers"].items()}
        return SeenAdapter(record["trained"] is True, layers)

    def _seen_layer(self, rank: Any, scale: Any, *matrices: Any) -> SeenLayer:
        if type(rank) is not int or rank < 1 or any(len(numbers) > adapters.FIRST for numbers in matrices):
            raise values.Malformed("a malformed record")
        self._budget.spend("elements", 2 + sum(map(len, matrices)))
        return SeenLayer(rank, float(scale), *(tuple(map(float, numbers)) for numbers in matrices))

    @property
    def backward_passes(self) -> int | None:
        """How many backward passes the run was seen to make in its own process; None if that is not known."""
        return self._count("backward_passes")

    @property
    def merges(self) -> int | None:
        """How often PEFT was seen to merge an adapter into a layer; None if that is not known."""
        return self._count("merges")

    def _count(self, what: str) -> int | None:
        found = self._seen(what, lambda count: [count])
        return found[0] if found and _is_count(found[0]) else None

    @property
    def optimizer_steps(self) -> StepsSeen | None:
        """The steps of optimizers that were seen in the run's own process; None if that is not known."""
        found = self._seen("optimizer_steps", list)
        return StepsSeen(*found) if len(found) == 2 and all(map(_is_count, found)) else None

    @cached_property
    def _generated(self) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
        """Noise and settings of every picture that was seen being generated, by its digest."""
        generated: dict[str, tuple[np.ndarray, dict[str, Any]]] = {}
        several = set[str]()  # such as pictures that are all black
        for digest, noise, settings in self._seen("paintings", lambda found: list(map(self._generated_picture, found))):
            before, made = generated.setdefault(digest, (noise, settings))
            if not np.array_equal(before, noise):
                several.add(digest)
            elif made != settings:
                generated[digest] = noise, {}
        return {digest: made for digest, made in generated.items() if digest not in several}

    def _generated_picture(self, generation: Any) -> tuple[str, np.ndarray, dict[str, Any]]:
        digest, numbers, settings = generation
        if type(digest) is not str or len(digest) > MAX_DIGEST or len(numbers) > watchers.NOISE:
            raise values.Malformed("a malformed record")
        if len(settings) > MAX_SETTINGS or any(type(item) not in PLAIN for item in settings.values()):
            raise values.Malformed("a malformed record")
        self._budget.spend("elements", len(numbers) + len(settings))
        return digest, np.array([float(number) for number in numbers], dtype=np.float64), settings

    def _seen(self, what: str, read: Callable[[Any], list[Any]]) -> list[Any]:
        """What was seen while the notebook ran; of a run that ended early, or was meddled with, perhaps nothing."""
        try:
            return read(self._session[what])
        except Exception:  # bytes of a stranger's, which nobody is held to
            return []

    def noise_of(self, picture: np.ndarray) -> np.ndarray | None:
        """The first numbers of the noise that a picture (uint8 [h, w, 3]) was generated from by a pipeline; None if not known."""
        made = self._generated.get(_digest_of(picture))
        return None if made is None else made[0]

    def settings_of(self, picture: np.ndarray) -> dict[str, Any]:
        """What a pipeline was asked for when it generated a picture, as :func:`watchers.settings_of` has it; empty if unknown."""
        made = self._generated.get(_digest_of(picture))
        return {} if made is None else made[1]


def _is_count(given: Any) -> bool:
    return type(given) is int and 0 <= given < 1 << 63


def _digest_of(picture: np.ndarray) -> str:
    height, width, _ = picture.shape
    return pictures.digest(width, height, np.ascontiguousarray(picture).tobytes())
