"""The gradients of A and B after one backward pass, and what they must be."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from graders.harness.rubric import fail
from graders.lora.measures.adapted_unet import AdaptedUNet, LoraPair, has_gradient
from graders.lora.measures.blocks import Blocks
from graders.lora.measures.tables import number

MAX_PAIRS = 400
"""Whose gradients are measured for a figure; every layer of Stable Diffusion 1.5's U-Net has one."""


@dataclass(frozen=True)
class Agreement:
    """How the gradients of all B's compare with the recomputed ones.

    ``factor`` times G·Aᵀ come nearest to the gradients found, up to ``error``, relative to what was found; ``tolerance`` is
    how large that may be. ``times`` is the factor over α/r, where α is known.
    """

    factor: float
    error: float
    tolerance: float
    times: float | None


@dataclass(frozen=True)
class Scaling:
    """What a hand-in's LoRA configuration says of the gradients: α/r, if known, and the dropout."""

    scale: float | None
    dropout: float


def scaling(configs: Iterable[Mapping[str, Any]], ranks: Collection[int]) -> Scaling:
    """What the configurations of the adapter's rank, as the run noted them, agree on."""
    rank = next(iter(ranks)) if len(ranks) == 1 else None
    scales, dropouts = set(), [0.0]
    for config in configs:
        alpha, dropout = number(config.get("lora_alpha")), number(config.get("lora_dropout"))
        if rank and config.get("r") == rank and alpha is not None:
            scales.add(alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank))
            dropouts.append(min(max(dropout or 0.0, 0.0), 0.99))
    return Scaling(scales.pop() if len(scales) == 1 else None, max(dropouts))


def agreement(
    pairs: Sequence[LoraPair], weight_gradients: Sequence[Tensor], scale: float | None, tolerance: float
) -> Agreement:
    """Compare the gradients of the pairs' B's with (∂loss/∂W)·Aᵀ, which they are but for the factor α/r.

    The layer computes W·x + (α/r)·B·A·x, so that with G = ∂loss/∂W at B = 0, B's gradient is (α/r)·G·Aᵀ and A's is
    (α/r)·Bᵀ·G = 0. ``weight_gradients`` are the G's [out, in] of the pairs' layers.
    """
    found, wanted = [], []
    for pair, gradient in zip(pairs, weight_gradients, strict=True):
        assert pair.up_gradient is not None
        found.append(pair.up_gradient.double().flatten())
        wanted.append((gradient.double() @ pair.down.double().T).flatten())
    one, other = torch.cat(found), torch.cat(wanted)
    factor = float(one @ other / other.square().sum())
    error = float((one - factor * other).norm() / one.norm())
    return Agreement(factor, error, tolerance, factor / scale if scale else None)


def norms(unet: AdaptedUNet, blocks: Blocks) -> dict[str, list[Any]]:
    """The norms of the gradients of A, B and the layer's own W, for each pair in the order of the blocks.

    A norm is None where there is no gradient, or none that is finite; of those ``broken`` has the numbers, by A, B, W.
    """
    pairs = sorted(unet.pairs, key=lambda pair: blocks.number_of(pair.layer))[:MAX_PAIRS]  # a sort that keeps ties
    weights = {parameter.name: parameter.state.gradient for parameter in unet.base}
    gradients = {
        "a": [pair.a.gradient for pair in pairs],
        "b": [pair.b.gradient for pair in pairs],
        "w": [weights.get(f"{pair.layer}.weight") for pair in pairs],
    }
    found = {name: [_norm(gradient) for gradient in some] for name, some in gradients.items()}
    broken = [sum(norm is not None and not math.isfinite(norm) for norm in some) for some in found.values()]
    places = [blocks.number_of(pair.layer) for pair in pairs]
    return {"depth": [blocks.depth], "pairs": [len(unet.pairs)], "block": places, **found, "broken": broken}


def _norm(gradient: Tensor | None) -> float | None:
    """0 only for a gradient that is zero throughout: squares of tiny numbers vanish."""
    if gradient is None or not gradient.numel():
        return None
    numbers = gradient.double()
    largest = float(numbers.abs().max())
    return largest * float((numbers / largest).norm()) if math.isfinite(largest) and largest > 0 else largest


def drift(pairs: Sequence[LoraPair]) -> float:
    """How much A may have changed in a step although its gradient is zero, relative to A: by weight decay.

    Optimizers that normalise every number's update, such as Adam, move A by up to as much as B, which began at zero.
    """
    moved = max(float(pair.b.value.double().abs().max()) for pair in pairs)
    size = float(torch.cat([pair.a.value.double().flatten() for pair in pairs]).square().mean().sqrt())
    return moved / size if size else math.inf


def silent(pairs: Sequence[LoraPair]) -> bool:
    """Whether no A or B has a gradient other than zero, and no B has moved."""
    return not any(has_gradient(pair.a) or has_gradient(pair.b) or bool(pair.b.value.any()) for pair in pairs)


def judge_first(pairs: Sequence[LoraPair]) -> str:
    """Fail unless every A has a gradient of exactly zero and every B a finite one that is not zero."""
    states = [state for pair in pairs for state in pair.states]
    heard = [state for state in states if has_gradient(state)]
    if not heard:
        _fail_silent(moved=any(pair.b.value.any() for pair in pairs), kept=any(s.gradient is not None for s in states))
    if not all(state.gradient.isfinite().all() for state in heard if state.gradient is not None):
        fail(
            "The gradients hold NaN or infinite numbers.",
            expected="finite gradients",
            hint="Is the loss finite? In half precision, small gradients vanish and large ones overflow unless the loss is "
            "scaled.",
            misconception="loss-not-finite",
        )
    loud = [pair.layer for pair in pairs if has_gradient(pair.a)]
    silent = [pair.layer for pair in pairs if not has_gradient(pair.b)]
    if loud or any(pair.a.gradient is None for pair in pairs):
        none = sum(pair.a.gradient is None for pair in pairs)
        fail(
            f"{len(loud)} of {len(pairs)} A's have a gradient other than zero"
            + (f", and {none} have none at all" if none else "")
            + (f"; {len(silent)} B's have none, or zero." if silent else "."),
            expected="for every A a gradient that is exactly zero, and for every B one that is not",
            hint="Which of the two matrices does your adapter start at zero? And is this the first step: were there steps "
            "before it, or a second backward after it?",
        )
    if silent:
        fail(
            f"{len(silent)} of {len(pairs)} B's have no gradient, for example that of {silent[0]}.",
            expected="a gradient for every B",
            hint="Does every adapted layer take part in the prediction? What is A there: if it is zero as well, nothing "
            "moves.",
        )
    return f"zero for all {len(pairs)} A's, and not for any B"


def _fail_silent(moved: bool, kept: bool) -> NoReturn:
    """Fail for an adapter without gradients; ``kept`` says that there are some, all zero."""
    if moved:
        found = (
            "The adapter has no gradients, yet B is no longer zero: they were cleared, or something else has changed B."
        )
    else:
        found = (
            "All gradients of the adapter are zero." if kept else "The adapter has no gradients, and B is still zero."
        )
    fail(
        found,
        expected="the gradients of the first backward pass, still in place when the last cell has run",
        hint="Where do you call zero_grad? Before the next backward is early enough."
        if moved or kept
        else "Which call computes gradients from the loss? Does the loss depend on the adapter's parameters?",
        misconception="gradients-cleared" if moved or kept else "no-backward",
    )
