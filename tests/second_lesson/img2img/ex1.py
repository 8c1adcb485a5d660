"""Exercise 1, strength and the starting timestep: what is decided, and for how many points."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from graders.harness.errors import HandInError
from graders.harness.hand_in import Again, HandIn
from graders.harness.lesson import Exercise
from graders.harness.rubric import NotReached, Verdict, fail
from img2img.pictures import IMAGE, MODEL, OTHER_IMAGE

EXERCISE = Exercise(
    name="ex1",
    title="Strength and the starting timestep",
    hand_in={"timesteps": "value", "z_0": "tensor", "noise": "tensor", "z_start": "tensor"},
    parameters={
        "MODEL": MODEL,
        "IMAGE": IMAGE,
        "STRENGTH": 0.6,
        "NUM_INFERENCE_STEPS": 20,
        "DEVICE": "cpu",
        "SEED": 1234,
    },
    others=({"IMAGE": OTHER_IMAGE, "STRENGTH": 0.25, "NUM_INFERENCE_STEPS": 24, "SEED": 7},),
)
TOLERANCE = 1e-3
"""Relative error of a tensor: float32 computes these to 1e-6, and another kernel of a convolution to 1e-4."""


class Start:
    """How image-to-image begins with the parameters of a hand-in."""

    def __init__(self, hand_in: HandIn) -> None:
        self.given = hand_in.parameters

    @cached_property
    def schedule(self) -> list[int]:
        """All timesteps, from the noisiest on."""
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler.from_pretrained(self.given["MODEL"], subfolder="scheduler")
        scheduler.set_timesteps(self.given["NUM_INFERENCE_STEPS"])
        return [int(t) for t in scheduler.timesteps]

    @property
    def kept(self) -> int:
        """How many of them are left."""
        return min(int(self.given["NUM_INFERENCE_STEPS"] * self.given["STRENGTH"]), len(self.schedule))

    @property
    def timesteps(self) -> list[int]:
        """Those that are left: the last ones."""
        return self.schedule[len(self.schedule) - self.kept :]

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """ᾱ for each timestep."""
        from diffusers import DDIMScheduler

        alphas: Tensor = DDIMScheduler.from_pretrained(self.given["MODEL"], subfolder="scheduler").alphas_cumprod
        return alphas

    @cached_property
    def z_0(self) -> Tensor:
        """The latent of IMAGE: [1, channels, height, width]."""
        from diffusers import AutoencoderKL

        vae = AutoencoderKL.from_pretrained(self.given["MODEL"], subfolder="vae")
        side = (vae.config.sample_size, vae.config.sample_size)
        picture = np.array(Image.open(self.given["IMAGE"]).convert("RGB").resize(side))
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            latent: Tensor = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
        return latent


@pytest.fixture(scope="session")
def start(hand_in: HandIn) -> Start:
    """How it begins."""
    return Start(hand_in)


def _timesteps(hand_in: HandIn) -> list[int]:
    told = hand_in.evidence.value("timesteps")
    if not isinstance(told, list) or not told or not all(type(t) is int for t in told):
        raise HandInError("`timesteps` is not a list of whole numbers.", "Keep them as [int(t) for t in …].")
    return told


@pytest.mark.points(4)
def test_timesteps(hand_in: HandIn, start: Start, verdict: Verdict) -> None:
    """`timesteps` are those that are left

    A strength of 0.6 means that the last six tenths of the way from noise to picture are gone: it begins in their middle, with
    a picture that is noised that far.
    """
    told, steps = _timesteps(hand_in), start.schedule
    if told != start.timesteps:
        turned = steps[start.kept :]
        slug = "strength-turned-round" if told == turned else "first-timesteps" if told == steps[: start.kept] else None
        fail(
            f"{len(told)} timesteps, from {told[0]} to {told[-1]}.",
            expected="the last int(NUM_INFERENCE_STEPS * STRENGTH) of the scheduler's timesteps",
            hint="Print scheduler.timesteps. Where does pure noise stand, and where does the picture?",
            misconception=slug,
        )
    verdict.found(f"{len(told)} timesteps, from {told[0]} to {told[-1]}")


@pytest.mark.points(2)
def test_latent(hand_in: HandIn, start: Start, verdict: Verdict) -> None:
    """`z_0` is the latent of IMAGE

    The U-Net never sees a picture, only what the VAE makes of it.
    """
    told = hand_in.evidence.tensor("z_0").float()
    if told.shape != start.z_0.shape or _differ(told, start.z_0):
        fail(
            f"a tensor of shape {list(told.shape)} that is another one.",
            expected="vae.encode(...).latent_dist.mean, times vae.config.scaling_factor",
            hint="Which range of values was the VAE trained on, and which does your picture have?",
        )
    verdict.found(f"of shape {list(told.shape)}")


@pytest.mark.points(4)
@pytest.mark.needs("latent")
def test_z_start(hand_in: HandIn, start: Start, verdict: Verdict) -> None:
    """`z_start` is `z_0`, noised to the first timestep that is left

    The forward process needs no loop: z_t = √ᾱ z_0 + √(1 - ᾱ) ε.
    """
    z_0, noise, told = (hand_in.evidence.tensor(name).float() for name in ("z_0", "noise", "z_start"))
    if noise.shape != z_0.shape or not 0.7 < float(noise.std()) < 1.3:  # of 1,000 numbers the deviation is 1 ± 0.1
        fail(
            "`noise` is not standard normal noise of z_0's shape.", expected="torch.randn_like(z_0)", hint="Draw it so."
        )
    first = _timesteps(hand_in)[0]
    if not 0 <= first < len(start.alphas_cumprod):
        raise NotReached("timesteps")
    alpha = start.alphas_cumprod[first]
    if told.shape != z_0.shape or _differ(told, alpha.sqrt() * z_0 + (1 - alpha).sqrt() * noise):
        plain = told.shape == z_0.shape and not _differ(told, alpha * z_0 + (1 - alpha) * noise)
        fail(
            f"it does not follow from your `z_0`, `noise` and timestep {first}.",
            expected="√ᾱ z_0 + √(1 - ᾱ) ε at the first of your timesteps",
            hint="Look up ᾱ in scheduler.alphas_cumprod. What is the variance of a sum of two independent tensors?",
            misconception="alpha-bar-not-square-rooted" if plain else None,
        )
    verdict.found(f"noised to timestep {first}")


@pytest.mark.points(2)
def test_other_input(again: Again, verdict: Verdict) -> None:
    """The same notebook is right for another picture and another strength

    What is computed from the parameters is right for all of them.
    """
    if not any(verdict.outcomes[name].holds() for name in ("timesteps", "latent")):
        raise NotReached("timesteps")
    again.compare(verdict)


def _differ(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() > TOLERANCE * other.norm()) or not bool(one.isfinite().all())
