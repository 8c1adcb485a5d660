"""Training losses as a student records them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from graders.engine import fail

LAST = 20
"""`final_loss` is the mean of so many steps, as the exercise defines it."""

DIVERGED = 2.0
"""A loss that ends at more than this many times its start has diverged. The noise-prediction loss of a base model
starts below 1, the loss of predicting nothing; single steps vary, means of 20 do so by less than half (see
`grade fixtures calibrate`)."""


def by_rank(losses: Any) -> dict[Any, Any]:
    """The curves by rank; anything that is no mapping is failed in words."""
    if not isinstance(losses, Mapping):
        fail(
            f"`losses` is a {type(losses).__name__}, not a mapping from rank to a list of losses.",
            expected="a dictionary from rank to the losses of that rank",
            hint="Fill it as losses[rank] = [...], one number per training step.",
        )
    return dict(losses)


def _numbers(curve: Any) -> list[float] | None:
    if not isinstance(curve, (list, tuple)):
        return None
    flat = [c[0] if isinstance(c, (list, tuple)) and len(c) == 1 else c for c in curve]
    if not all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in flat):
        return None
    return [float(c) for c in flat]


def _curve(curves: dict[Any, Any], rank: int) -> list[float]:
    numbers = _numbers(curves.get(rank))
    if not numbers:
        there = ", ".join(map(str, curves)) or "nothing"
        fail(
            f"`losses[{rank}]` is missing or is not a list of numbers (keys found: {there}).",
            expected=f"the loss of every training step at rank {rank}",
            hint="Append loss.item() in every step of the loop.",
        )
    return numbers


def judge(curves: dict[Any, Any], rank: int, steps: int) -> str:
    """Fail unless the curve of ``rank`` is finite, complete and did not diverge; say what it looks like."""
    numbers = _curve(curves, rank)
    broken = next((i for i, value in enumerate(numbers) if not math.isfinite(value)), None)
    if broken is not None:
        fail(
            f"The loss is {numbers[broken]} from step {broken + 1} of {len(numbers)} on.",
            expected="a finite loss in every step",
            hint="Print what goes into the loss at that step. A learning rate far too large and half precision are the usual "
            "causes.",
            misconception="loss-not-finite",
        )
    if len(numbers) != steps:
        fail(
            f"There are {len(numbers)} losses for {steps} training steps.",
            expected=f"{steps} losses, one for each of STEPS steps",
            hint="Train for STEPS steps and record the loss of each, neither every tenth nor the mean of an epoch.",
            misconception="too-few-steps" if len(numbers) < steps else None,
        )
    start, end = float(np.mean(numbers[:LAST])), float(np.mean(numbers[-LAST:]))
    if end > DIVERGED * max(start, 1e-6):
        fail(
            f"The loss rises from {start:.3f} to {end:.3f}.",
            expected="a loss that ends no higher than it began",
            hint="Lower the learning rate; for LoRA values around 1e-4 to 1e-3 are usual.",
            misconception="loss-diverged",
        )
    return f"{len(numbers)} finite losses, from {start:.3f} to {end:.3f}"


def final(curves: dict[Any, Any], rank: int) -> float:
    """The mean of the last 20 losses."""
    return float(np.mean(_curve(curves, rank)[-LAST:]))
