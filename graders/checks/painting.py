"""Pictures that the trusted process paints itself: the base model, with or without adapters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging
from torch import Tensor

from graders.checks.adapters import Adapter, merged
from graders.checks.judge import pick_device

BATCH = 32
"""Pictures painted at once; more is not faster on two cores and takes more memory."""


class Painter:
    """A base model that paints prompts from fixed seeds.

    ``model`` is a folder in the layout of `StableDiffusionPipeline`, or a Hub id.
    """

    def __init__(self, model: str | Path, device: str = "auto") -> None:
        self.device = pick_device(device)
        logging.disable_progress_bar()  # the graders show progress of their own
        self.pipeline = StableDiffusionPipeline.from_pretrained(str(model), safety_checker=None).to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.unet = self.pipeline.unet.requires_grad_(False)
        self.unet_parameters = sum(p.numel() for p in self.unet.parameters())

    def _start(self, seed: int, draw: int) -> Tensor:
        """z_T of one picture, drawn on the CPU so that it is the same on every device: [channels, h, w]."""
        config = self.unet.config
        shape = (draw + 1, config.in_channels, config.sample_size, config.sample_size)
        return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))[draw]

    @torch.no_grad()
    def paint(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int,
        guidance: float,
        adapters: Sequence[tuple[Adapter, float]] = (),
        draws: Sequence[int] | None = None,
    ) -> np.ndarray:
        """One picture per prompt and seed: uint8 [n, h, w, 3]. Adapters are merged at their weights meanwhile.

        ``draws`` says for each picture how many others have drawn from its generator before; by default none has.
        """
        draws = draws or [0] * len(prompts)
        pictures = []
        with merged(self.unet, list(adapters)):
            for first in range(0, len(prompts), BATCH):
                batch = slice(first, first + BATCH)
                starts = zip(seeds[batch], draws[batch], strict=True)
                latents = torch.stack([self._start(seed, draw) for seed, draw in starts])
                output = self.pipeline(
                    prompt=list(prompts[batch]),
                    latents=latents.to(self.device, self.unet.dtype),
                    num_inference_steps=steps,
                    guidance_scale=guidance,
                    output_type="np",
                )
                # An adapter of numbers that are not finite paints such pictures
                pictures.append((np.nan_to_num(output.images) * 255).round().astype(np.uint8))
        return np.concatenate(pictures)
