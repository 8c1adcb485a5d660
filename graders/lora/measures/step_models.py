"""The models that a training step is taken with, and the picture and caption that it is taken on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from graders.lora.measures.captions import Caption
from graders.lora.measures.latents import LatentSpace
from graders.lora.measures.layers import cross_attention_projections
from graders.lora.measures.noising import ForwardProcess

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

# The models stay as they are, and are the same for all hand-ins of a course; so are the pictures of most


@lru_cache(maxsize=1)
def _unet(model: str) -> UNet2DConditionModel:
    from diffusers import UNet2DConditionModel  # see graders.lora.libraries

    return UNet2DConditionModel.from_pretrained(model, subfolder="unet").requires_grad_(False)


@lru_cache(maxsize=1)
def _vae(model: str) -> AutoencoderKL:
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(model, subfolder="vae")


@lru_cache(maxsize=1)
def _text_encoder(model: str) -> tuple[CLIPTokenizer, CLIPTextModel]:
    from transformers import CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(model, subfolder="tokenizer")
    return tokenizer, CLIPTextModel.from_pretrained(model, subfolder="text_encoder", dtype=torch.float32)


@lru_cache(maxsize=8)
def _latents(model: str, pixels: bytes, height: int, width: int) -> LatentSpace:
    return LatentSpace(_vae(model), np.frombuffer(pixels, np.uint8).reshape(height, width, 3))


class StepModels:
    """The models in MODEL on the CPU in float32, with IMAGE, CAPTION and TIMESTEP."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Each model is loaded when it is first asked for."""
        self._parameters = parameters
        self.timestep: int = parameters["TIMESTEP"]

    @cached_property
    def latents(self) -> LatentSpace:
        """The VAE, with the picture in IMAGE at the size that it was trained on."""
        return self.latents_of(1, 1)

    def latents_of(self, tall: float, wide: float) -> LatentSpace:
        """The same with the picture so many times as tall and as wide."""
        model: str = self._parameters["MODEL"]
        side = int(_vae(model).config.sample_size)
        width, height = round(wide * side), round(tall * side)
        picture = Image.open(self._parameters["IMAGE"]).convert("RGB").resize((width, height))
        return _latents(model, picture.tobytes(), height, width)

    @cached_property
    def caption(self) -> Caption:
        """The text encoder, with CAPTION."""
        return Caption(*_text_encoder(self._parameters["MODEL"]), self._parameters["CAPTION"])

    @cached_property
    def forward_process(self) -> ForwardProcess:
        """The noise schedule at TIMESTEP."""
        from diffusers import DDPMScheduler

        scheduler = DDPMScheduler.from_pretrained(self._parameters["MODEL"], subfolder="scheduler")
        return ForwardProcess(scheduler.alphas_cumprod, self.timestep)

    @cached_property
    def base(self) -> UNet2DConditionModel:
        """The U-Net as it was before anyone adapted it."""
        return _unet(self._parameters["MODEL"])

    @cached_property
    def wanted_layers(self) -> list[str]:
        """The names of the cross-attention projections."""
        return cross_attention_projections(self.base)
