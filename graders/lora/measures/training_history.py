"""What a run was seen to do with adapters, held against the adapter that it saved.

An adapter is recognised by the layers that it has and their ranks and, where several have the same, by A: what training
adds to it leaves most of the random numbers that it begins with. Who saves it may multiply its matrices by α/r, in place of
recording α; the factor shows in the numbers that the last step left in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from graders.lora.measures.adapters import Adapter, LoraLayer
from graders.lora.sightings import SeenAdapter, SeenLayer

SAME_STRENGTH = 1e-2
"""Relative difference up to which two strengths are the same: a file may hold α and both matrices in bfloat16, which rounds
each by up to 0.4 %."""
ALIKE = 0.5
"""Correlation of the first numbers of A before and after training, half way between equal matrices and independent ones. The
hundred numbers that are known of an adapter give the latter a standard deviation of 0.1."""
ROUNDING = 1e-3
"""Relative difference up to which a number is still the same: twice the rounding to half precision."""


@dataclass(frozen=True)
class Strength:
    """The factors before B·A of one layer, of the matrices as training left them.

    A loader applies ``scale``, as the file has it, to saved matrices whose product is ``folded`` times the trained one.
    """

    scale: float
    folded: float
    trained: float

    @property
    def applied(self) -> float:
        """The factor at which whoever loads the file applies the trained B·A."""
        return self.scale * self.folded

    @property
    def kept(self) -> bool:
        """Whether that is the factor of the training."""
        return _same(self.applied, self.trained)

    @property
    def is_folded(self) -> bool:
        """Whether the saved matrices are a multiple of the trained ones."""
        return not _same(self.folded, 1.0)

    @property
    def twice(self) -> bool:
        """Whether a loader applies the factor of the training to matrices that hold it already."""
        return not self.kept and _same(self.folded, self.trained) and _same(self.scale, self.trained)


def strengths(adapter: Adapter, seen: Sequence[SeenAdapter]) -> dict[str, Strength] | None:
    """The strength of each layer, or None if it is not known for sure what the run trained the adapter with.

    Without the layers whose numbers do not tell by what they were multiplied, where those of others do.
    """
    fitting = [candidate for candidate in seen if candidate.trained and _fits(adapter, candidate)]
    # What was re-arranged before it was saved, by an SVD for example, may have become a multiple that nobody can tell
    known = not any(layer.trained_down for candidate in fitting for layer in candidate.layers.values())
    if not known or not _one_strength(adapter, fitting):
        fitting = [candidate for candidate in fitting if _resemblance(adapter, candidate) > ALIKE]
    if not fitting or not _one_strength(adapter, fitting):
        return None
    trained = max(
        fitting, key=lambda candidate: (len(_multiples(adapter, candidate)), _resemblance(adapter, candidate))
    )
    folded = _multiples(adapter, trained) or dict.fromkeys(adapter.layers, 1.0)
    return {
        name: Strength(adapter.layers[name].scale, factor, trained.layers[name].scale)
        for name, factor in folded.items()
    }


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


def _resemblance(adapter: Adapter, candidate: SeenAdapter) -> float:
    """Correlation, from 0 to 1, of the first numbers of every A with the candidate's: as training left them, or as made."""
    theirs = [candidate.layers[name].trained_down or candidate.layers[name].down for name in adapter.layers]
    ours = [_first(layer.down, len(down)) for layer, down in zip(adapter.layers.values(), theirs, strict=True)]
    before, after = (np.array([number for numbers in side for number in numbers]) for side in (theirs, ours))
    if before.shape != after.shape or before.size < 2:
        return 0.0
    with np.errstate(all="ignore"):  # a file, or a record, may hold any numbers
        alike = abs(float(np.corrcoef(before, after)[0, 1]))  # whoever turns the signs of both A and B changes nothing
    return alike if math.isfinite(alike) else 0.0


def _multiples(adapter: Adapter, candidate: SeenAdapter) -> dict[str, float]:
    """How many times the candidate's B·A after training each layer's is, of the layers whose matrices are multiples."""
    factors = {}
    for name, layer in adapter.layers.items():
        trained = candidate.layers[name]
        a, b = _multiple(layer.down, trained.trained_down), _multiple(layer.up, trained.trained_up)
        if a and b:
            factors[name] = a * b
    return factors


def _multiple(matrix: object, trained: Sequence[float]) -> float | None:
    """The factor by which the first numbers of a matrix differ from those that training left; None if there is no such."""
    ours, theirs = np.array(_first(matrix, len(trained))), np.array(trained)
    if ours.shape != theirs.shape or not theirs.any():
        return None
    with np.errstate(all="ignore"):  # a file, or a record, may hold any numbers
        factor = float(ours @ theirs / (theirs @ theirs))
        close = bool(abs(ours - factor * theirs).max() <= SAME_STRENGTH * abs(ours).max())
    return factor if close and math.isfinite(factor) else None


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
