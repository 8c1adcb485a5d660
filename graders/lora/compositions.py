"""What the notebooks of exercise 4 compose: adapters, prompts and weights.

The threshold for its pictures is derived with all of these, so that none of them lets a mistake go unseen.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from graders.harness.lesson import Between, Texts
from graders.lora import catalog

MID_BLOCK = "mid_block.attentions.0.transformer_blocks.0.attn2"
UP_BLOCK = "up_blocks.2.attentions.1.transformer_blocks.0.attn2"
GIVEN = {
    "MODEL": str(catalog.TINY_SD),
    "ADAPTERS": {"style": str(catalog.adapter("style")), "subject": str(catalog.adapter("subject"))},
    "DEVICE": "auto",
    "SEED": 1234,
    "LAYER": f"{MID_BLOCK}.to_k",
    "PROMPTS": [
        "a sks cat on a blue background",
        "a sks cat on a red background",
        "a red boat on a yellow background",
    ],
    # The base comes after cells with adapters: only so is it seen whether those are gone again.
    "GRID": [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0), (0.7, 0.4), (0.8, 1.0), (1.0, 0.5)],
    "NUM_INFERENCE_STEPS": 8,
    "GUIDANCE_SCALE": 3.0,
}


@dataclass(frozen=True)
class Prompts:
    """Lists of up to so many prompts."""

    most: int

    def __contains__(self, value: object) -> bool:
        """Whether it is one of them."""
        return (
            isinstance(value, list | tuple)
            and 0 < len(value) <= self.most
            and all(prompt in Texts(200) for prompt in value)
        )


@dataclass(frozen=True)
class Grids:
    """Lists of up to so many pairs of weights in which every kind of cell is, and each weight is large enough to be seen.

    Two blends at least, or it could not be told whether their weights do anything.
    """

    most: int

    def __contains__(self, value: object) -> bool:
        """Whether it is one of them."""
        if not isinstance(value, list | tuple) or len(value) > self.most:
            return False
        pairs = [pair for pair in value if isinstance(pair, list | tuple) and len(pair) == 2]
        if len(pairs) < len(value) or not all(w == 0 or w in Between(0.25, 2.0) for pair in pairs for w in pair):
            return False
        kinds = [(bool(style), bool(subject)) for style, subject in dict.fromkeys(map(tuple, pairs))]
        return {(False, False), (True, False), (False, True)} <= {*kinds} and kinds.count((True, True)) > 1


CARRIED: dict[str, Container[Any]] = {
    "SEED": range(1 << 63),
    "NUM_INFERENCE_STEPS": range(1, 31),
    "GUIDANCE_SCALE": Between(0.0, 30.0),
    "PROMPTS": Prompts(6),
    "GRID": Grids(12),
    "LAYER": Texts(200),
}
PICTURES = ("MODEL", "ADAPTERS", "PROMPTS", "SEED", "NUM_INFERENCE_STEPS", "GUIDANCE_SCALE")
"""The parameters that decide what a picture shows."""
SHAPES = {
    **dict.fromkeys((*PICTURES, "GRID"), ("images",)),
    **dict.fromkeys(("MODEL", "ADAPTERS"), ("images", "combined_weight")),
    "LAYER": ("combined_weight",),
}
"""The hand-in variables that each of them shapes."""
OTHERS = (
    {
        "SEED": 77,
        "LAYER": f"{UP_BLOCK}.to_q",
        "PROMPTS": [
            "a sks cat on a green background",
            "a sks cat on a cyan background",
            "a green tree on a blue background",
        ],
        "GRID": [(0.6, 0.9), (1.0, 0.0), (0.0, 0.0), (0.0, 0.7), (1.0, 1.0), (0.7, 0.4), (0.0, 1.0)],
        "NUM_INFERENCE_STEPS": 4,
    },
    {
        "SEED": 5,
        "LAYER": f"{UP_BLOCK}.to_out.0",
        "PROMPTS": [
            "a sks cat on a red background",
            "a sks cat on a purple background",
            "a cyan fish on a red background",
        ],
        "GRID": [(0.9, 0.6), (0.8, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.7, 0.4)],
        "NUM_INFERENCE_STEPS": 4,
    },
)
"""As many prompts as before, and every cell that a notebook may want to show."""
