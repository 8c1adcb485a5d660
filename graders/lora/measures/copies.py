"""Whether an adapter is a copy of a known one, disguised or not.

A disguise may scale the known adapter's change ΔW, write it down in another basis (B·R, R⁻¹·A), add to it or cut from it. What
stays is that ΔW, or most of it, lies within the spaces of the hand-in: its rows among those of A, its columns among those of B.
Adapters that were trained independently, even on the same pictures in the same order, share much less of these spaces. Noise
hides the spaces; it does not hide what is particular to ΔW, a fingerprint.

What adapters do to activations tells less. All that have learned the style change the predicted noise alike, whatever they were
trained from (cosines from 0.992 to 0.995 between those of independent trainings and known ones), and what is left of a known
adapter's own in the predictions of a copy under noise (0.04 to 0.09) is no more than adapters of other kinds have of it by chance
(up to 0.08).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from graders.lora.measures.adapters import Adapter, LoraLayer
from graders.lora.measures.disguises import factored_again
from graders.lora.measures.thresholds import Thresholds

RELATIVE = 1e-5
"""A direction that is smaller than the largest by this factor is rounding: float16 has eleven bits."""


SMALL, LARGE = 4, 16
"""The ranks at which independent trainings were compared."""


@dataclass(frozen=True)
class Bound:
    """What adapters with trainings of their own do not reach: of :func:`likeness`, and of :meth:`Fingerprint.likeness`."""

    likeness: float
    fingerprint: float


@dataclass(frozen=True)
class Bounds:
    """The bounds for adapters of rank 4 or less, ``small``, and for those of more, ``large``."""

    small: Bound
    large: Bound

    @classmethod
    def of(cls, limits: Thresholds) -> Bounds:
        """Those among the thresholds."""
        return cls(
            Bound(limits.copied_rank4, limits.fingerprint_rank4), Bound(limits.copied_rank16, limits.fingerprint_rank16)
        )

    def at(self, rank: int) -> Bound:
        """That for adapters of a rank."""
        return self.small if rank <= SMALL else self.large


def is_copy(known: Adapter, adapter: Adapter, bounds: Bounds, fingerprint: Fingerprint | None = None) -> bool:
    """Whether an adapter is more alike to a known one than trainings of their own ever were.

    Of a rank above 16 the best approximation of rank 16 is compared: a space that is nearly everything contains everything.
    """
    rank = max(adapter.ranks, default=0)
    bound = bounds.at(rank)
    if fingerprint and fingerprint.likeness(adapter) > bound.fingerprint:
        return True
    return likeness(known, factored_again(adapter, LARGE) if rank > LARGE else adapter) > bound.likeness


def containment(known: Adapter, adapter: Adapter) -> float:
    """The share of the known adapter's change that lies within the row and column spaces of another, from 0 to 1.

    Of each layer that is ‖U Uᵀ ΔW V Vᵀ‖² of ‖ΔW‖², with orthonormal U [out, r] and V [in, r]; all layers of the known adapter
    count by the square of their change, and those that the other does not have as 0. It does not depend on the strength of
    either, nor on how its rank is written down. 0 for a known adapter that changes nothing.
    """
    inside = whole = 0.0
    for name, layer in known.layers.items():
        delta = layer.delta().flatten(1).double()
        whole += float(delta.square().sum())
        if name in adapter.layers:
            up, down = _spaces(adapter.layers[name])
            inside += float((up.T @ delta @ down).square().sum())
    return inside / whole if whole > 0 else 0.0


def _spaces(layer: LoraLayer) -> tuple[Tensor, Tensor]:
    """Orthonormal bases of a layer's columns, [out, r], and rows, [in, r], as far as both take part in its change."""
    up, down = layer.up.flatten(1).double(), layer.down.flatten(1).double()
    if not (up.isfinite().all() and down.isfinite().all()):
        return up[:, :0], down[:0].T
    # The change's own singular vectors, without making a matrix of the layer's size: B A = Q_b (R_b R_aᵀ) Q_aᵀ
    columns, of_columns = torch.linalg.qr(up)
    rows, of_rows = torch.linalg.qr(down.T)
    left, sizes, right = torch.linalg.svd(of_columns @ of_rows.T)
    kept = int((sizes > RELATIVE * sizes.max().clamp_min(math.ulp(0.0))).sum()) if len(sizes) else 0
    return columns @ left[:, :kept], rows @ right[:kept].T


def likeness(known: Adapter, adapter: Adapter) -> float:
    """How far an adapter contains a known one beyond what a space of its size contains of anything, from 0 to 1.

    A space of r among n dimensions holds r/n of a direction drawn at random, so that large ranks in narrow layers contain a
    good part of whatever there is: this is taken off.
    """
    share, by_chance = containment(known, adapter), _by_chance(known, adapter)
    return max(0.0, (share - by_chance) / (1 - by_chance)) if by_chance < 1 else 0.0


def _by_chance(known: Adapter, adapter: Adapter) -> float:
    """The share of a known adapter's change that spaces of the adapter's ranks hold of directions drawn at random."""
    expected = whole = 0.0
    for name, layer in known.layers.items():
        change = float(layer.delta().square().sum())
        whole += change
        if name in adapter.layers:
            rank = adapter.layers[name].rank
            out, into = layer.up.flatten(1).shape[0], layer.down.flatten(1).shape[1]
            expected += change * min(1.0, rank / out) * min(1.0, rank / into)
    return expected / whole if whole > 0 else 0.0


@dataclass(frozen=True)
class Fingerprint:
    """What is particular to a known adapter: its change, less the part of it that independent trainings have in common.

    That it came from these random numbers, and from no others, stays in every copy, also under noise that hides the spaces.
    ``layers`` are matrices [out, in] by module name, which together have length 1.
    """

    layers: dict[str, Tensor]

    @classmethod
    def of(cls, known: Adapter, others: Sequence[Adapter]) -> Fingerprint:
        """The fingerprint of a known adapter, beside ``others`` that were trained independently."""
        names = list(known.layers)
        basis, _ = torch.linalg.qr(torch.stack([_flat(other, names) for other in others], dim=1))
        change = _flat(known, names)
        rest = change - basis @ (basis.T @ change)
        parts = (rest / rest.norm()).split([known.layers[name].delta().numel() for name in names])
        shapes = (known.layers[name].delta().flatten(1).shape for name in names)
        return cls({name: part.reshape(shape) for name, part, shape in zip(names, parts, shapes, strict=True)})

    def likeness(self, adapter: Adapter) -> float:
        """Cosine of the angle between the fingerprint and an adapter's change; 0 for one that changes nothing."""
        dot = square = 0.0
        for name, layer in adapter.layers.items():
            delta = layer.delta().flatten(1)
            square += float(delta.double().square().sum())
            if name in self.layers and self.layers[name].shape == delta.shape:
                dot += float((self.layers[name].double() * delta.double()).sum())
        found = dot / math.sqrt(square) if square > 0 else 0.0
        return found if math.isfinite(found) else 0.0

    def save(self, path: Path) -> None:
        """Write it in half precision."""
        save_file({name: matrix.half().contiguous() for name, matrix in self.layers.items()}, path)

    @classmethod
    def read(cls, path: Path) -> Fingerprint:
        """One that was saved."""
        return cls({name: matrix.float() for name, matrix in load_file(path).items()})


def _flat(adapter: Adapter, names: Sequence[str]) -> Tensor:
    return torch.cat([adapter.layers[name].delta().flatten() for name in names])
