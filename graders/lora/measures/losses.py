"""Training losses as a student records them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from graders.harness.data import values
from graders.harness.rubric import fail
from graders.lora.measures import tables

LAST = 20
"""`final_loss` is the mean of so many steps, as the exercise defines it."""

DIVERGED = 2.0
"""The last quarter of a run may have this many times the mean loss of its first quarter. Noise-prediction losses of
single steps spread about as widely as their mean (their timesteps differ), so that in a run of 300 steps that gets
better by a tenth, means over a quarter come to differ by this factor less than once in ten thousand runs."""


MIN_RISES, FEW_STEPS = 0.1, 40
"""At least this share of the steps has a larger loss than the step before. Timestep and noise of each step are drawn
anew, so that about half of them have: of 40 independent steps fewer than 4 do once in 10 million runs, of 300 never."""


def by_rank(losses: Any) -> dict[Any, Any]:
    """The curves by rank, also of a table with a column for each; anything without ranks is failed in words."""
    curves = tables.by_rank(losses)
    if curves is None:
        fail(
            f"`losses` is of type `{values.type_name(losses)}`, not a mapping from rank to a list of losses.",
            expected="a dictionary from rank to the losses of that rank",
            hint="Fill it as losses[rank] = [...], one number per training step.",
        )
    return curves


def _numbers(curve: Any) -> list[float] | None:
    if not isinstance(curve, (list, tuple)):
        return None
    numbers = [tables.number(c.get("loss", c) if isinstance(c, dict) else c) for c in curve]
    return None if None in numbers else [c for c in numbers if c is not None]


def _instead(curves: dict[Any, Any], rank: int) -> str:
    """What there is in place of a list of numbers."""
    if rank not in curves:
        return f"missing (keys there: {values.keys(curves)})"
    found = curves[rank]
    if not isinstance(found, (list, tuple)):
        return f"of type `{values.one_line(values.type_name(found), 60)}`, not a list of numbers"
    other = next((item for item in found if tables.number(item) is None), None)
    return f"a list with something of type `{values.one_line(values.type_name(other), 60)}` in it" if found else "empty"


def curve(curves: dict[Any, Any], rank: int) -> list[float]:
    """The losses of ``rank``; anything but a list of numbers is failed in words."""
    numbers = _numbers(curves.get(rank))
    if not numbers:
        fail(
            f"`losses[{rank}]` is {_instead(curves, rank)}.",
            expected=f"the loss of every training step at rank {rank}",
            hint="Append loss.item() in every step of the loop.",
        )
    return numbers


def judge(curves: dict[Any, Any], rank: int, steps: int) -> str:
    """Fail unless the curve of ``rank`` is finite, complete and did not diverge; say what it looks like."""
    numbers = curve(curves, rank)
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
            hint="Record one loss per step of the optimizer: not every tenth, not the mean of an epoch, and one mean where "
            "gradients are accumulated.",
            misconception="too-few-steps" if len(numbers) < steps else None,
        )
    rises = sum(later > earlier for earlier, later in pairwise(numbers))
    odd = None
    if min(numbers) < 0:
        odd = "no mean squared error is negative"
    elif steps >= FEW_STEPS and rises < MIN_RISES * steps:
        odd = "with timesteps drawn at random, nearly every second step's loss is above the one before, and here hardly any is"
    if odd:
        fail(
            f"The losses are {', '.join(f'{loss:g}' for loss in numbers[:3])} …: {odd}.",
            expected="the losses that your training loop computed",
            hint="Append loss.item() in every step of the loop, after computing it.",
            misconception="table-does-not-match",
        )
    window = max(LAST, len(numbers) // 4)
    start, end = float(np.mean(numbers[:window])), float(np.mean(numbers[-window:]))
    if end > DIVERGED * start:
        fail(
            f"The loss rises from {start:.3f} to {end:.3f}.",
            expected="a loss that ends no higher than it began",
            hint="Is backward() called on the loss itself, and not on its negative? If so, lower the learning rate; for LoRA "
            "values around 1e-4 to 1e-3 are usual.",
            misconception="loss-diverged",
        )
    return f"{len(numbers)} finite losses, from {start:.3f} to {end:.3f}"


def final(curves: dict[Any, Any], rank: int) -> float:
    """The mean of the last 20 losses."""
    return float(np.mean(curve(curves, rank)[-LAST:]))
