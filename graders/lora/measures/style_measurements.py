"""A hand-in's style adapters on the bench: measured against held-out pictures, each figure computed once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from graders.harness.errors import HandInError
from graders.harness.hand_in import HandIn
from graders.harness.rubric import LeftToPerson, NotReached
from graders.lora import catalog
from graders.lora.measures import copies, thresholds, training_history
from graders.lora.measures.adaptation import Adaptation, Memorisation, Recognition
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.adapters import Adapter
from graders.lora.measures.architecture import Architecture, architecture_of
from graders.lora.measures.clip import Clip
from graders.lora.measures.denoising import TimestepProfile
from graders.lora.measures.pictures import read_pictures
from graders.lora.measures.statistics import Interval
from graders.lora.measures.style import StyleShift, mean_similarity
from graders.lora.measures.tables import number
from graders.lora.measures.thresholds import Thresholds
from graders.lora.measures.training_history import Strength
from graders.lora.profile import Profile, precision_of
from graders.lora.sightings import lora_adapters


@lru_cache(maxsize=1)
def _bench(model: str, clip: str, device: str, precision: str, style: str, plain: str | None) -> Adaptation:
    """Base model, CLIP model and held-out pictures, which the hand-ins of a course have in common."""
    return Adaptation(model, clip, Path(style), Path(plain) if plain else None, device, precision, cached=True)


@lru_cache(maxsize=1)
def _own_adapters(model: str, profile: Profile) -> dict[str, tuple[Adapter, copies.Fingerprint | None]]:
    """The adapters that come with the exercises, by name, with their fingerprints where there are some."""
    folders = catalog.adapters()
    if not profile.of_fixtures:
        folders = {name: Path(folder) for name, folder in profile.parameters.get("ex4", {}).get("ADAPTERS", {}).items()}
    prints = {name: catalog.fingerprint(name) for name in folders} if profile.of_fixtures else {}
    return {
        name: (
            read_adapter(folder, architecture_of(model).unet),
            copies.Fingerprint.read(prints[name]) if name in prints and prints[name].is_file() else None,
        )
        for name, folder in folders.items()
    }


class StyleMeasurements:
    """Measurements of the adapters of one hand-in. Expensive parts are made when first needed."""

    def __init__(self, hand_in: HandIn) -> None:
        self.hand_in = hand_in
        self._thresholds = thresholds.load(hand_in.profile)
        self._shifts: dict[Adapter, StyleShift] = {}
        self._as_trained: dict[Adapter, Adapter] = {}

    @property
    def thresholds(self) -> Thresholds:
        """What divides right from wrong; where that is not known, the check is left to a person."""
        return thresholds.known(self._thresholds, self.hand_in)

    @property
    def _adaptation(self) -> Adaptation:
        parameters, profile = self.hand_in.parameters, self.hand_in.profile
        precision = precision_of(parameters)
        return _bench(
            parameters["MODEL"], parameters["JUDGE"], parameters["DEVICE"], precision, profile.held_out, profile.plain
        )

    @property
    def _architecture(self) -> Architecture:
        return architecture_of(self.hand_in.parameters["MODEL"])

    @property
    def clip(self) -> Clip:
        """The CLIP model."""
        return self._adaptation.clip

    @property
    def cross_attention_layers(self) -> list[str]:
        """The names of the base model's cross-attention projections."""
        return list(self._architecture.cross_attention)

    def spread(self, adapter: Adapter) -> dict[str, list[Any]]:
        """How the adapter's layers are spread over the blocks of the base model."""
        return self._architecture.blocks.spread(self.cross_attention_layers, adapter.layers, adapter.layers)

    def read_adapter(self, rank: int) -> Adapter:
        """The adapter that the hand-in left for a rank, or :class:`AdapterError`."""
        return read_adapter(self.hand_in.evidence.folder_path(f"rank{rank}"), self._architecture.unet)

    def copied_from(self, adapter: Adapter) -> str | None:
        """The course's own adapter that this one is a copy of, if it is one and that can be told."""
        with suppress(LeftToPerson):
            bounds = copies.Bounds.of(self.thresholds)
            for name, (own, fingerprint) in _own_adapters(
                self.hand_in.parameters["MODEL"], self.hand_in.profile
            ).items():
                if copies.is_copy(own, adapter, bounds, fingerprint):
                    return name
        return None

    def style_shift(self, adapter: Adapter) -> StyleShift:
        """How far the adapter moves pictures towards the style."""
        if adapter not in self._shifts:
            self._shifts[adapter] = self._adaptation.shift(adapter)
        return self._shifts[adapter]

    def has_style(self, adapter: Adapter) -> bool:
        """Whether the adapter surely has learned the style; False where that cannot be told."""
        with suppress(LeftToPerson):
            return self.style_shift(adapter).fraction.low > self.thresholds.style_shift
        return False

    def denoising_gain(self, adapter: Adapter) -> Interval:
        """Relative fall of the noise-prediction error on held-out pictures of the style."""
        return self._adaptation.denoising_gain(adapter)

    def timestep_profile(self, adapter: Adapter) -> TimestepProfile:
        """How much the adapter does at which timestep, on the same pictures."""
        return self._adaptation.timestep_profile(adapter)

    def prompt_kept(self, adapter: Adapter) -> Recognition:
        """How well subjects and colours are recognised."""
        return self._adaptation.recognition(adapter)

    def noise_gain(self, adapter: Adapter) -> Interval:
        """Relative fall of the noise-prediction error on pictures of random pixels."""
        return self._adaptation.noise_gain(adapter)

    def change(self, adapter: Adapter) -> float:
        """How much of the pictures the adapter changes at all."""
        return self._adaptation.change(adapter)

    def memorisation(self, adapter: Adapter) -> Memorisation:
        """What the adapter knows of its training pictures that it does not know of others."""
        return self._adaptation.memorisation(adapter, Path(self.hand_in.parameters["DATASET"]))

    @cached_property
    def _reference(self) -> Tensor:
        return self.clip.see(read_pictures(self.hand_in.parameters["STYLE_REFERENCE"]).images)

    def similarity_to_reference(self, pictures: list[np.ndarray]) -> float:
        """Mean cosine similarity of a student's pictures to the style reference, by the CLIP model."""
        return mean_similarity(self.clip.see(pictures), self._reference)

    def strengths(self, adapter: Adapter) -> dict[str, Strength] | None:
        """The strength of each layer in the training and at a loader's, where it is known what the run trained with."""
        return training_history.strengths(adapter, lora_adapters(self.hand_in.evidence))

    def as_trained(self, adapter: Adapter) -> Adapter:
        """The adapter at the strength of its training, whatever its file says; the same one each time."""
        if adapter not in self._as_trained:
            known = self.strengths(adapter) or {}
            at = {name: one.trained / one.folded for name, one in known.items() if not one.kept}
            self._as_trained[adapter] = adapter.at(at) if at else adapter
        return self._as_trained[adapter]

    def as_made(self, adapter: Adapter) -> bool:
        """Whether the adapter is still as the run made it."""
        return training_history.as_made(adapter, lora_adapters(self.hand_in.evidence))

    def counts_base(self, row: Mapping[Any, Any]) -> bool:
        """Whether a row of the hand-in's table counts the base model's parameters as those of an adapter."""
        counted = number(row.get("lora_parameters"))
        return counted is not None and counted >= self._architecture.parameters


class CopiedAdapter(HandInError):
    """An adapter that comes with the course, in place of one that the notebook has trained."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The weights are those of the course's own adapter “{name}”.",
            "Run your training loop and save what it trained.",
        )


class Adapters(dict[int, Adapter]):
    """Adapters by rank; asking for one that could not be read, or is none of the hand-in's, leaves the check not reached."""

    def __init__(self, measured: StyleMeasurements, ranks: list[int]) -> None:
        super().__init__()
        self.errors: dict[int, HandInError] = {}
        for rank in ranks:
            try:
                adapter = measured.read_adapter(rank)
                if name := measured.copied_from(adapter):
                    raise CopiedAdapter(name)
                self[rank] = adapter
            except HandInError as error:
                self.errors[rank] = error

    def __missing__(self, rank: int) -> Adapter:
        raise NotReached("adapter_loads")
