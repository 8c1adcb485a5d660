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
from graders.lora.measures.objectives import scaled_by
from graders.lora.measures.tables import number

MAX_PAIRS = 400
"""Whose gradients are measured for a figure; every layer of Stable Diffusion 1.5's U-Net has one."""


@dataclass(frozen=True)
class Agreement:
    """How the gradients of all B's compare with the recomputed ones.

    ``factor`` times G·Aᵀ come nearest to the gradients found, up to ``error``, relative to what was found; ``tolerance`` is
    how large that may be. ``times`` is the factor over α/r, where α is known. ``clipped`` says how they were clipped, where
    that is more than one factor for all.
    """

    factor: float
    error: float
    tolerance: float
    times: float | None
    clipped: str = ""

    @property
    def holds(self) -> bool:
        """Whether the gradients found are a positive multiple of the recomputed ones, or those clipped."""
        return self.factor > 0 and self.error <= self.tolerance


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
    (α/r)·Bᵀ·G = 0. ``weight_gradients`` are the G's [out, in] of the pairs' layers, or [out, in, height, width] of
    convolutions, where A is a convolution like W, and B one with a kernel of 1.
    """
    found, wanted = [], []
    for pair, gradient in zip(pairs, weight_gradients, strict=True):
        assert pair.up_gradient is not None
        found.append(pair.up_gradient.double().flatten())
        wanted.append((gradient.double().flatten(1) @ pair.down.double().T).flatten())
    one, other = torch.cat(found), torch.cat(wanted)
    factor = _factor(one, other)
    plain = Agreement(factor, _apart(one, factor * other), tolerance, factor / scale if scale else None)
    if plain.holds or not one.any():
        return plain
    # Each layer by itself, also where each has an α of its own
    factors = [_factor(f, w) for f, w in zip(found, wanted, strict=True)]
    layers = torch.cat([factor * w for factor, w in zip(factors, wanted, strict=True)])
    by_layer = Agreement(min(factors), _apart(one, layers), tolerance, None, "scaled layer by layer")
    bound = one.abs().max()
    inside = one.abs() < bound * (1 - 1e-6)
    factor = _factor(one[inside], other[inside]) if inside.any() else math.inf
    cut = (factor * other).nan_to_num(0.0).clamp(-bound, bound)
    by_number = Agreement(factor, _apart(one, cut), tolerance, None, "clipped number by number")
    return next((clipped for clipped in (by_layer, by_number) if clipped.holds), plain)


def _factor(one: Tensor, other: Tensor) -> float:
    """What ``other`` is multiplied by to come nearest to ``one``."""
    return float(one @ other / other.square().sum())


def _apart(one: Tensor, other: Tensor) -> float:
    """How far ``other`` is from ``one``, relative to it."""
    return float((one - other).norm() / one.norm())


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


def judge_first(pairs: Sequence[LoraPair], *, called: bool = False) -> str:
    """Fail unless every A has a gradient of exactly zero and every B a finite one that is not zero.

    ``called`` says that backward() was seen to be called, on whatever it was.
    """
    states = [state for pair in pairs for state in pair.states]
    heard = [state for state in states if has_gradient(state)]
    if not heard:
        kept = any(state.gradient is not None for state in states)
        _fail_silent(moved=any(pair.b.value.any() for pair in pairs), kept=kept, called=called)
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


def _fail_silent(moved: bool, kept: bool, called: bool) -> NoReturn:
    """Fail for an adapter without gradients; ``kept`` says that there are some, all zero, ``called`` that backward() was."""
    if moved:
        found = (
            "The adapter has no gradients, yet B is no longer zero: they were cleared, or something else has changed B."
        )
    else:
        found = (
            "All gradients of the adapter are zero." if kept else "The adapter has no gradients, and B is still zero."
        )
        if called and not kept:
            found = "backward() was called, yet the adapter in `unet` has no gradients, and B is still zero."
    fail(
        found,
        expected="the gradients of the first backward pass, still in place when the last cell has run",
        hint="Where do you call zero_grad? Before the next backward is early enough."
        if moved or kept
        else "Is `unet` the U-Net that made the prediction? Were its gradients cleared before the step?"
        if called
        else "Which call computes gradients from the loss? Does the loss depend on the adapter's parameters?",
        misconception="gradients-cleared" if moved or kept else None if called else "no-backward",
    )


def judge_recomputed(comparison: Agreement, micro_steps: int, passes: int) -> str:
    """Fail unless the gradients of B are those of one backward pass, or a part of them.

    ``micro_steps`` are those that the loss is divided by. ``passes`` is how many backward passes were seen, 0 if that is
    not known.
    """
    several = f"; backward() was called {passes} times" if passes > 1 else ""
    if not comparison.holds:
        fail(
            f"The gradients of B differ from the recomputed ones by {comparison.error:.1%}"
            + (" and point the other way" if comparison.factor < 0 else "")
            + f"{several}.",
            expected="the gradient of your loss for your z_t, text_embeddings and adapter",
            hint="backward() adds to the gradients that are already there, and only those of the last picture, noise and "
            "timestep can be recomputed. Hand in one step with one of each."
            if several
            else "Was backward() called on the loss that you hand in, and once? Were the gradients changed afterwards, or z_t or "
            "the adapter between prediction and backward?",
        )
    said, times = f"they agree within {comparison.error:.1g}", comparison.times
    if comparison.clipped:
        return f"{said}, {comparison.clipped}"
    if times is None or abs(times - 1) <= comparison.tolerance:
        return said
    if times < 1:
        return f"{said}, scaled by {times:.3g}, as clipping does"
    if micro_steps > 1 and abs(times / micro_steps - 1) <= comparison.tolerance:
        return f"{said}, added up over {micro_steps} micro-steps"
    if scaled_by(times, comparison.tolerance) and passes < times / 2:
        fail(
            f"The gradients of B are {times:,.0f} times as large as those of your loss: the loss scaling was not taken out "
            "again.",
            expected="the gradients of one backward pass, without the factor of a GradScaler",
            hint="scaler.step(optimizer) divides the gradients before the step, and scaler.unscale_(optimizer) does only that; "
            "optimizer.step() knows nothing of the scaler.",
        )
    fail(
        f"The gradients of B are {times:.3g} times as large as after one backward pass{several}.",
        expected="the gradients of one backward pass",
        hint="backward() adds to the gradients that are already there. How often was it called, and on what?",
    )
