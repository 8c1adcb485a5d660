"""The record of independent trainings and disguised copies bears out what the graders tell apart, and can be made again."""

import json
from itertools import chain

import pytest

from graders.checks import thresholds
from graders.checks.adapter_files import read_adapter
from graders.checks.architecture import empty_unet
from graders.fixtures import catalog, independence
from graders.lora.copies import Bound, Bounds, likeness
from graders.lora.disguises import combined, disguises

LINES = [json.loads(line) for line in (catalog.ROOT / independence.FILE).read_text().splitlines()]
DISGUISES = {tuple(line["unit"]): line for line in LINES if line["unit"][0] == "disguise"}


def bound(rank: int) -> Bound:
    """What an adapter of a rank may have in common with a known one."""
    limits = thresholds.load()
    assert limits
    return Bounds.of(limits).at(rank)


@pytest.mark.parametrize("rank", [4, 16])
def test_no_independent_training_is_accused(rank: int) -> None:
    """Of all pairs of 33 seeds none is as alike as a copy, nor is one like a known adapter or its fingerprint."""
    trained = [line for line in LINES if line["unit"][:2] == ["trained", rank]]
    assert [line["unit"][2] for line in trained] == list(independence.SEEDS)
    assert sum(len(line["pairs"]) for line in trained) == 33 * 32 // 2
    assert max(chain.from_iterable([line["known"], *line["pairs"]] for line in trained)) < bound(rank).likeness
    assert max(line.get("fingerprint", 0) for line in trained) < bound(rank).fingerprint


def test_disguises_are_found() -> None:
    """Of at least 333 disguises, those that keep the style are found: 95 in 100 of them, or more."""
    limits = thresholds.load()
    assert limits
    assert len(DISGUISES) >= 333
    kept = [line for line in DISGUISES.values() if line["style"] > limits.style_shift]
    missed = []
    for line in kept:
        of_rank = bound(line["unit"][3])
        if line["likeness"] <= of_rank.likeness and line["fingerprint"] <= of_rank.fingerprint:
            missed.append(line["unit"])
    assert len(missed) <= 0.05 * len(kept), missed


def test_record_is_of_these_disguises() -> None:
    """A known adapter, disguised once more, is as like itself as the record says."""
    name, rank = "known/style-rank4-2", 4
    unet = empty_unet(catalog.TINY_SD)
    known = {one: read_adapter(catalog.adapter(one), unet) for one in independence.COPIED}
    own = known.pop(name)
    other = next(one for one in known.values() if one.rank == rank)
    seed = len(name) + rank
    made = [*disguises(own, other, rank, seed), *combined(own, list(known.values()), [], rank, seed)]
    assert len(made) > 25
    for disguise in made:
        found = max(likeness(one, disguise.adapter) for one in (own, *known.values()))
        recorded = DISGUISES["disguise", name, disguise.name, rank]["likeness"]
        assert found == pytest.approx(recorded, abs=0.002), disguise.name
