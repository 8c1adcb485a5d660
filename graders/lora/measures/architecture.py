"""A U-Net's architecture: which layers it has, where they stand, and how large each is. No weights are needed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graders.lora.measures.blocks import Blocks
from graders.lora.measures.layers import Kind, cross_attention_projections, kind_of

MID_BLOCK = "mid block"
"""The place of the U-Net's middle; any other with attention is named by its resolution."""


class Projection(StrEnum):
    """The four matrices of an attention module; the value is how a sentence names them."""

    QUERY = "W_Q"
    KEY = "W_K"
    VALUE = "W_V"
    OUT = "W_out"


_PROJECTION_OF_PART = {
    "to_q": Projection.QUERY,
    "to_k": Projection.KEY,
    "to_v": Projection.VALUE,
    "to_out": Projection.OUT,
}


@dataclass(frozen=True)
class Layer:
    """A layer with a weight matrix: ``inputs`` and ``outputs`` are the widths that a LoRA around it has.

    A convolution's A reads each place of its kernel, so its ``inputs`` are channels × height × width.
    """

    name: str
    kind: Kind
    inputs: int
    outputs: int
    weights: int
    biases: int


def empty_unet(model: str | Path) -> nn.Module:
    """The U-Net of a folder with ``unet/config.json``, or of a Hub id, without weights, as diffusers builds it."""
    from diffusers import UNet2DConditionModel  # takes seconds to import, and only some checks need it

    with torch.device("meta"):
        return UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(model, subfolder="unet"))


class Architecture:
    """What there is in the U-Net of a configuration."""

    def __init__(self, model: str) -> None:
        """``model`` is a folder with ``unet/config.json``, or a Hub id."""
        unet: Any = empty_unet(model)
        self.unet: nn.Module = unet
        self.config: dict[str, Any] = dict(unet.config)
        self.blocks = Blocks.of(self.config)
        parameters = [(name, parameter.numel()) for name, parameter in unet.named_parameters()]
        self.parameters = sum(count for _, count in parameters)
        self.parameter_tensors = len(parameters)
        self.parameter_names = frozenset(name for name, _ in parameters)
        self.modules = {name: type(module).__name__ for name, module in unet.named_modules()}
        self.counted_per_module = sum(p.numel() for module in unet.modules() for p in module.parameters())
        self.layers = {name: layer for name, module in unet.named_modules() if (layer := _layer(name, module))}
        self.cross_attention = tuple(cross_attention_projections(unet))

    def of_kind(self, *kinds: Kind) -> list[Layer]:
        """The layers of these kinds."""
        return [layer for layer in self.layers.values() if layer.kind in kinds]

    def select(self, names: Iterable[str]) -> list[Layer]:
        """The layers with these names; what is no layer with a weight matrix is left out."""
        return [self.layers[name] for name in names if name in self.layers]

    @cached_property
    def places(self) -> list[str]:
        """Where cross-attention stands: resolutions of the latent from fine to coarse, then the mid block."""
        found = {self.place_of(name) for name in self.cross_attention}
        return [place for place in [*self._blocks_by_place, MID_BLOCK] if place in found]

    @cached_property
    def _blocks_by_place(self) -> list[str]:
        """The place of each of the down blocks in turn; the up blocks go the same way back."""
        size, levels = self.blocks.size, range(self.blocks.depth)
        if size is not None:
            return [f"{size >> level}×{size >> level} blocks" for level in levels]
        return [f"blocks at level {level}" for level in levels]

    def place_of(self, name: str) -> str | None:
        """The place of a module, None for one outside of the blocks."""
        number = self.blocks.number_of(name)
        if number == self.blocks.outside:
            return None
        return MID_BLOCK if number == self.blocks.mid else self._blocks_by_place[self.blocks.level(number)]


@lru_cache(maxsize=8)
def architecture_of(model: str) -> Architecture:
    """The same for all hand-ins, of a model whose folder stays as it is."""
    return Architecture(model)


def projection_of(name: str) -> Projection | None:
    """Which projection of an attention module a name is about: of ``attn1`` or ``attn2``, or of what lies inside."""
    parts = name.split(".")
    return next((_PROJECTION_OF_PART[part] for part in parts if part in _PROJECTION_OF_PART), None)


def _layer(name: str, module: nn.Module) -> Layer | None:
    if isinstance(module, nn.Linear):
        inputs, outputs = module.in_features, module.out_features
    elif isinstance(module, nn.Conv2d):
        inputs, outputs = module.in_channels * math.prod(module.kernel_size), module.out_channels
    else:
        return None
    biases = 0 if module.bias is None else module.bias.numel()
    return Layer(name, kind_of(name), inputs, outputs, module.weight.numel(), biases)
