"""Adapters and pictures that came out more alike than independent trainings make them."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graders.harness.errors import HandInError
from graders.harness.hand_in import Evidence
from graders.harness.lesson import Alike
from graders.lora import catalog
from graders.lora.measures import thresholds
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.architecture import empty_unet
from graders.lora.profile import Profile


@dataclass(frozen=True)
class _Trained:
    """What a training left for one rank: the layers it changed, and their changes as one vector of length 1."""

    whose: Any
    seed: int
    layers: tuple[str, ...]
    change: Tensor


def alike(runs: Mapping[Any, Evidence], profiles: Mapping[Any, Profile], ranks: Sequence[int]) -> Iterator[Alike]:
    """What came out of trainings with other seeds more alike than it would on its own, in the runs of an exercise that trains.

    What came out with the same seed is not compared: there honest work may be equal to the bit.
    """
    # What an adapter changes in a model of true size are hundreds of megabytes, too many for those of a course
    small = {whose: evidence for whose, evidence in runs.items() if profiles[whose].of_fixtures}
    for rank in ranks:
        yield from _same_adapter(rank, small)
    yield from _same_pictures(runs)


def _same_adapter(rank: int, runs: Mapping[Any, Evidence]) -> Iterator[Alike]:
    """Groups in which each adapter is closer to another one than those of independent trainings are."""
    alike: dict[tuple[str, ...], list[_Trained]] = defaultdict(list)
    for whose, evidence in runs.items():
        if trained := _trained(whose, evidence, rank):
            alike[trained.layers].append(trained)
    limits = thresholds.load()
    assert limits  # of the fixtures they are known
    bound = max(limits.copied_rank4, limits.copied_rank16)
    for trainings in alike.values():
        changes = torch.stack([trained.change for trained in trainings])
        cosines = changes @ changes.T
        close = cosines > bound
        for group in _groups(close & _other_seeds(trainings)):
            least = min(float(cosines[one, other]) for one in group for other in group if close[one, other])
            equal = "the same in every number" if least > 1 - 1e-6 else f"similarity of weights {least:.3f} and more"
            what = (
                f"The adapters of rank {rank} came out alike though each training was given another seed. Independent "
                f"trainings stay below {bound:.3f}. Either they were not trained where they were handed in, or SEED was not used."
            )
            yield Alike(tuple(trainings[place].whose for place in group), "same adapter", what, equal)


def _trained(whose: Any, evidence: Evidence, rank: int) -> _Trained | None:
    try:
        adapter = read_adapter(evidence.folder_path(f"rank{rank}"), _unet())
    except HandInError:
        return None
    layers = tuple(sorted(adapter.layers))
    change = torch.cat([adapter.layers[layer].delta().flatten() for layer in layers])
    length = float(change.norm())
    seed = evidence.parameters["SEED"]
    # An adapter that changes nothing is like any other of its kind
    return _Trained(whose, seed, layers, change / length) if math.isfinite(length) and length > 0 else None


def _same_pictures(runs: Mapping[Any, Evidence]) -> Iterator[Alike]:
    groups: dict[bytes, list[tuple[Any, int]]] = defaultdict(list)
    for whose, evidence in runs.items():
        try:
            pictures = evidence.pictures("lora_images")
        except HandInError:
            continue
        digest = hashlib.sha256(repr(_shapes(pictures)).encode())
        for picture in _flat(pictures):
            digest.update(picture.tobytes())
        groups[digest.digest()].append((whose, evidence.parameters["SEED"]))
    for works in groups.values():
        if len({seed for _, seed in works}) > 1:
            what = "The adapters' pictures are the same in every pixel though each was generated with another seed."
            yield Alike(tuple(whose for whose, _ in works), "same pictures", what, "every pixel")


def _flat(pictures: Any) -> Iterator[np.ndarray]:
    if isinstance(pictures, np.ndarray):
        yield pictures
    else:
        for part in pictures.values() if isinstance(pictures, dict) else pictures:
            yield from _flat(part)


def _shapes(pictures: Any) -> list[tuple[int, ...]]:
    return [picture.shape for picture in _flat(pictures)]


def _other_seeds(trainings: Sequence[_Trained]) -> Tensor:
    seeds = torch.tensor([trained.seed for trained in trainings])
    return seeds[:, None] != seeds[None, :]


def _groups(linked: Tensor) -> list[list[int]]:
    """The connected parts, of more than one, of the graph with these edges."""
    left, groups = set(range(len(linked))), []
    while left:
        group, fresh = set(), {left.pop()}
        while fresh:
            group |= fresh
            fresh = {other for one in fresh for other in linked[one].nonzero().flatten().tolist()} - group
        left -= group
        if len(group) > 1:
            groups.append(sorted(group))
    return groups


@cache
def _unet() -> nn.Module:
    return empty_unet(catalog.TINY_SD)
