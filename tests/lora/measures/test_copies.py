"""Copies of an adapter are told from adapters of independent trainings, whatever disguises them."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch

from graders.lora import catalog
from graders.lora.fixtures.independence import COPIED
from graders.lora.measures import thresholds
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.adapters import Adapter, LoraLayer
from graders.lora.measures.architecture import empty_unet
from graders.lora.measures.copies import Bounds, Fingerprint, containment, is_copy, likeness
from graders.lora.measures.disguises import averaged, disguises, factored_again, padded, rescaled


@pytest.fixture(scope="module")
def known() -> dict[str, Adapter]:
    """Adapters that were trained from other seeds, two at each rank."""
    unet = empty_unet(catalog.TINY_SD)
    return {name: read_adapter(catalog.adapter(name), unet) for name in COPIED}


def copied(name: str, known: dict[str, Adapter], adapter: Adapter) -> bool:
    """Whether the graders take an adapter for a copy of a known one."""
    limits = thresholds.load()
    assert limits
    return is_copy(known[name], adapter, Bounds.of(limits), Fingerprint.read(catalog.fingerprint(name)))


def test_independent_trainings_are_no_copies(known: dict[str, Adapter]) -> None:
    """Of adapters that learned the same style from other seeds none is taken for a copy, whichever ranks they have."""
    for one, other in permutations(known, 2):
        assert not copied(one, known, known[other]), (one, other)


@pytest.mark.parametrize("rank", [4, 16])
@pytest.mark.parametrize("name", COPIED)
def test_disguises(name: str, rank: int, known: dict[str, Adapter]) -> None:
    """Every disguise that keeps the style is found, and none of them is the file that it was made from."""
    other = next(known[one] for one in COPIED if one != name and known[one].rank == known[name].rank)
    made = list(disguises(known[name], other, rank, seed=3))
    assert made
    for disguise in made:
        assert disguise.adapter.rank == rank
        assert copied(name, known, disguise.adapter), disguise.name


def test_a_large_rank_hides_nothing(known: dict[str, Adapter]) -> None:
    """A copy among many random components is found; an honest adapter of a large rank is none, though it spans nearly all."""
    own, other = COPIED[:2]
    assert copied(own, known, padded(known[own], 64, 0.9, seed=1))
    assert not copied(own, known, padded(known[other], 64, 0.9, seed=1))


def adapter(*shapes: tuple[int, int, int], seed: int = 0) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    layers = {
        f"l{n}": LoraLayer(
            f"l{n}", torch.randn(r, i, generator=generator), torch.randn(o, r, generator=generator), None
        )
        for n, (o, i, r) in enumerate(shapes)
    }
    return Adapter(layers, "diffusers")


def test_containment_is_a_share_of_the_change() -> None:
    """The share of a sum that one of its parts has is found, each layer weighing as much as it changes."""
    whole = adapter((40, 30, 4), (20, 50, 4))
    half = Adapter({"l0": whole.layers["l0"]}, "diffusers")
    sizes = [float(layer.delta().square().sum()) for layer in whole.layers.values()]
    assert containment(whole, whole) == pytest.approx(1)
    assert containment(whole, half) == pytest.approx(sizes[0] / sum(sizes))
    assert containment(half, whole) == pytest.approx(1)


@pytest.mark.parametrize("scale", [0.01, 1.0, 7.0])
def test_a_copy_at_any_strength(scale: float) -> None:
    """An adapter is wholly like itself, however strong either copy is."""
    own = adapter((24, 32, 4), (24, 32, 4))
    assert likeness(own, rescaled(own, scale)) == pytest.approx(1)
    stronger = {name: replace(layer, up=scale * layer.up) for name, layer in own.layers.items()}
    assert likeness(own, Adapter(stronger, "diffusers")) == pytest.approx(1)


def test_a_copy_with_another_rank() -> None:
    """Padding the rank with zeros hides nothing."""
    own = adapter((24, 32, 4), (24, 32, 4))
    assert containment(own, padded(own, 16, 0.0, seed=1)) == pytest.approx(1)
    assert likeness(own, padded(own, 16, 0.0, seed=1)) == pytest.approx(1)


@pytest.mark.parametrize("name", COPIED)
def test_part_of_a_copy(name: str, known: dict[str, Adapter]) -> None:
    """Leaving layers out hides nothing, either."""
    kept = dict(list(known[name].layers.items())[::3])
    assert copied(name, known, Adapter(kept, "diffusers"))


def test_strangers() -> None:
    """Independent adapters are far from it, and those without a layer in common have nothing to compare."""
    own = adapter((24, 32, 4), (24, 32, 4))
    assert abs(likeness(own, adapter((24, 32, 4), (24, 32, 4), seed=1))) < 0.2
    assert likeness(own, Adapter({"c": own.layers["l0"]}, "diffusers")) == 0
    nothing = {name: replace(layer, up=0.0 * layer.up) for name, layer in own.layers.items()}
    assert likeness(own, Adapter(nothing, "diffusers")) == 0


def test_chance_is_taken_off() -> None:
    """Random adapters are as alike as nothing, also where their spaces are large."""
    for rank in (2, 8, 20):
        found = [likeness(adapter((40, 30, 4), seed=n), adapter((40, 30, rank), seed=100 + n)) for n in range(20)]
        assert sum(found) / len(found) < 0.05


@pytest.mark.parametrize("number", [0.0, float("nan"), float("inf"), 1e38, 1e-45])
def test_extreme_numbers(number: float) -> None:
    """Whatever numbers a hand-in has, there is an answer from 0 to 1."""
    own, odd = adapter((8, 8, 2)), adapter((8, 8, 2), seed=1)
    layer = odd.layers["l0"]
    strange = Adapter({"l0": LoraLayer("l0", torch.full_like(layer.down, number), layer.up, None)}, "diffusers")
    assert 0 <= likeness(own, strange) <= 1
    assert 0 <= likeness(own, factored_again(odd, 1)) <= 1
    assert 0 <= likeness(own, averaged(own, odd, 2)) <= 1
