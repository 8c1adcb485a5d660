"""The training objective, measured on pictures that no adapter was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graders.lora.measures.adapters import Adapter, merged
from graders.lora.measures.generation import BaseModel
from graders.lora.measures.pictures import Pictures

DRAWS = 4
"""Noisings of each picture: one timestep from each quarter of the schedule."""
BATCHES = 2
"""Predictions made at once, in units of the pictures that the base model has room for: each of those takes two."""
BINS = 2 * DRAWS
"""Parts of the schedule that a profile tells apart: each has half of the noisings of a quarter."""


@dataclass(frozen=True)
class TimestepProfile:
    """How much an adapter does at which timestep: a number for each of :data:`BINS` equal parts of the schedule.

    ``timestep``: the middle of the part. ``difference``: how far the predicted noise is from the base model's, relative
    to that one's size, on average. (The relative change of the error would tell more of the base model than of the
    adapter: the more noise there is, the less is left to predict wrongly, and any gain on it looks large.)
    """

    timestep: tuple[float, ...]
    difference: tuple[float, ...]


class DenoisingProbe:
    """The same pictures, noised once and for all at fixed timesteps, for comparing adapters on the U-Net of a painter."""

    def __init__(self, base_model: BaseModel, pictures: Pictures, seed: int = 0) -> None:
        self._base_model = base_model
        self._measured: WeakKeyDictionary[Adapter, tuple[np.ndarray, Tensor]] = WeakKeyDictionary()
        scheduler = base_model.pipeline.scheduler
        generator = torch.Generator("cpu").manual_seed(seed)
        steps = self.steps = int(scheduler.config.num_train_timesteps)
        latents = base_model.encode(pictures.images).repeat_interleave(DRAWS, 0)
        quarter = torch.arange(DRAWS).repeat(len(pictures.images)) * (steps // DRAWS)
        self.timesteps = quarter + torch.randint(steps // DRAWS, quarter.shape, generator=generator)
        self._noise = torch.randn(latents.shape, generator=generator)
        alpha_bar = scheduler.alphas_cumprod.cpu()[self.timesteps].view(-1, 1, 1, 1)
        self._noised = alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * self._noise
        self._text = base_model.read(pictures.captions).repeat_interleave(DRAWS, 0)

    @cached_property
    def base(self) -> np.ndarray:
        """The errors of the base model: float [pictures, draws]."""
        return self._of_base[0]

    @cached_property
    def _of_base(self) -> tuple[np.ndarray, Tensor]:
        return self._measure([])

    def losses(self, adapter: Adapter) -> np.ndarray:
        """The noise-prediction error of each picture at each of its timesteps: float [pictures, draws]."""
        return self._of(adapter)[0]

    def _of(self, adapter: Adapter) -> tuple[np.ndarray, Tensor]:
        if adapter not in self._measured:
            self._measured[adapter] = self._measure([(adapter, 1.0)])
        return self._measured[adapter]

    def profile(self, adapter: Adapter) -> TimestepProfile:
        """How much the adapter does at which timestep, from the predictions that the errors were made of."""
        base, adapted = self._of_base[1].flatten(1), self._of(adapter)[1].flatten(1)
        differences = (adapted - base).norm(dim=1) / base.norm(dim=1)
        part = self.timesteps * BINS // self.steps
        means = [float(differences[part == number].mean()) for number in range(BINS)]
        return TimestepProfile(tuple((number + 0.5) * self.steps / BINS for number in range(BINS)), tuple(means))

    @torch.no_grad()
    def _measure(self, adapters: list[tuple[Adapter, float]]) -> tuple[np.ndarray, Tensor]:
        """The errors, float [pictures, draws], and the predictions, [pictures · draws, channels, height, width]."""
        base_model, losses, predictions = self._base_model, [], []
        with merged(base_model.unet, adapters):
            for batch in torch.arange(len(self.timesteps)).split(BATCHES * base_model.batch):
                predicted = base_model.unet(
                    self._noised[batch].to(base_model.device, base_model.dtype),
                    self.timesteps[batch].to(base_model.device),
                    self._text[batch.to(base_model.device)],
                ).sample.float().cpu()  # fmt: skip
                predictions.append(predicted)
                errors = F.mse_loss(predicted, self._noise[batch], reduction="none")
                losses.append(errors.mean(dim=(1, 2, 3)))
        return torch.cat(losses).view(-1, DRAWS).numpy(), torch.cat(predictions)
