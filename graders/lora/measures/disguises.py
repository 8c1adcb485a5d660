"""Ways in which a copied adapter is made to look like another one, for the zoo and for measuring how many are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graders.lora.measures.adapters import Adapter, LoraLayer

SHARES = (0.3, 0.9, 2.0)
"""Of the norm of what it hides: how much noise a disguise adds."""
LARGEST = 64
"""The rank at which the means of several adapters are kept before they are cut to the one asked for."""


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
        return torch.linalg.solve(mixing, down), up @ mixing

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


def averaged(adapter: Adapter, other: Adapter, rank: int, share: float = 0.5) -> Adapter:
    """The mean of two adapters' changes, in which the other one has ``share``, at a rank, and at the first one's strength."""
    return _each(
        adapter,
        lambda layer: _factors(
            ((1 - share) * layer.delta() + share * other.layers[layer.name].delta()) / layer.scale, rank
        ),
    )


def uneven(adapter: Adapter, seed: int) -> Adapter:
    """Each layer's change at a strength of its own, from half to one and a half times what it was."""
    generator = torch.Generator().manual_seed(seed)
    return _each(adapter, lambda layer: (layer.down, layer.up * (0.5 + float(torch.rand((), generator=generator)))))


def without(adapter: Adapter, every: int) -> Adapter:
    """Every so many layers change nothing."""
    left_out = [*adapter.layers][::every]
    return _each(adapter, lambda layer: (layer.down, layer.up * (layer.name not in left_out)))


def mixed(adapter: Adapter, other: Adapter, every: int) -> Adapter:
    """Every so many layers are another adapter's."""
    replaced = {name: other.layers[name] for name in [*adapter.layers][::every]}
    return replace(adapter, layers={**adapter.layers, **replaced})


def rounded(adapter: Adapter, levels: int) -> Adapter:
    """A and B with so many levels between 0 and their largest number."""

    def round_(matrix: Tensor) -> Tensor:
        step = matrix.abs().max() / levels
        return (matrix / step).round() * step

    return _each(adapter, lambda layer: (round_(layer.down), round_(layer.up)))


@dataclass(frozen=True)
class Disguise:
    """A copy, and how it was made."""

    name: str
    adapter: Adapter


def at_rank(known: Adapter, rank: int, seed: int) -> Adapter:
    """A copy with a rank: the best approximation of a lower one, or random components beside its own up to a higher one."""
    own = known.rank or rank
    return known if own == rank else factored_again(known, rank) if rank < own else padded(known, rank, 0.3, seed)


def disguises(known: Adapter, other: Adapter, rank: int, seed: int) -> Iterator[Disguise]:
    """Copies of a known adapter for an exercise that asks for ``rank``; ``other`` was trained independently."""
    own = known.rank or rank
    at = at_rank(known, rank, seed)
    if rank <= own:
        yield Disguise("as it is" if own == rank else "the best of a lower rank", at)
        yield Disguise("rescaled", rescaled(at, 3.7))
        yield Disguise("rotated", rotated(at, seed))
        yield Disguise("permuted", permuted(at, seed))
        yield Disguise("factored again", factored_again(at, rank))
        for share in SHARES:
            yield Disguise(f"noised at {share:g}", noised(at, share, seed))
        yield Disguise("averaged", averaged(known, other, rank))
    else:
        for share in (0.0, *SHARES):
            yield Disguise(f"padded at {share:g}", padded(known, rank, share, seed))


def combined(
    known: Adapter, course: Sequence[Adapter], strangers: Sequence[Adapter], rank: int, seed: int
) -> Iterator[Disguise]:
    """Copies with several disguises, one over the other, for an exercise that asks for ``rank``.

    ``course`` are the other known adapters, ``strangers`` some of that rank that were trained independently.
    """
    at = at_rank(known, rank, seed)
    for share in (0.6, 1.3):
        yield Disguise(f"noised at {share:g}", noised(at, share, seed))
    for draw in (1, 2):
        for share in SHARES:
            yield Disguise(f"noised at {share:g}, draw {draw}", noised(at, share, seed + 100 * draw))
    for share in SHARES[:2]:
        yield Disguise(f"rotated, noised at {share:g}", noised(rotated(at, seed), share, seed + 1))
        yield Disguise(f"uneven, noised at {share:g}", noised(uneven(at, seed), share, seed + 2))
        short = factored_again(at, rank // 2)
        yield Disguise(f"half the rank, padded at {share:g}", padded(short, rank, share, seed + 3))
        yield Disguise(
            f"half the rank, padded, noised at {share:g}", noised(padded(short, rank, 0.3, seed), share, seed)
        )
    for number, stranger in enumerate(strangers, 1):
        for part in (0.25, 0.5):
            yield Disguise(f"averaged with {part:g} of stranger {number}", averaged(known, stranger, rank, part))
        both = averaged(known, stranger, rank)
        yield Disguise(f"averaged with stranger {number}, noised at 0.3", noised(both, 0.3, seed + 4))
        for every in (2, 4):
            yield Disguise(f"a layer in {every} of stranger {number}", mixed(at, stranger, every))
        yield Disguise(
            f"a layer in 4 of stranger {number}, noised at 0.3", noised(mixed(at, stranger, 4), 0.3, seed + 5)
        )
    mean = known
    for number, other in enumerate(course, 2):
        mean = averaged(mean, other, max(LARGEST, rank), 1 / number)
    mean = factored_again(mean, rank)
    yield Disguise("the mean of all", mean)
    yield Disguise("the mean of all, noised at 0.3", noised(mean, 0.3, seed + 6))
    yield Disguise("uneven", uneven(at, seed))
    yield Disguise("a layer in 4 left out", without(at, 4))
    for levels in (127, 7):
        yield Disguise(f"rounded to {levels} levels", rounded(at, levels))


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
        down=down.reshape(down.shape[0], *shape[0]).to(layer.down.dtype).contiguous(),
        up=up.reshape(layer.up.shape[0], -1, *shape[1]).to(layer.up.dtype).contiguous(),
        alpha=alpha,
        rslora=False,
    )
