"""Ways to put two adapters to work at once: as their weights say, and as mistakes have it.

An arrangement makes of both adapters and their weights the adapters to be merged into the base model, each at a weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from graders.lora.measures.adapters import Adapter, summed
from graders.lora.measures.composition_mistakes import Weights

Both = tuple[Adapter, Adapter]
Merged = list[tuple[Adapter, float]]
Arrangement = Callable[[Both, Weights], Merged]
Shares = tuple[float, float]
"""Of one adapter: the factor of its A, and that of its B."""

PARTS = ("down_blocks", "mid_block", "up_blocks")
"""Of a U-Net, as diffusers takes a weight for each."""


def block_of(layer: str) -> str:
    """The block in which a layer stands, for example "mid_block" or "up_blocks.2"."""
    first, second, *_ = layer.split(".")
    return f"{first}.{second}" if second.isdigit() else first


def as_asked(both: Both, weights: Weights) -> Merged:
    """Each adapter at its weight."""
    return list(zip(both, weights, strict=True))


def without(block: str) -> Arrangement:
    """Each adapter at its weight, and neither in one block of the U-Net."""
    return lambda both, weights: as_asked((_outside(both[0], block), _outside(both[1], block)), weights)


def in_full(part: str) -> Arrangement:
    """Each adapter at its weight, but in full in one part of the U-Net: diffusers does so where the part is given no weight."""

    def arrange(both: Both, weights: Weights) -> Merged:
        return without(part)(both, weights) + [(_inside(adapter, part), 1.0) for adapter in both]

    return arrange


def crossed(shares: Callable[[float], Shares]) -> Arrangement:
    """(Σ b·B)(Σ a·A) in place of Σ weight · scale · B A, with a and b made of weight · scale."""

    def arrange(both: Both, weights: Weights) -> Merged:
        layers = {}
        for name in {**both[0].layers, **both[1].layers}:
            pairs = [
                (adapter.layers[name], *shares(weight * adapter.layers[name].scale))
                for adapter, weight in zip(both, weights, strict=True)
                if name in adapter.layers
            ]
            layers[name] = summed(pairs)
        return [(Adapter(layers, both[0].format), 1.0)]

    return arrange


CROSSED = (
    crossed(lambda factor: (math.copysign(math.sqrt(abs(factor)), factor), math.sqrt(abs(factor)))),
    crossed(lambda factor: (1.0, factor)),
    crossed(lambda factor: (factor, 1.0)),
    crossed(lambda factor: (factor, factor)),
)
"""Roots on both sides, as in PEFT's ``add_weighted_adapter(combination_type="linear")``; the factor on one side, or on both."""


def _outside(adapter: Adapter, block: str) -> Adapter:
    return replace(adapter, layers={name: its for name, its in adapter.layers.items() if not _within(name, block)})


def _inside(adapter: Adapter, block: str) -> Adapter:
    return replace(adapter, layers={name: its for name, its in adapter.layers.items() if _within(name, block)})


def _within(layer: str, block: str) -> bool:
    return layer.startswith(f"{block}.")
