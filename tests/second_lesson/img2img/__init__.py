"""A lesson on image-to-image with Stable Diffusion, with the models and pictures of another lesson."""

from __future__ import annotations

from pathlib import Path

from graders.harness.lesson import Fixtures, Lesson, Outline
from img2img import pictures

_HERE = Path(__file__).parent

LESSON = Lesson(
    name="img2img",
    version="1.0.0",
    title="Image-to-image with Stable Diffusion",
    home=_HERE,
    outlines={
        "ex1": Outline("img2img.ex1", memory=1 << 30, disk=1 << 20, seconds=10, points=12),
        "ex2": Outline("img2img.ex2", memory=1200 << 20, disk=2 << 20, seconds=20, points=8),
    },
    notebooks=_HERE / "notebooks",
    fixtures=Fixtures(pictures.ROOT),
    misconceptions={
        "strength-turned-round": "the strength was taken for the part of the picture that stays, but it says how much is noised",
        "first-timesteps": "the first timesteps were kept, which begin at pure noise; image-to-image begins later",
        "alpha-bar-not-square-rooted": "picture and noise were weighted by ᾱ and 1 - ᾱ themselves, not by their square roots",
        "input-returned": "the pictures are the one that they should start from",
        "hard-coded": "an answer, or a part of it, was written down for one input instead of being computed from it",
    },
    solutions=_HERE.parent / "solutions",
    zoo=_HERE.parent / "zoo",
    distributions=("torch", "diffusers", "transformers", "numpy"),
)
