"""A LoRA adapter in memory: its matrices, what can be told from them, and merging it into a U-Net for a while."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from graders.lora.measures.layers import Kind, kind_of

ZERO = 1e-6
"""‖B A‖ / (‖B‖ ‖A‖) up to which B A is rounding: an orthogonal initialisation leaves 2e-7 in float32."""


@dataclass(frozen=True, eq=False)  # a tensor's == is elementwise, so a generated __eq__ would raise
class LoraLayer:
    """The low-rank pair of one layer, in float32 on the CPU.

    ``down`` is A, [r, in] for a linear layer and [r, in, kh, kw] for a convolution; ``up`` is B, [out, r] or
    [out, r, 1, 1].
    """

    name: str
    down: Tensor
    up: Tensor
    alpha: float | None
    rslora: bool = False

    @property
    def rank(self) -> int:
        """The r of A, [r, in], and B, [out, r]."""
        return self.down.shape[0]

    @property
    def parameters(self) -> int:
        """The numbers in A and B together: r · (in + out) for a linear layer."""
        return self.down.numel() + self.up.numel()

    @property
    def kind(self) -> Kind:
        """The kind of layer that the pair stands on."""
        return kind_of(self.name)

    @property
    def scale(self) -> float:
        """α/r; α/√r for rank-stabilised LoRA; 1 where no α is recorded, since the libraries then take α = r."""
        if self.alpha is None:
            return 1.0
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @property
    def is_zero(self) -> bool:
        """Whether B A is zero but for rounding."""
        down, up = self.down.flatten(1).double(), self.up.flatten(1).double()
        # ‖B A‖ of A [r, in] and B [out, r] from their Gram matrices [r, r], which are small
        product = float(((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt())
        return not product > ZERO * float(up.norm() * down.norm())

    def delta(self, weight: float = 1.0) -> Tensor:
        """weight · scale · B A, in the shape of the layer's own weight: [out, in] or [out, in, kh, kw]."""
        product = self.up.flatten(1) @ self.down.flatten(1)  # [out, r] @ [r, in·kh·kw]
        return (weight * self.scale) * product.reshape(self.up.shape[0], *self.down.shape[1:])


@dataclass(frozen=True, eq=False)
class Adapter:
    """A LoRA adapter of a U-Net: its layers by module name, in the order of the U-Net's ``named_modules()``."""

    layers: dict[str, LoraLayer]
    format: str
    """``"diffusers"``, ``"peft"`` or ``"kohya"``."""
    ignored: tuple[str, ...] = ()
    """Names of tensors that belong to another model, such as the text encoder."""
    loader: str = ""
    """The library's call that loads such a file, for example ``"load_lora_weights"``."""

    @property
    def ranks(self) -> set[int]:
        """Every rank that occurs."""
        return {layer.rank for layer in self.layers.values()}

    @property
    def rank(self) -> int | None:
        """The rank that all layers share, or None where they differ."""
        return next(iter(self.ranks)) if len(self.ranks) == 1 else None

    @property
    def alpha_recorded(self) -> bool:
        """Whether the file says α; where it does not, the libraries take α = r, whatever the training used."""
        return all(layer.alpha is not None for layer in self.layers.values())

    @property
    def parameters(self) -> int:
        """The numbers in all the pairs."""
        return sum(layer.parameters for layer in self.layers.values())

    @property
    def changes_nothing(self) -> bool:
        """Whether every B A is zero but for rounding, as before the first training step.

        Most initialisations set B = 0; an orthogonal one sets neither matrix to zero, and yet their product.
        """
        return all(layer.is_zero for layer in self.layers.values())

    def at(self, scales: Mapping[str, float]) -> Adapter:
        """The same matrices with other factors before B A, by the names of the layers."""
        layers = {
            name: replace(layer, alpha=scales[name] * layer.rank, rslora=False) if name in scales else layer
            for name, layer in self.layers.items()
        }
        return replace(self, layers=layers)

    def names_by_kind(self) -> dict[Kind, list[str]]:
        """The layers' names, under the kinds that occur."""
        names: dict[Kind, list[str]] = {}
        for layer in self.layers.values():
            names.setdefault(layer.kind, []).append(layer.name)
        return names

    def non_finite(self) -> list[str]:
        """The layers with a NaN or an infinity in A or B."""
        return [
            layer.name
            for layer in self.layers.values()
            if not (layer.down.isfinite().all() and layer.up.isfinite().all())
        ]


def summed(pairs: Sequence[tuple[LoraLayer, float, float]]) -> LoraLayer:
    """One pair of matrices from several of the same layer: (Σ b·B)(Σ a·A) of (pair, a, b), smaller ranks filled up with zeros.

    That is not the sum of their changes: each B meets the other adapters' A as well.
    """
    rank = max(layer.rank for layer, *_ in pairs)

    def total(matrices: list[Tensor], side: int) -> Tensor:
        before = (0, 0) * (matrices[0].ndim - 1 - side)  # pad() begins with the last dimension
        grown = [functional.pad(matrix, (*before, 0, rank - matrix.shape[side])) for matrix in matrices]
        return torch.stack(grown).sum(0)

    down = total([a * layer.down for layer, a, _ in pairs], 0)
    up = total([b * layer.up for layer, _, b in pairs], 1)
    return LoraLayer(pairs[0][0].name, down, up, None)


@contextmanager
def merged(unet: nn.Module, adapters: Iterable[tuple[Adapter, float]]) -> Iterator[nn.Module]:
    """Within the context the weights of ``unet`` are W + Σ weight · scale · B A; after it they are W again, to the bit.

    The sum is formed in float32 and rounded once to the weights' own dtype. An adapter of weight 0 is left out
    altogether: its zeros would still turn -0.0 into 0.0, and 0 · NaN into NaN.
    """
    deltas: dict[str, Tensor] = {}
    for adapter, weight in adapters:
        for name, layer in adapter.layers.items() if weight != 0 else ():
            delta = layer.delta(weight)
            deltas[name] = deltas[name] + delta if name in deltas else delta
    originals: list[tuple[Tensor, Tensor]] = []
    try:
        for name, delta in deltas.items():
            parameter = unet.get_submodule(name).get_parameter("weight").detach()  # shares storage, needs no gradient
            originals.append((parameter, parameter.clone()))
            parameter.copy_(parameter + delta.to(parameter.device))
        yield unet
    finally:
        for parameter, original in originals:
            parameter.copy_(original)
