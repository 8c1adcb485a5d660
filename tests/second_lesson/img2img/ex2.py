"""Exercise 2, pictures at three strengths: what is decided, and for how many points."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graders.harness.errors import HandInError
from graders.harness.hand_in import Again, HandIn
from graders.harness.lesson import Exercise
from graders.harness.rubric import LeftToPerson, NotReached, Verdict, fail
from graders.lora.measures import thresholds
from img2img.pictures import IMAGE, MODEL, OTHER_IMAGE

EXERCISE = Exercise(
    name="ex2",
    title="Pictures at three strengths",
    hand_in={"pictures": "pictures"},
    parameters={
        "MODEL": MODEL,
        "IMAGE": IMAGE,
        "PROMPT": "a yellow house on the right on a red background",
        "STRENGTHS": (0.25, 0.5, 0.75),
        "NUM_INFERENCE_STEPS": 8,
        "DEVICE": "cpu",
        "SEED": 1234,
    },
    others=({"IMAGE": OTHER_IMAGE, "STRENGTHS": (0.375, 0.625, 0.875), "SEED": 7},),
)


class Strengths:
    """The pictures of a hand-in, by strength, and those that the same pipeline generates here."""

    def __init__(self, hand_in: HandIn) -> None:
        self.hand_in, self.given = hand_in, hand_in.parameters

    def picture(self, strength: float) -> np.ndarray:
        """What was handed in for a strength: uint8 [height, width, 3], or :class:`HandInError`."""
        told: Any = self.hand_in.evidence.pictures("pictures")
        mine = told.get(strength) if isinstance(told, dict) else None
        if not mine or len(mine) != 1 or mine[0].shape != self.input.shape:
            size = " × ".join(map(str, self.input.shape[:2]))
            raise HandInError(
                f"`pictures[{strength}]` is not one picture of {size} pixels.",
                "Fill it as `pictures[strength] = pipeline(...).images`.",
            )
        return np.asarray(mine[0])

    @cached_property
    def input(self) -> np.ndarray:
        """The picture in IMAGE."""
        return np.array(Image.open(self.given["IMAGE"]).convert("RGB"))

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import StableDiffusionImg2ImgPipeline

        pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(self.given["MODEL"], safety_checker=None)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def generated(self, strength: float) -> np.ndarray:
        """What the pipeline generates with the parameters of the hand-in."""
        import torch

        made = self._pipeline(
            self.given["PROMPT"],
            image=Image.fromarray(self.input),
            strength=strength,
            num_inference_steps=self.given["NUM_INFERENCE_STEPS"],
            generator=torch.Generator().manual_seed(self.given["SEED"]),
        )
        return np.array(made.images[0])


@pytest.fixture(scope="session")
def strengths(hand_in: HandIn) -> Strengths:
    """The pictures."""
    return Strengths(hand_in)


@pytest.mark.points(6)
def test_pictures(strengths: Strengths, hand_in: HandIn, verdict: Verdict) -> None:
    """`pictures` holds what the pipeline generates at each strength

    Each begins from the same picture and the same noise, and only the strength is another one.
    """
    limit = thresholds.picture()  # of two pictures that are generated from the same noise in two ways
    assert limit is not None
    given = hand_in.parameters["STRENGTHS"]
    for strength, part in verdict.each("strength", given):
        with part:
            mine = strengths.picture(strength)
            if _distance(mine, strengths.generated(strength)) > limit:
                turned = _distance(mine, strengths.generated(1 - strength)) <= limit
                same = _distance(mine, strengths.input) <= limit
                fail(
                    "another picture than this strength gives.",
                    expected="pipeline(PROMPT, image=…, strength=…) with a generator that is seeded with SEED each time",
                    hint="Generate each with a fresh torch.Generator().manual_seed(SEED), and vary the strength alone.",
                    misconception="strength-turned-round" if turned else "input-returned" if same else None,
                )
            verdict.found(f"strength {strength}: as generated here")


@pytest.mark.points(2)
@pytest.mark.needs("pictures")
def test_other_input(again: Again, verdict: Verdict) -> None:
    """The same notebook is right for another picture and other strengths

    What is computed from the parameters is right for all of them.
    """
    if not verdict.outcomes["pictures"].holds():
        raise NotReached("pictures")
    again.compare(verdict)


@pytest.mark.points(0)
def test_written_answers(hand_in: HandIn, verdict: Verdict) -> None:
    """The written answer

    Your instructor reads it; no program does.
    """
    verdict.found(f"{len(hand_in.evidence.written_answers)} written answers, kept for your instructor")
    raise LeftToPerson


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """The mean difference, in levels of 255."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())
