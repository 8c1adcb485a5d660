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
from graders.harness.lesson import HandIn
from graders.harness.rubric import CheckFailed, LeftToPerson, NotReached
from graders.lora import catalog
from graders.lora.measures import copies, losses, thresholds
from graders.lora.measures.adaptation import Adaptation, Memorisation, Recognition
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.adapters import Adapter
from graders.lora.measures.blocks import Blocks
from graders.lora.measures.clip import Clip
from graders.lora.measures.denoising import TimestepProfile
from graders.lora.measures.generation import BaseModel
from graders.lora.measures.layers import Kind, cross_attention_projections
from graders.lora.measures.pictures import read_pictures
from graders.lora.measures.statistics import Interval
from graders.lora.measures.style import StyleShift, mean_similarity
from graders.lora.measures.tables import number, rows_by_rank
from graders.lora.measures.thresholds import Thresholds
from graders.lora.profile import Profile, precision_of


@lru_cache(maxsize=1)
def _bench(model: str, clip: str, device: str, precision: str, style: str, plain: str | None) -> Adaptation:
    """Base model, CLIP model and held-out pictures, which the hand-ins of a course have in common."""
    return Adaptation(model, clip, Path(style), Path(plain) if plain else None, device, precision)


@lru_cache(maxsize=1)
def _own_adapters(base_model: BaseModel, profile: Profile) -> dict[str, tuple[Adapter, copies.Fingerprint | None]]:
    """The adapters that come with the exercises, by name, with their fingerprints where there are some."""
    folders = catalog.adapters()
    if not profile.of_fixtures:
        folders = {name: Path(folder) for name, folder in profile.parameters.get("ex4", {}).get("ADAPTERS", {}).items()}
    prints = {name: catalog.fingerprint(name) for name in folders} if profile.of_fixtures else {}
    return {
        name: (
            read_adapter(folder, base_model.unet),
            copies.Fingerprint.read(prints[name]) if name in prints and prints[name].is_file() else None,
        )
        for name, folder in folders.items()
    }


