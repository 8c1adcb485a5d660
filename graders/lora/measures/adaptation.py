"""What an adapter does to a base model: one place that measures it, for verdicts and for calibrating them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from graders.lora.measures.adapters import Adapter
from graders.lora.measures.cache import Cache
from graders.lora.measures.clip import Clip, pick_device
from graders.lora.measures.denoising import DenoisingProbe, TimestepProfile
from graders.lora.measures.generation import BaseModel
from graders.lora.measures.pictures import Pictures, read_pictures
from graders.lora.measures.statistics import Interval, bootstrap
from graders.lora.measures.style import StyleScale, StyleShift, measure_shift, nearest_similarity

PROMPTS = 32
"""Held-out prompts generated for each adapter."""
STEPS = 16
"""Steps of the solver; more change no picture visibly."""
GUIDANCE = 3.0
FIRST_SEED = 77_000
NOISE_PICTURES = 16


@dataclass(frozen=True)
class Recognition:
    """Share of subjects and of colours that the CLIP model recognises, without and with the adapter."""

    base: float
    adapted: float


@dataclass(frozen=True)
class Memorisation:
    """What an adapter knows of its training pictures that it does not know of others.

    ``trained`` and ``held_out``: the largest relative fall of the noise-prediction error on any one picture of either
    kind; a picture that was learned by heart stands out (Yeom et al. 2018; Carlini et al. 2023). ``generated`` and
    ``real``: mean similarity to the nearest training picture, of generated pictures and of real ones of the style.
    """

    trained: float
    held_out: float
    generated: float
    real: float

    @property
    def gap(self) -> float:
        """How much better the best known training picture is known than the best known held-out one."""
        return self.trained - self.held_out

    def __str__(self) -> str:
        return (
            f"the best known training picture is denoised {self.trained:.0%} better than by the base model, the best "
            f"unseen one {self.held_out:.0%}; similarity to the nearest training picture {self.generated:.2f}, for real "
            f"pictures of the style {self.real:.2f}"
        )


class Adaptation:
    """A base model and a CLIP model, with held-out pictures of a style and plain ones of the same captions.

    What is measured of an adapter is kept as long as the adapter is, what is measured of the base model for good; and what
    takes long is found again on disk if ``cached``.
    """

    def __init__(
        self,
        model: str | Path,
        clip: str | Path,
        style: Path,
        plain: Path | None = None,
        device: str = "auto",
        precision: str = "float32",
        prompts: int = PROMPTS,
        cached: bool = False,
    ) -> None:
        self._model, self._device, self._precision = model, device, precision
        self._cache = Cache(Path(model), Path(clip), precision, str(pick_device(device))) if cached else None
        self.clip = Clip(clip, device)
        self.style_pictures = read_pictures(style)
        self._plain = plain
        # Spread over the whole set, so that every subject takes part however the set is ordered.
        self.chosen = np.linspace(0, len(self.style_pictures.rows) - 1, prompts).round().astype(int)
        self._generated: WeakKeyDictionary[Adapter, np.ndarray] = WeakKeyDictionary()
        self._embedded: WeakKeyDictionary[Adapter, Tensor] = WeakKeyDictionary()
        self._training: dict[Path, tuple[DenoisingProbe, Tensor]] = {}

    @cached_property
    def base_model(self) -> BaseModel:
        """The base model, loaded when it is first asked for."""
        return BaseModel(self._model, self._device, self._precision)

    @cached_property
    def prompts(self) -> list[str]:
        """The held-out captions that are generated."""
        return [self.style_pictures.captions[i] for i in self.chosen]

    @cached_property
    def base_pictures(self) -> np.ndarray:
        """What the base model makes of the prompts: uint8 [n, h, w, 3]."""
        return self._generate([])

    def pictures(self, adapter: Adapter) -> np.ndarray:
        """What the base model with the adapter makes of the same prompts from the same noise."""
        if adapter not in self._generated:
            self._generated[adapter] = self._generate([(adapter, 1.0)])
        return self._generated[adapter]

    def _seen(self, adapter: Adapter) -> Tensor:
        """The CLIP model's embeddings of the pictures with the adapter: [n, d]."""
        if adapter not in self._embedded:
            self._embedded[adapter] = self._look([adapter], lambda: self.pictures(adapter))
        return self._embedded[adapter]

    def _look(self, adapters: list[Adapter], pictures: Callable[[], np.ndarray]) -> Tensor:
        """What the CLIP model sees in pictures of the prompts."""
        if self._cache is None:
            return self.clip.see(pictures())
        comes_from = [FIRST_SEED, STEPS, GUIDANCE, *self.prompts, *adapters]
        return torch.from_numpy(
            self._cache.get("pictures", comes_from, lambda: {"seen": self.clip.see(pictures()).numpy()})["seen"]
        )

    def _generate(self, adapters: list[tuple[Adapter, float]]) -> np.ndarray:
        seeds = range(FIRST_SEED, FIRST_SEED + len(self.prompts))
        return self.base_model.generate(self.prompts, seeds, steps=STEPS, guidance=GUIDANCE, adapters=adapters)

    @cached_property
    def _base_seen(self) -> Tensor:
        return self._look([], lambda: self.base_pictures)

    @cached_property
    def scale(self) -> StyleScale:
        """The scale from plain to the style. Without plain pictures, the base model's own stand in for them."""
        plain = self._base_seen if self._plain is None else self.clip.see(read_pictures(self._plain).images)
        return StyleScale(self.clip.see(self.style_pictures.images), plain)

    def shift(self, adapter: Adapter) -> StyleShift:
        """How far the adapter moves pictures towards the style."""
        return measure_shift(self.scale, self._base_seen, self._seen(adapter))

    def change(self, adapter: Adapter) -> float:
        """Mean cosine distance between the pictures without and with the adapter."""
        return float(1 - (self._base_seen * self._seen(adapter)).sum(-1).mean())

    @cached_property
    def _style_probe(self) -> DenoisingProbe:
        return DenoisingProbe(lambda: self.base_model, self.style_pictures, self._cache)

    @cached_property
    def _noise_probe(self) -> DenoisingProbe:
        size = self.style_pictures.images[0].shape
        rng = np.random.default_rng(FIRST_SEED)
        images = [rng.integers(0, 256, size, dtype=np.uint8) for _ in range(NOISE_PICTURES)]
        return DenoisingProbe(
            lambda: self.base_model, Pictures(images, self.style_pictures.rows[:NOISE_PICTURES]), self._cache
        )

    def denoising_gain(self, adapter: Adapter) -> Interval:
        """Relative fall of the noise-prediction error on held-out pictures of the style."""
        return _gain(self._style_probe, adapter)

    def timestep_profile(self, adapter: Adapter) -> TimestepProfile:
        """How much the adapter does at which timestep, on the same pictures."""
        return self._style_probe.profile(adapter)

    def noise_gain(self, adapter: Adapter) -> Interval:
        """The same on pictures that are pure noise: whoever trained on noise is good at it."""
        return _gain(self._noise_probe, adapter)

    def recognition(self, adapter: Adapter) -> Recognition:
        """How well subjects and colours are still recognised."""
        return Recognition(self._recognised(self._base_seen), self._recognised(self._seen(adapter)))

    def _recognised(self, seen: Tensor) -> float:
        """Mean over the facts that the metadata gives; a fact's choices are described by the captions that share it.

        Where it gives none, the fact is the caption itself.
        """
        rows = self.style_pictures.rows
        shares = []
        facts = [
            fact for fact in (("subject",), ("colour", "background")) if all(key in row for key in fact for row in rows)
        ]
        for fact in facts or [("text",)]:
            values = [" on ".join(str(row[key]) for key in fact) for row in rows]
            choices: dict[str, list[str]] = {}
            for value, row in zip(values, rows, strict=True):
                choices.setdefault(value, []).append(row["text"])
            recognised = self.clip.recognise(seen, choices)
            shares.append(np.mean([values[i] == name for i, name in zip(self.chosen, recognised, strict=True)]))
        return float(np.mean(shares))

    def memorisation(self, adapter: Adapter, training: Path) -> Memorisation:
        """What the adapter knows of the pictures that it was trained on and of those held out."""
        if training not in self._training:
            pictures = read_pictures(training)
            probe = DenoisingProbe(lambda: self.base_model, pictures, self._cache)
            self._training[training] = probe, self.clip.see(pictures.images)
        probe, seen = self._training[training]
        return Memorisation(
            trained=_best_known(probe, adapter),
            held_out=_best_known(self._style_probe, adapter),
            generated=float(nearest_similarity(self._seen(adapter), seen).mean()),
            real=float(nearest_similarity(self.scale.style[self.chosen], seen).mean()),
        )


def _best_known(probe: DenoisingProbe, adapter: Adapter) -> float:
    """The largest relative fall of the error on any one picture."""
    return float((1 - probe.losses(adapter).mean(axis=1) / probe.base.mean(axis=1)).max())


def _gain(probe: DenoisingProbe, adapter: Adapter) -> Interval:
    fall = (probe.base - probe.losses(adapter)).mean(axis=1)
    return bootstrap(fall).scaled(1 / float(probe.base.mean()))
