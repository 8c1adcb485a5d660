"""What a run was seen to do with adapters, held against the adapter that it saved.

An adapter is recognised by the layers that it has and their ranks and, where several have the same, by A: what training
adds to it leaves most of the random numbers that it begins with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from graders.harness.lesson import SeenAdapter, SeenLayer
from graders.lora.measures.adapters import Adapter, LoraLayer

SAME_STRENGTH = 1e-3
"""Relative difference up to which two strengths are the same: a file may hold α in half precision."""
ALIKE = 0.5
"""Correlation of the first numbers of A before and after training, half way between equal matrices and independent ones. The
hundred numbers that are known of an adapter give the latter a standard deviation of 0.1."""
ROUNDING = 1e-3
"""Relative difference up to which a number is still the same: twice the rounding to half precision."""


def trained_at(adapter: Adapter, seen: Sequence[SeenAdapter]) -> dict[str, float] | None:
    """The factor before B·A of each layer with which the run trained the adapter, or None if that is not known for sure."""
    fitting = [candidate for candidate in seen if candidate.trained and _fits(adapter, candidate)]
    if not _one_strength(adapter, fitting):
        fitting = [candidate for candidate in fitting if _began_as(adapter, candidate) > ALIKE]
    if not fitting or not _one_strength(adapter, fitting):
        return None
    return {name: fitting[0].layers[name].scale for name in adapter.layers}


def off_strength(adapter: Adapter, seen: Sequence[SeenAdapter]) -> dict[str, tuple[float, float]]:
    """The layers that a loader applies at another strength than they were trained at: what it applies, and what was trained."""
    trained = trained_at(adapter, seen) or {}
    pairs = {name: (layer.scale, trained[name]) for name, layer in adapter.layers.items() if name in trained}
    return {name: pair for name, pair in pairs.items() if not _same(*pair)}


def as_made(adapter: Adapter, seen: Sequence[SeenAdapter]) -> bool:
    """Whether every matrix still begins with the numbers that it had when the run made it."""
    return any(
        _fits(adapter, candidate)
        and all(_unmoved(layer, candidate.layers[name]) for name, layer in adapter.layers.items())
        for candidate in seen
    )


def _fits(adapter: Adapter, candidate: SeenAdapter) -> bool:
    return bool(adapter.layers) and all(
        name in candidate.layers and candidate.layers[name].rank == layer.rank for name, layer in adapter.layers.items()
    )


def _one_strength(adapter: Adapter, candidates: Sequence[SeenAdapter]) -> bool:
    """Whether all candidates were trained at the same finite strength in every layer."""
    return all(
        _same(candidate.layers[name].scale, candidates[0].layers[name].scale)
        for candidate in candidates
        for name in adapter.layers
    )


def _same(first: float, second: float) -> bool:
    return math.isfinite(first) and math.isclose(first, second, rel_tol=SAME_STRENGTH)


def _began_as(adapter: Adapter, candidate: SeenAdapter) -> float:
    """Correlation of the first numbers of every A with those that the candidate began with; 0 where there is none."""
    made = [candidate.layers[name].down for name in adapter.layers]
    now = [_first(layer.down, len(down)) for layer, down in zip(adapter.layers.values(), made, strict=True)]
    before, after = (np.array([number for numbers in side for number in numbers]) for side in (made, now))
    if before.shape != after.shape or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return 0.0
    spread = float(before.std() * after.std())
    return float(((before - before.mean()) * (after - after.mean())).mean() / spread) if spread > 0 else 0.0


def _unmoved(layer: LoraLayer, made: SeenLayer) -> bool:
    return bool(made.down) and all(
        _equal(_first(matrix, len(numbers)), numbers)
        for matrix, numbers in ((layer.down, made.down), (layer.up, made.up))
    )


def _first(matrix: object, count: int) -> list[float]:
    return [float(number) for number in matrix.flatten()[:count].tolist()]  # type: ignore[attr-defined]


def _equal(now: Iterable[float], made: Sequence[float]) -> bool:
    numbers = list(now)
    return len(numbers) == len(made) and all(
        math.isclose(a, b, rel_tol=ROUNDING) for a, b in zip(numbers, made, strict=True)
    )