class Studio:
    """Measurements of the adapters of one hand-in. Expensive parts are made when first needed."""

    def __init__(self, hand_in: HandIn) -> None:
        self._hand_in = hand_in
        self._thresholds = thresholds.load(hand_in.profile)
        self._shifts: dict[Adapter, StyleShift] = {}

    @property
    def thresholds(self) -> Thresholds:
        """What divides right from wrong; where that is not known, the check is left to a person."""
        return thresholds.known(self._thresholds, self._hand_in)

    @property
    def _adaptation(self) -> Adaptation:
        parameters, profile = self._hand_in.parameters, self._hand_in.profile
        precision = precision_of(parameters)
        return _bench(
            parameters["MODEL"], parameters["JUDGE"], parameters["DEVICE"], precision, profile.held_out, profile.plain
        )

    @property
    def base_model(self) -> BaseModel:
        """The base model."""
        return self._adaptation.base_model

    @property
    def clip(self) -> Clip:
        """The CLIP model."""
        return self._adaptation.clip

    @cached_property
    def cross_attention_layers(self) -> list[str]:
        """The names of the base model's cross-attention projections."""
        return cross_attention_projections(self.base_model.unet)

    def spread(self, adapter: Adapter) -> dict[str, list[Any]]:
        """How the adapter's layers are spread over the blocks of the base model."""
        blocks = Blocks.of(self.base_model.unet.config)
        return blocks.spread(self.cross_attention_layers, adapter.layers, adapter.layers)

    def read_adapter(self, rank: int) -> Adapter:
        """The adapter that the hand-in left for a rank, or :class:`AdapterError`."""
        return read_adapter(self._hand_in.evidence.folder_path(f"rank{rank}"), self.base_model.unet)

    def copied_from(self, adapter: Adapter) -> str | None:
        """The course's own adapter that this one is a copy of, if it is one and that can be told."""
        with suppress(LeftToPerson):
            bounds = copies.Bounds.of(self.thresholds)
            for name, (own, fingerprint) in _own_adapters(self.base_model, self._hand_in.profile).items():
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

    def memorisation(self, adapter: Adapter) -> Memorisation:
        """What the adapter knows of its training pictures that it does not know of others."""
        return self._adaptation.memorisation(adapter, Path(self._hand_in.parameters["DATASET"]))

    @cached_property
    def _reference(self) -> Tensor:
        return self.clip.see(read_pictures(self._hand_in.parameters["STYLE_REFERENCE"]).images)

    def similarity_to_reference(self, pictures: list[np.ndarray]) -> float:
        """Mean cosine similarity of a student's pictures to the style reference, by the CLIP model."""
        return mean_similarity(self.clip.see(pictures), self._reference)

    def alpha_trained_with(self, rank: int) -> float | None:
        """The α of the first LoRA configuration of this rank that the run made; a loader's come later."""
        for config in self._hand_in.evidence.lora_configs:
            alpha = number(config.get("lora_alpha"))
            if config.get("r") == rank and alpha is not None:
                return alpha
        return None

    def counts_base(self, row: Mapping[Any, Any]) -> bool:
        """Whether a row of the hand-in's table counts the base model's parameters as those of an adapter."""
        counted = number(row.get("lora_parameters"))
        return counted is not None and counted >= self.base_model.unet_parameters

    def explain_data(self, rank: int, adapter: Adapter) -> str | None:
        """The misconception behind an adapter that does not help on pictures of the style, where one can be shown."""
        if self._adaptation.noise_gain(adapter).low > self.thresholds.noise_learnt:
            return "trained-on-noise"
        if self.memorisation(adapter).gap > self.thresholds.memorisation:
            return "memorised"
        if self._adaptation.change(adapter) < self.thresholds.visible_change:
            return self._explain_no_change(rank)
        if self.denoising_gain(adapter).high < 0 and not self.has_style(adapter):
            return "trained-on-other-data"
        return None

    def explain_shift(self, rank: int, adapter: Adapter) -> str | None:
        """The misconception behind an adapter whose pictures do not move to the style, where one can be shown."""
        kinds = set(adapter.names_by_kind())
        if Kind.CROSS_ATTENTION not in kinds:
            only = {Kind.CONVOLUTION: "convolution-targeted", Kind.SELF_ATTENTION: "self-attention-targeted"}
            return next((slug for kind, slug in only.items() if kind in kinds), None)
        alpha = self.alpha_trained_with(rank)
        if not adapter.alpha_recorded and alpha is not None and alpha != rank:
            return "alpha-not-saved"
        if not self.denoising_gain(adapter).low > self.thresholds.denoising_gain:
            return self.explain_data(rank, adapter)
        return (
            self._explain_no_change(rank) if self._adaptation.change(adapter) < self.thresholds.visible_change else None
        )

    def _explain_no_change(self, rank: int) -> str | None:
        """Training was too short unless the losses tell otherwise; the base model's weights may have learned instead."""
        with suppress(CheckFailed, HandInError):
            if self.counts_base(rows_by_rank(self._hand_in.evidence.value("rank_table")).get(rank, {})):
                return "base-trained"
        with suppress(CheckFailed, HandInError):
            recorded = losses.curve(losses.by_rank(self._hand_in.evidence.value("losses")), rank)
            if len(recorded) >= self._hand_in.parameters["STEPS"]:
                return None
        return "too-few-steps"


class Adapters(dict[int, Adapter]):
    """Adapters by rank; asking for one that could not be read leaves the check not reached."""

    def __init__(self, studio: Studio, ranks: list[int]) -> None:
        super().__init__()
        self.errors: dict[int, HandInError] = {}
        for rank in ranks:
            try:
                self[rank] = studio.read_adapter(rank)
            except HandInError as error:
                self.errors[rank] = error

    def __missing__(self, rank: int) -> Adapter:
        raise NotReached("adapter_loads")
