"""The weight that a layer has with two adapters at work, and what it is in the forms that are wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from graders.lora.measures.adapters import LoraLayer, summed
from graders.lora.measures.composition_mistakes import Weights
from graders.lora.measures.precision import relative_error, tolerance

ROUNDINGS = 1
"""Relative error in norm, in units of the arithmetic's epsilon. The sum W + ΔW rounds each number of the result by half an
epsilon; ΔW, which is smaller than W, adds its own few roundings in proportion."""


def combined(weight: Tensor, style: LoraLayer, subject: LoraLayer, weights: Weights) -> Tensor:
    """W + weight · (α/r) · B A of both adapters, [out, in] in float32."""
    return weight.float() + style.delta(weights[0]) + subject.delta(weights[1])


def agrees(found: Tensor, true: Tensor, dtypes: Iterable[str], device: str) -> bool:
    """Whether a tensor is another but for rounding; ``dtypes`` and ``device`` are those that both were computed in and on."""
    return found.shape == true.shape and relative_error(found, true) <= tolerance(dtypes, device, ROUNDINGS)


def mixture(
    found: Tensor, weight: Tensor, style: LoraLayer, subject: LoraLayer
) -> tuple[tuple[float, float, float], Tensor]:
    """How often W and the change of each adapter in full go into the sum of them that comes nearest, and this sum.

    ``found`` has the shape of ``weight``, and is finite.
    """
    factors, nearest = _nearest(found, [weight.float(), style.delta(1.0), subject.delta(1.0)])
    base, first, second = factors
    return (base, first, second), nearest


def with_cross_terms(found: Tensor, weight: Tensor, style: LoraLayer, subject: LoraLayer) -> Tensor:
    """The sum that comes nearest to ``found`` of W, each B with its own A, and each B with the other adapter's A.

    The smaller rank is filled up with zeros, as whoever adds up the matrices of two ranks has to do.
    """
    crossed = [summed([(style, a, b), (subject, 1 - a, 1 - b)]).delta() for a in (0.0, 1.0) for b in (0.0, 1.0)]
    return _nearest(found, [weight.float(), *crossed])[1]


def _nearest(found: Tensor, parts: Sequence[Tensor]) -> tuple[list[float], Tensor]:
    """The factors with which ``parts`` add up to what is nearest to ``found``, and their sum."""
    stacked = torch.stack(list(parts)).double()
    factors = torch.linalg.lstsq(stacked.flatten(1).T, found.double().flatten()[:, None]).solution[:, 0]
    return factors.tolist(), torch.tensordot(factors, stacked, 1)


def wrong_forms(
    weight: Tensor, style: LoraLayer, subject: LoraLayer, weights: Weights, cells: Iterable[Weights] = ()
) -> Iterator[tuple[str | None, str, Tensor]]:
    """The tensors that known mistakes lead to: the misconception if it has a name, what it is in words, the tensor.

    ``cells`` are weights that a pipeline may have been left at.
    """
    a, b = weights
    base = weight.float()

    def at(style_weight: float, subject_weight: float) -> Tensor:
        return combined(weight, style, subject, (style_weight, subject_weight))

    right, change = at(a, b), at(a, b) - base
    yield "lora-never-applied", "the base model's own weight", base
    yield None, "the change alone, without the weight that it is added to", change
    yield "weights-swapped", "the sum with each adapter at the other one's weight", at(b, a)
    yield "weights-ignored", "the sum with both adapters in full", at(1, 1)
    for name, only in (("style", at(a, 0)), ("subject", at(0, b)), ("style", at(1, 0)), ("subject", at(0, 1))):
        yield "one-adapter-only", f"the base model's weight and the change of the {name} adapter", only
    bare = base + style.delta(a / style.scale) + subject.delta(b / subject.scale)
    yield "alpha-over-rank-missing", "a sum of the right matrices, but not at the strength they were trained at", bare
    yield "deltas-averaged", "the base model's weight and the mean of the two changes", base + change / 2
    yield "deltas-averaged", "the base model's weight and the mean of the two changes", at(0.5, 0.5)
    yield "fused-twice", "the base model's weight with every change added twice", base + 2 * change
    yield "fused-twice", "the base model's weight added twice", base + right
    yield None, "a sum in which each adapter's weight counts twice, squared", at(a * a, b * b)
    yield None, "the transpose of the sum", right.T
    for cell in cells:
        yield "adapters-left-over", f"the sum at the weights ({cell[0]:g}, {cell[1]:g})", at(*cell)
