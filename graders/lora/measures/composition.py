"""Pictures of a base model with two adapters at any pair of weights, painted by the trusted process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.adapters import Adapter, LoraLayer
from graders.lora.measures.hypotheses import Noise, Weights
from graders.lora.measures.painting import Painter
from graders.lora.profile import precision_of

DIGITS = 6
"""Decimals to which weights are told apart."""


@dataclass(frozen=True)
class Settings:
    """How a picture is painted, beside what it shows."""

    steps: int
    guidance: float
    precision: str = "float32"


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference of two pictures (uint8 [h, w, 3]), in levels of 255."""
    return float(np.abs(first.astype(np.int16) - second.astype(np.int16)).mean())


class Composition:
    """A base model, a style adapter and a subject adapter. Each picture is painted once, when first asked for.

    The adapters are merged into the weights. A pipeline that adds them as detours computes the same sum in another
    order, so its pictures differ by rounding alone.
    """

    def __init__(
        self,
        model: str,
        device: str,
        adapters: tuple[str, str],
        prompts: tuple[str, ...],
        seed: int,
        settings: Settings,
        spared: str = "",
    ) -> None:
        """``adapters`` are the folders of the style's and the subject's adapter; the block ``spared`` is without them."""
        self._model, self._device, self._folders, self._spared = model, device, adapters, spared
        self.prompts, self.seed, self.settings = prompts, seed, settings
        self._painted: dict[tuple[Weights, Settings, int, Noise], np.ndarray] = {}

    @cached_property
    def painter(self) -> Painter:
        """The base model."""
        return _painter(self._model, self._device, self.settings.precision)

    @cached_property
    def adapters(self) -> tuple[Adapter, Adapter]:
        """The style's and the subject's adapter."""
        style, subject = (self._outside(read_adapter(Path(folder), self.painter.unet)) for folder in self._folders)
        return style, subject

    def _outside(self, adapter: Adapter) -> Adapter:
        layers = {name: layer for name, layer in adapter.layers.items() if _block(name) != self._spared}
        return replace(adapter, layers=layers)

    @cached_property
    def sparing(self) -> dict[str, Composition]:
        """The compositions of somebody who forgot one of the U-Net's blocks, by its name."""
        blocks = dict.fromkeys(_block(name) for adapter in self.adapters for name in adapter.layers)
        return {
            block: Composition(
                self._model, self._device, self._folders, self.prompts, self.seed, self.settings, spared=block
            )
            for block in blocks
        }

    @property
    def scales(self) -> Weights:
        """α/r of the style's and of the subject's adapter, each that of its first layer."""
        style, subject = (next(iter(adapter.layers.values())).scale for adapter in self.adapters)
        return style, subject

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every picture."""
        return self.painter.side, self.painter.side, 3

    def pictures(self, weights: Weights, noises: Sequence[Noise]) -> list[np.ndarray]:
        """One picture per prompt, each from its own noise."""
        return self._paint(weights, list(enumerate(noises)), self.settings)

    def picture(self, weights: Weights, prompt: int, noise: Noise, settings: Settings | None = None) -> np.ndarray:
        """The picture of one prompt, uint8 [h, w, 3]."""
        return self._paint(weights, [(prompt, noise)], settings or self.settings)[0]

    def _paint(self, weights: Weights, wanted: list[tuple[int, Noise]], settings: Settings) -> list[np.ndarray]:
        rounded = (round(weights[0], DIGITS), round(weights[1], DIGITS))
        keys = [(rounded, settings, prompt, noise) for prompt, noise in wanted]
        missing = [key for key in keys if key not in self._painted]
        if missing:
            new = self.painter.paint(
                [self.prompts[prompt] for *_, prompt, _ in missing],
                [noise.seed for *_, noise in missing],
                draws=[noise.draw for *_, noise in missing],
                steps=settings.steps,
                guidance=settings.guidance,
                adapters=list(zip(self.adapters, rounded, strict=True)),
            )
            self._painted |= dict(zip(missing, new, strict=True))
        return [self._painted[key] for key in keys]

    def layer(self, name: str) -> tuple[Tensor, LoraLayer, LoraLayer]:
        """W of a layer of the base model, [out, in] on the CPU, and the pairs that each adapter adds to it."""
        weight = self.painter.unet.get_submodule(name).get_parameter("weight").detach().cpu()
        style, subject = self.adapters
        return weight, style.layers[name], subject.layers[name]


def _block(layer: str) -> str:
    """The block in which a layer stands, for example "mid_block" or "up_blocks.2"."""
    first, second, *_ = layer.split(".")
    return f"{first}.{second}" if second.isdigit() else first


@lru_cache(maxsize=1)
def _painter(model: str, device: str, precision: str) -> Painter:
    return Painter(model, device, precision)


def make(parameters: Mapping[str, Any]) -> Composition:
    """The composition that an exercise's parameters ask for, with no picture painted."""
    return Composition(*_asked(parameters))


@lru_cache(maxsize=4)
def _shared(*asked: Any) -> Composition:
    return Composition(*asked)


def shared(parameters: Mapping[str, Any]) -> Composition:
    """The same; a course's hand-ins have it, and the pictures painted for it, in common."""
    return _shared(*_asked(parameters))


def _asked(parameters: Mapping[str, Any]) -> tuple[str, str, tuple[str, str], tuple[str, ...], int, Settings]:
    return (
        parameters["MODEL"],
        parameters["DEVICE"],
        (parameters["ADAPTERS"]["style"], parameters["ADAPTERS"]["subject"]),
        tuple(parameters["PROMPTS"]),
        parameters["SEED"],
        Settings(
            parameters["NUM_INFERENCE_STEPS"],
            parameters["GUIDANCE_SCALE"],
            precision_of(parameters),
        ),
    )
