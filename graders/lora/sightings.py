"""What the watchers in a notebook's kernel saw of adapters, configurations and generated pictures, as plain values.

Each function reads it once, within the budget of all that a hand-in left. What is malformed was not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graders.harness.data.values import Budget, Malformed, decode
from graders.harness.hand_in import Evidence, digest_of
from graders.lora.watchers import FIRST, NOISE

MAX_DIGEST = 64
"""Characters of a digest."""
MAX_SETTINGS = 20
PLAIN = (str, bool, int, float, type(None))
"""Types of what a picture was made with."""


@dataclass(frozen=True)
class SeenLayer:
    """A layer of a LoRA adapter: its rank, the factor before B·A, and the first numbers of A and of B as they were made.

    The factor is the one that the adapter was trained with, where it was. ``trained_down`` and ``trained_up`` are the same
    numbers of A and of B after the last step of an optimizer; empty if none was seen.
    """

    rank: int
    scale: float
    down: tuple[float, ...]
    up: tuple[float, ...]
    trained_down: tuple[float, ...] = ()
    trained_up: tuple[float, ...] = ()


@dataclass(frozen=True)
class SeenAdapter:
    """A LoRA adapter that a run has added to a model: whether gradients reached it, and its layers by name."""

    trained: bool
    layers: dict[str, SeenLayer]


def read(evidence: Evidence) -> dict[str, int]:
    """Read all of it, before any check; the counts that a result tells of a run."""
    _ = lora_configs(evidence), lora_adapters(evidence), _pictures(evidence), merges(evidence)
    return {"unets_at_once": evidence.count("unets_at_once") or 0}


def lora_configs(evidence: Evidence) -> list[dict[str, Any]]:
    """The fields of every LoRA configuration that the run made which say how its adapter trains: ``r``, ``lora_alpha`` …"""

    def configs(found: Any, budget: Budget) -> list[dict[str, Any]]:
        return [config for config in [decode(one, budget) for one in found] if isinstance(config, dict)]

    return evidence.seen("lora_configs", configs) or []


def lora_adapters(evidence: Evidence) -> list[SeenAdapter]:
    """The LoRA adapters that PEFT was seen adding to a model with numbers in it, in that order."""
    return evidence.seen("lora_adapters", lambda found, budget: [_adapter(record, budget) for record in found]) or []


def _adapter(record: Any, budget: Budget) -> SeenAdapter:
    layers = {name: _layer(budget, *fields) for name, fields in record["layers"].items()}
    return SeenAdapter(record["trained"] is True, layers)


def _layer(budget: Budget, rank: Any, scale: Any, *matrices: Any) -> SeenLayer:
    if type(rank) is not int or rank < 1 or any(len(numbers) > FIRST for numbers in matrices):
        raise Malformed("a malformed record")
    budget.spend("elements", 2 + sum(map(len, matrices)))
    return SeenLayer(rank, float(scale), *(tuple(map(float, numbers)) for numbers in matrices))


def merges(evidence: Evidence) -> int | None:
    """How often PEFT was seen to merge an adapter into a layer; None if that is not known."""
    return evidence.count("merges")


def noise_of(evidence: Evidence, picture: np.ndarray) -> np.ndarray | None:
    """The first numbers of the noise that a picture (uint8 [h, w, 3]) was generated from by a pipeline; None if not known."""
    made = _pictures(evidence).get(digest_of(picture))
    return None if made is None else made[0]


def made_with(evidence: Evidence, picture: np.ndarray) -> dict[str, Any]:
    """What a pipeline was asked for when it generated a picture, as :func:`.watchers.settings_of` has it; empty if unknown."""
    made = _pictures(evidence).get(digest_of(picture))
    return {} if made is None else made[1]


def _pictures(evidence: Evidence) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Noise and settings of every picture that was seen being generated, by its digest."""
    return evidence.seen("paintings", _by_digest) or {}


def _by_digest(found: Any, budget: Budget) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    generated: dict[str, tuple[np.ndarray, dict[str, Any]]] = {}
    several = set[str]()  # such as pictures that are all black
    for digest, noise, settings in [_picture(generation, budget) for generation in found]:
        before, made = generated.setdefault(digest, (noise, settings))
        if not np.array_equal(before, noise):
            several.add(digest)
        elif made != settings:
            generated[digest] = noise, {}
    return {digest: made for digest, made in generated.items() if digest not in several}


def _picture(generation: Any, budget: Budget) -> tuple[str, np.ndarray, dict[str, Any]]:
    digest, numbers, settings = generation
    if type(digest) is not str or len(digest) > MAX_DIGEST or len(numbers) > NOISE:
        raise Malformed("a malformed record")
    if len(settings) > MAX_SETTINGS or any(type(item) not in PLAIN for item in settings.values()):
        raise Malformed("a malformed record")
    budget.spend("elements", len(numbers) + len(settings))
    return digest, np.array([float(number) for number in numbers], dtype=np.float64), settings
