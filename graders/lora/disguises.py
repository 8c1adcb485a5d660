"""Ways in which a copied adapter is made to look like another one, for the zoo and for measuring how many are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graders.checks.adapters import Adapter, LoraLayer


def rescaled(adapter: Adapter, factor: float) -> Adapter:
    """A times a factor and B by it: another file, and the same change."""
    return _each(adapter, lambda layer: (layer.down * factor, layer.up / factor))


def rotated(adapter: Adapter, seed: int) -> Adapter:
    """B·R and R⁻¹·A for a random invertible R: the same change in another basis."""
    generator = torch.Generator().manual_seed(seed)

    def rotate(layer: LoraLayer) -> tuple[Tensor, Tensor]:
        mixing = torch.randn(layer.rank, layer.rank, generator=generator, dtype=torch.float64)
        mixing += 3 * torch.eye(layer.rank, dtype=torch.float64)
        down, up = layer.down.flatten(1).double(), layer.up.flatten(1).double()
        return torch.linalg.solve(mixing, down).float(), (up @ mixing).float()

    return _each(adapter, rotate)


def permuted(adapter: Adapter, seed: int) -> Adapter:
    """The rank components in another order."""
    generator = torch.Generator().manual_seed(seed)

    def permute(layer: LoraLayer) -> tuple[Tensor, Tensor]:
        order = torch.randperm(layer.rank, generator=generator)
        return layer.down[order], layer.up[:, order]

    return _each(adapter, permute)


def factored_again(adapter: Adapter, rank: int) -> Adapter:
    """The change merged, and the best approximation of a rank taken of it: truncated, or as it was."""
    return _each(adapter, lambda layer: _factors(_product(layer), rank))


def padded(adapter: Adapter, rank: int, share: float, seed: int) -> Adapter:
    """Random rank components beside the adapter's own, whose change has ``share`` of the norm of its change."""
    generator = torch.Generator().manual_seed(seed)

    def pad(layer: LoraLayer) -> tuple[Tensor, Tensor]:
        down, up = layer.down.flatten(1), layer.up.flatten(1)
        more = rank - layer.rank
        rows = torch.randn(more, down.shape[1], generator=generator)
        columns = torch.randn(up.shape[0], more, generator=generator)
        columns *= share * (up @ down).norm() / (columns @ rows).norm()
        return torch.cat([down, rows]), torch.cat([up, columns], dim=1)

    return _each(adapter, pad)


def noised(adapter: Adapter, share: float, seed: int) -> Adapter:
    """Noise on A and B, each of ``share`` of the matrix's norm."""
    generator = torch.Generator().manual_seed(seed)

    def noise(matrix: Tensor) -> Tensor:
        drawn = torch.randn(matrix.shape, generator=generator)
        return matrix + drawn * (share * matrix.norm() / drawn.norm())

    return _each(adapter, lambda layer: (noise(layer.down), noise(layer.up)))


def averaged(adapter: Adapter, other: Adapter, rank: int) -> Adapter:
    """The mean of two adapters' changes, at a rank, and at the first one's strength."""
    return _each(
        adapter, lambda layer: _factors((layer.delta() + other.layers[layer.name].delta()) / (2 * layer.scale), rank)
    )


@dataclass(frozen=True)
class Disguise:
    """A copy, and how it was made."""

    name: str
    adapter: Adapter


def disguises(known: Adapter, other: Adapter, rank: int, seed: int) -> Iterator[Disguise]:
    """Copies of a known adapter for an exercise that asks for ``rank``; ``other`` was trained independently."""
    own = known.rank or rank
    at = known if own == rank else factored_again(known, rank) if rank < own else None
    if at is not None:
        yield Disguise("as it is" if own == rank else "the best of a lower rank", at)
        yield Disguise("rescaled", rescaled(at, 3.7))
        yield Disguise("rotated", rotated(at, seed))
        yield Disguise("permuted", permuted(at, seed))
        yield Disguise("factored again", factored_again(at, rank))
        for share in (0.3, 0.9, 2.0):
            yield Disguise(f"noised at {share:g}", noised(at, share, seed))
        yield Disguise("averaged", averaged(known, other, rank))
    if own < rank:
        for share in (0.0, 0.3, 0.9, 2.0):
            yield Disguise(f"padded at {share:g}", padded(known, rank, share, seed))


def _product(layer: LoraLayer) -> Tensor:
    """B A without its strength, which may be 0, in double precision, in which no finite matrices overflow: [out, in]."""
    product = layer.up.flatten(1).double() @ layer.down.flatten(1).double()
    return product if product.isfinite().all() else torch.zeros_like(product)


def _factors(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """A and B of the best approximation of a rank to a change [out, in, ...], both of the same size."""
    left, sizes, right = torch.linalg.svd(change.flatten(1), full_matrices=False)
    root = sizes[:rank].sqrt()
    return root[:, None] * right[:rank], left[:, :rank] * root


def _each(adapter: Adapter, change: Callable[[LoraLayer], tuple[Tensor, Tensor]]) -> Adapter:
    return replace(adapter, layers={name: _with(layer, *change(layer)) for name, layer in adapter.layers.items()})


def _with(layer: LoraLayer, down: Tensor, up: Tensor) -> LoraLayer:
    """The layer with other matrices, whose rank may be another one, and the same strength."""
    alpha = None if layer.alpha is None else layer.scale * down.shape[0]
    shape = layer.down.shape[1:], layer.up.shape[2:]
    return replace(
        layer,
        down=down.reshape(down.shape[0], *shape[0]).contiguous(),
        up=up.reshape(layer.up.shape[0], -1, *shape[1]).contiguous(),
        alpha=alpha,
        rslora=False,
    )
