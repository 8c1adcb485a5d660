"""The latent of a picture: what a VAE makes of it, and what it makes of the same pixels in a wrong range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from graders.lora.measures.normality import is_standard_normal
from graders.lora.measures.precision import relative_error

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


@dataclass(frozen=True)
class PixelRange:
    """A way to turn pixels of 0 to 255 into what a VAE is given; ``words`` continue "the pixels were"."""

    words: str
    right: bool
    scaled: Callable[[Tensor], Tensor]


RANGES = (
    PixelRange("scaled to [-1, 1]", True, lambda pixels: pixels / 127.5 - 1),
    PixelRange("scaled to [-1, 1)", True, lambda pixels: pixels / 128 - 1),
    PixelRange("in [0, 1]", False, lambda pixels: pixels / 255),
    PixelRange("in [0, 255], as they are in the file", False, lambda pixels: pixels),
    PixelRange("in [-0.5, 0.5]", False, lambda pixels: pixels / 255 - 0.5),
)


@dataclass(frozen=True, eq=False)
class Encoding:
    """The distribution that the VAE gives, before any scaling: mean and standard deviation [1, c, h, w]."""

    pixels: PixelRange
    mean: Tensor
    deviation: Tensor

    def factor(self, latent: Tensor, tolerance: float) -> float | None:
        """The factor that makes this mean, or a sample of this distribution, ``latent`` [1, c, h, w]; None if none does."""
        factor = float((latent.double() * self.mean).sum() / self.mean.double().square().sum())
        if abs(factor) < 1e-6:
            return None
        unscaled = latent.double() / factor
        is_mean = relative_error(unscaled, self.mean) <= tolerance
        return factor if is_mean or is_standard_normal((unscaled - self.mean) / self.deviation) else None

    @property
    def factor_spread(self) -> float:
        """The relative standard deviation of the factor that a sample leads to."""
        return float((self.deviation * self.mean).double().norm() / self.mean.double().square().sum())


@dataclass(frozen=True, eq=False)
class Recognised:
    """What a latent turned out to be."""

    encoding: Encoding
    factor: float


class LatentSpace:
    """What a VAE makes of one picture, uint8 [h, w, 3]."""

    def __init__(self, vae: AutoencoderKL, picture: np.ndarray) -> None:
        self._vae = vae.requires_grad_(False)
        self.scaling_factor = float(vae.config.scaling_factor)
        self.pixels = torch.tensor(picture).permute(2, 0, 1)[None].float()

    @torch.no_grad()
    def _encode(self, pixels: PixelRange) -> Encoding:
        distribution = self._vae.encode(pixels.scaled(self.pixels)).latent_dist
        return Encoding(pixels, distribution.mean, distribution.std)

    @cached_property
    def encodings(self) -> list[Encoding]:
        """One for each range of pixels, the right ones first."""
        return [self._encode(pixels) for pixels in RANGES]

    def decode(self, latent: Tensor) -> Tensor:
        """The picture [1, 3, h, w] of an unscaled latent."""
        return self._vae.decode(latent).sample

    @property
    def shape(self) -> tuple[int, ...]:
        """[1, channels, height, width] of a latent of this picture."""
        return tuple(self.encodings[0].mean.shape)

    def recognise(self, latent: Tensor, tolerance: float) -> Recognised | None:
        """Which pixels and which factor lead to ``latent``, the picture's mean latent or a sample; None if none do."""
        for encoding in self.encodings:
            factor = encoding.factor(latent, tolerance)
            if factor is not None:
                return Recognised(encoding, factor)
        return None

    def well_scaled(self, recognised: Recognised, tolerance: float) -> bool:
        """Whether the factor is the VAE's own, as exactly as a sample tells it."""
        error = abs(recognised.factor / self.scaling_factor - 1)
        return error <= tolerance + 5 * recognised.encoding.factor_spread
