"""How alike the changes of two adapters are."""

import pytest
import torch

from graders.checks.adapters import Adapter, LoraLayer, similarity


def adapter(seed: int, rank: int = 4, names: tuple[str, ...] = ("a", "b"), scale: float = 1.0) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    layers = {
        name: LoraLayer(
            name,
            torch.randn(rank, 32, generator=generator),
            scale * torch.randn(24, rank, generator=generator),
            alpha=None,
        )
        for name in names
    }
    return Adapter(layers, "diffusers")


@pytest.mark.parametrize("scale", [0.01, 1.0, 7.0])
def test_a_copy_at_any_strength(scale: float) -> None:
    """An adapter is wholly similar to itself, however strong either copy is."""
    assert similarity(adapter(0), adapter(0, scale=scale)) == pytest.approx(1)


def test_a_copy_with_another_rank() -> None:
    """Padding the rank with zeros hides nothing."""
    padded = {
        layer.name: LoraLayer(
            layer.name,
            torch.cat([layer.down, torch.zeros(12, 32)]),
            torch.cat([layer.up, torch.zeros(24, 12)], dim=1),
            alpha=None,
        )
        for layer in adapter(0).layers.values()
    }
    assert similarity(adapter(0), Adapter(padded, "kohya")) == pytest.approx(1)


def test_part_of_a_copy() -> None:
    """Leaving layers out hides nothing, either."""
    kept = Adapter({"b": adapter(0).layers["b"]}, "diffusers")
    assert similarity(adapter(0), kept) == pytest.approx(1)


def test_strangers() -> None:
    """Independent adapters are far from it, and those without a layer in common have nothing to compare."""
    assert abs(similarity(adapter(0), adapter(1))) < 0.2
    assert similarity(adapter(0), adapter(0, names=("c",))) == 0
    assert similarity(adapter(0), adapter(0, scale=0.0)) == 0
