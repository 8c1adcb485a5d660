"""A hand-in's style adapters on the bench: measured against held-out pictures, each figure computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from graders.checks import thresholds
from graders.checks.adaptation import Adaptation, Memorisation, Recognition
from graders.checks.adapter_files import read_adapter
from graders.checks.adapters import Adapter
from graders.checks.judge import Judge
from graders.checks.layers import Kind, cross_attention_projections
from graders.checks.painting import Painter
from graders.checks.pictures import read_pictures
from graders.checks.statistics import Interval
from graders.checks.style import StyleShift, mean_similarity
from graders.exercise import HandIn
from graders.fixtures import catalog

STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""α/r as students choose it: α fixed at 1, r, 2r or 16, with r from 4 to 16."""


@dataclass(frozen=True)
class Strength:
    """At which multiple of its file's strength an adapter was trained, and what says so."""

    factor: float
    reason: str


class Studio:
    """Measurements of the adapters of one hand-in. Expensive parts are made when first needed."""

    def __init__(self, hand_in: HandIn) -> None:
        self._hand_in = hand_in
        self.thresholds = thresholds.load()
        self._shifts: dict[Adapter, StyleShift] = {}

    @cached_property
    def _adaptation(self) -> Adaptation:
        style = catalog.dataset("watercolor/held-out")
        plain = catalog.dataset("plain/held-out")
        parameters = self._hand_in.parameters
        return Adaptation(parameters["MODEL"], parameters["JUDGE"], style, plain, parameters["DEVICE"])

    @property
    def painter(self) -> Painter:
        """The base model."""
        return self._adaptation.painter

    @property
    def judge(self) -> Judge:
        """The CLIP model."""
        return self._adaptation.judge

    @cached_property
    def cross_attention_layers(self) -> list[str]:
        """The names of the base model's cross-attention projections."""
        return cross_attention_projections(self.painter.unet)

    def read_adapter(self, rank: int) -> Adapter:
        """The adapter that the hand-in left for a rank, or :class:`AdapterError`."""
        return read_adapter(self._hand_in.evidence.folder_path(f"rank{rank}"), self.painter.unet)

    def style_shift(self, adapter: Adapter) -> StyleShift:
        """How far the adapter moves pictures towards the style."""
        if adapter not in self._shifts:
            self._shifts[adapter] = self._adaptation.shift(adapter)
        return self._shifts[adapter]

    def denoising_gain(self, adapter: Adapter) -> Interval:
        """Relative fall of the noise-prediction error on held-out pictures of the style."""
        return self._adaptation.denoising_gain(adapter)

    def prompt_kept(self, adapter: Adapter) -> Recognition:
        """How well subjects and colours are recognised."""
        return self._adaptation.recognition(adapter)

    def memorisation(self, adapter: Adapter) -> Memorisation:
        """How near painted pictures are to the training pictures."""
        return self._adaptation.memorisation(adapter, self._hand_in.parameters["DATASET"])

    @cached_property
    def _reference(self) -> Tensor:
        return self.judge.see(read_pictures(self._hand_in.parameters["STYLE_REFERENCE"]).images)

    def similarity_to_reference(self, pictures: list[np.ndarray]) -> float:
        """Mean cosine similarity of a student's pictures to the style reference, by the judge."""
        return mean_similarity(self.judge.see(pictures), self._reference)

    def strength_trained_at(self, rank: int, adapter: Adapter) -> Strength | None:
        """At which strength an adapter without α was trained, as far as the run shows."""
        alphas = {config["lora_alpha"] for config in self._hand_in.evidence.lora_configs if config.get("r") == rank}
        if alphas and rank not in alphas:
            alpha = max(alphas)
            return Strength(alpha / rank, f"your notebook trained it with lora_alpha = {alpha:g}")
        return None

    def explain_data(self, adapter: Adapter) -> str | None:
        """The misconception behind an adapter that does not help on pictures of the style."""
        if self._adaptation.noise_gain(adapter).low > self.thresholds.noise_learnt:
            return "trained-on-noise"
        if self._adaptation.change(adapter) < self.thresholds.visible_change:
            return "too-few-steps"
        return "trained-on-other-data"

    def explain_shift(self, rank: int, adapter: Adapter) -> str | None:
        """The misconception behind an adapter whose pictures do not move to the style."""
        kinds = set(adapter.names_by_kind())
        if Kind.CROSS_ATTENTION not in kinds:
            return "convolution-targeted" if Kind.CONVOLUTION in kinds else "self-attention-targeted"
        if self.denoising_gain(adapter).low <= self.thresholds.denoising_gain:
            return self.explain_data(adapter)
        return "too-few-steps"
