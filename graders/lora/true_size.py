"""Base models of true size, as large as Stable Diffusion 1.5: how they are told, and what they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TRUE_UNET = 4 * 859_520_964
"""Bytes of the U-Net of Stable Diffusion 1.5 alone: exercise 1 counts its parameters, and each has four bytes."""
TRUE_SIZE = 1 << 30
"""Bytes that the file of a U-Net's weights has at least if it is of true size; half precision makes it 1.7 GB."""
TRUE_MEMORY = 2 * TRUE_UNET
"""Bytes that a model of true size takes in addition: exercise 2 took 6.8 GiB with it, in float32 on the CPU, and as much
without it as its outline says."""


def of_true_size(model: Any) -> bool:
    """Whether a model is a folder with a U-Net as large as that of Stable Diffusion 1.5."""
    weights = Path(str(model), "unet", "diffusion_pytorch_model.safetensors")
    return weights.is_file() and weights.stat().st_size >= TRUE_SIZE
