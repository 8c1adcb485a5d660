"""The training objective, measured on pictures that no adapter was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graders.lora.measures.adapters import Adapter, merged
from graders.lora.measures.cache import Arrays, Cache
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
    """The same pictures, noised once and for all at fixed timesteps, for comparing adapters on the U-Net of a base model.

    What was measured before with the same base model comes from ``cache``, if there is one.
    """

    def __init__(
        self, base_model: Callable[[], BaseModel], pictures: Pictures, cache: Cache | None = None, seed: int = 0
    ) -> None:
        """``base_model`` is asked for when something has to be measured."""
        self._base_model, self._pictures, self._cache, self._seed = base_model, pictures, cache, seed
        self._measured: WeakKeyDictionary[Adapter, Arrays] = WeakKeyDictionary()

    @cached_property
    def _noised(self) -> _Noised:
        base_model, pictures = self._base_model(), self._pictures
        scheduler = base_model.pipeline.scheduler
        generator = torch.Generator("cpu").manual_seed(self._seed)
        steps = int(scheduler.config.num_train_timesteps)
        latents = base_model.encode(pictures.images).repeat_interleave(DRAWS, 0)
        quarter = torch.arange(DRAWS).repeat(len(pictures.images)) * (steps // DRAWS)
        timesteps = quarter + torch.randint(steps // DRAWS, quarter.shape, generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        alpha_bar = scheduler.alphas_cumprod.cpu()[timesteps].view(-1, 1, 1, 1)
        noised = alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise
        return _Noised(noised, noise, timesteps, base_model.read(pictures.captions).repeat_interleave(DRAWS, 0), steps)

    @property
    def base(self) -> np.ndarray:
        """The errors of the base model: float [pictures, draws]."""
        return self._of_base["losses"]

    @cached_property
    def _of_base(self) -> Arrays:
        """``losses``, float [pictures, draws]; ``predictions``, [pictures · draws, …]; and the ``timesteps`` of how many."""

        def measure() -> Arrays:
            losses, predictions = self._predict([])
            noised = self._noised
            return {
                "losses": losses,
                "predictions": predictions.numpy(),
                "timesteps": noised.timesteps.numpy(),
                "steps": np.asarray(noised.steps),
            }

        return self._get("base", (), measure)

    def losses(self, adapter: Adapter) -> np.ndarray:
        """The noise-prediction error of each picture at each of its timesteps: float [pictures, draws]."""
        return self._of(adapter)["losses"]

    def _of(self, adapter: Adapter) -> Arrays:
        def measure() -> Arrays:
            base = torch.from_numpy(self._of_base["predictions"]).flatten(1)
            losses, predictions = self._predict([(adapter, 1.0)])
            difference = (predictions.flatten(1) - base).norm(dim=1) / base.norm(dim=1)
            return {"losses": losses, "difference": difference.numpy()}

        if adapter not in self._measured:
            self._measured[adapter] = self._get("adapter", [adapter], measure)
        return self._measured[adapter]

    def _get(self, what: str, comes_from: Sequence[Adapter], measure: Callable[[], Arrays]) -> Arrays:
        if self._cache is None:
            return measure()
        pictures = [*self._pictures.images, *self._pictures.captions]
        return self._cache.get(f"noise predictions of the {what}", [self._seed, *pictures, *comes_from], measure)

    def profile(self, adapter: Adapter) -> TimestepProfile:
        """How much the adapter does at which timestep, from the predictions that the errors were made of."""
        steps = int(self._of_base["steps"])
        differences, part = self._of(adapter)["difference"], self._of_base["timesteps"] * BINS // steps
        means = [float(differences[part == number].mean()) for number in range(BINS)]
        return TimestepProfile(tuple((number + 0.5) * steps / BINS for number in range(BINS)), tuple(means))

    @torch.no_grad()
    def _predict(self, adapters: list[tuple[Adapter, float]]) -> tuple[np.ndarray, Tensor]:
        """The errors, float [pictures, draws], and the predictions, [pictures · draws, channels, height, width]."""
        base_model, noised, losses, predictions = self._base_model(), self._noised, [], []
        with merged(base_model.unet, adapters):
            for batch in torch.arange(len(noised.timesteps)).split(BATCHES * base_model.batch):
                predicted = base_model.unet(
                    noised.latents[batch].to(base_model.device, base_model.dtype),
                    noised.timesteps[batch].to(base_model.device),
                    noised.text[batch.to(base_model.device)],
                ).sample.float().cpu()  # fmt: skip
                predictions.append(predicted)
                errors = F.mse_loss(predicted, noised.noise[batch], reduction="none")
                losses.append(errors.mean(dim=(1, 2, 3)))
        return torch.cat(losses).view(-1, DRAWS).numpy(), torch.cat(predictions)


@dataclass(frozen=True)
class _Noised:
    """Noised latents, the noise in them, their timesteps of how many ``steps``, and the text to each."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    text: Tensor
    steps: int
