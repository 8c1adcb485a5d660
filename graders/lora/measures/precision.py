"""How exactly two tensors can agree that were computed from the same numbers, but in another arithmetic."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

FLOOR = 1e-4
"""Relative error in norm that float32 is always given. The same U-Net on one or two threads, in float32 or in float64,
differs by 3e-7; the nearest thing that must be told apart, the next timestep, by 1e-3."""
ROUNDINGS = 8
"""Relative error in norm of a whole model, in units of its arithmetic's epsilon. Measured on this U-Net, VAE and text
encoder it is at most 3 (float32), 0.9 (float16) and 0.9 (bfloat16)."""
TF32 = 2.0**-10
"""The epsilon of the format in which GPUs multiply float32 in convolutions."""
# `pytest tests/lora/measures/test_training_step.py -k arithmetic` measures all of these again.

_EPSILON = {name: torch.finfo(getattr(torch, name)).eps for name in ("float16", "bfloat16", "float32", "float64")}


def name_of(tensor: Tensor) -> str:
    """The type of a tensor's elements, for example "float32"."""
    return str(tensor.dtype).removeprefix("torch.")


def is_float(tensor: Tensor) -> bool:
    """Whether a tensor's elements are of a type that models compute in."""
    return name_of(tensor) in _EPSILON


def tolerance(dtypes: Iterable[str], device: str = "cpu", roundings: float = ROUNDINGS) -> float:
    """The largest relative error in norm of what is right, computed in these dtypes (the coarsest counts) on a device."""
    epsilon = max(_EPSILON.get(dtype, 0.0) for dtype in dtypes)
    if not device.startswith("cpu"):
        epsilon = max(epsilon, TF32)
    return max(FLOOR, roundings * epsilon)


def relative_error(found: Tensor, true: Tensor) -> float:
    """‖found − true‖ / ‖true‖ for two tensors of one shape; infinite where only ``true`` is zero."""
    difference = (found.double() - true.double()).norm()
    return 0.0 if difference == 0 else float(difference / true.double().norm())
