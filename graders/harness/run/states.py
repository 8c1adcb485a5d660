"""Tensors, modules and optimizers of a notebook as they were when it had run: what there is besides numbers."""

from __future__ import annotations

import ctypes
import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class TensorFacts:
    """What the kernel said of a tensor: none of it survives in the numbers."""

    dtype: str
    device: str
    in_graph: bool


@dataclass(frozen=True)
class ParameterState:
    """A parameter of a module: its value and gradient, and the identity by which an optimizer names it.

    Of a large frozen one only the SHA-256 of its bytes is known; ``value`` has its type and shape, on the meta device.
    """

    value: Tensor
    gradient: Tensor | None
    trainable: bool
    identity: int
    digest: str | None = None

    def equals(self, tensor: Tensor) -> bool:
        """Whether the value is, bit for bit, a tensor of the same type and shape."""
        theirs = tensor.detach().contiguous()
        if self.digest is not None:
            # Not through NumPy, which has no bfloat16
            return hashlib.sha256(ctypes.string_at(theirs.data_ptr(), theirs.nbytes)).hexdigest() == self.digest
        if (self.value.dtype, self.value.shape) != (theirs.dtype, theirs.shape):
            return False
        # Flat, for the bytes of a tensor without dimensions cannot be viewed
        return torch.equal(self.value.flatten().view(torch.uint8), theirs.flatten().view(torch.uint8))


@dataclass(frozen=True)
class ModuleState:
    """A PyTorch module: the name of its class, its mode, and its parameters by name."""

    class_name: str
    training: bool
    parameters: dict[str, ParameterState]


@dataclass(frozen=True)
class OptimizerState:
    """An optimizer: the name of its class, the identities of the parameters it holds, and each group's options."""

    class_name: str
    identities: tuple[int, ...]
    options: Any

    @property
    def groups(self) -> list[dict[Any, Any]]:
        """The options of each group of parameters; an empty one for what cannot be such."""
        groups = self.options if isinstance(self.options, list) else []
        return [group if isinstance(group, dict) else {} for group in groups]


@dataclass(frozen=True)
class StepsSeen:
    """How many steps of optimizers were seen, and how many of those had a learning rate other than 0."""

    taken: int
    moving: int
