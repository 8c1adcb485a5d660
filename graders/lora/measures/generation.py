"""Pictures that the trusted process generates itself: the base model, with or without adapters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from graders.lora.measures.adapters import Adapter, merged
from graders.lora.measures.clip import pick_device

BATCH = 32
"""Pictures generated at once; more is not faster on two cores and takes more memory."""
LARGE = 256
"""From so many pixels on, a picture's side is that of a model of true size. Of its pictures only :data:`LARGE_BATCH` are
generated at once, and decoded one by one, so that a GPU of 16 GB has room for them."""
LARGE_BATCH = 4


class BaseModel:
    """A base model that generates prompts from fixed seeds.

    ``model`` is a folder in the layout of `StableDiffusionPipeline`, or a Hub id; ``precision`` the name of the type of
    numbers that it computes in, such as "float16".
    """

    def __init__(self, model: str | Path, device: str = "auto", precision: str = "float32") -> None:
        self.device, self.dtype = pick_device(device), getattr(torch, precision)
        from diffusers import StableDiffusionPipeline  # see graders.lora.libraries
        from diffusers.utils import logging

        logging.disable_progress_bar()  # the graders show progress of their own
        self.pipeline = StableDiffusionPipeline.from_pretrained(str(model), safety_checker=None, dtype=self.dtype).to(
            self.device
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.unet = self.pipeline.unet.requires_grad_(False)
        if self.side >= LARGE:
            self.pipeline.vae.enable_slicing()

    @property
    def side(self) -> int:
        """Width and height of its pictures, in pixels."""
        return int(self.unet.config.sample_size * self.pipeline.vae_scale_factor)

    @property
    def batch(self) -> int:
        """Pictures that there is room for at once."""
        return BATCH if self.side < LARGE else LARGE_BATCH

    @torch.no_grad()
    def encode(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """The scaled mean latents of pictures (uint8 [h, w, 3]) at the size of its own: float32 [n, c, h, w] on the CPU."""
        size, vae, latents = (self.side, self.side), self.pipeline.vae, []
        for first in range(0, len(pictures), self.batch):
            fitted = [
                np.asarray(Image.fromarray(picture).resize(size)) for picture in pictures[first : first + self.batch]
            ]
            pixels = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2).float() / 127.5 - 1
            latents.append(vae.encode(pixels.to(self.device, self.dtype)).latent_dist.mean.float().cpu())
        return torch.cat(latents) * vae.config.scaling_factor

    @torch.no_grad()
    def read(self, captions: Sequence[str]) -> Tensor:
        """The text encoder's last hidden states: [n, tokens, width] on the model's device."""
        tokens = self.pipeline.tokenizer(list(captions), padding="max_length", truncation=True, return_tensors="pt")
        return self.pipeline.text_encoder(tokens.input_ids.to(self.device)).last_hidden_state

    def start(self, seed: int, draw: int) -> Tensor:
        """z_T of one picture, drawn on the CPU so that it is the same on every device: [channels, h, w]."""
        config = self.unet.config
        shape = (draw + 1, config.in_channels, config.sample_size, config.sample_size)
        return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))[draw]

    @torch.no_grad()
    def generate(
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
            for first in range(0, len(prompts), self.batch):
                batch = slice(first, first + self.batch)
                starts = zip(seeds[batch], draws[batch], strict=True)
                latents = torch.stack([self.start(seed, draw) for seed, draw in starts])
                output = self.pipeline(
                    prompt=list(prompts[batch]),
                    latents=latents.to(self.device, self.dtype),
                    num_inference_steps=steps,
                    guidance_scale=guidance,
                    output_type="np",
                )
                # An adapter of numbers that are not finite generates such pictures
                pictures.append((np.nan_to_num(output.images) * 255).round().astype(np.uint8))
        return np.concatenate(pictures)
