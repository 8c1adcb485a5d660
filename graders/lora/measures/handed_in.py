"""Pictures that were handed in: as many as were asked for, and such as a pipeline generates."""

from __future__ import annotations

from typing import Any

import numpy as np

from graders.harness.errors import HandInError
from graders.harness.hand_in import HandIn

MAX_ASPECT = 8
"""No pipeline generates longer pictures, and the CLIP model, which scales the shorter side, would need gigabytes for them."""


def picture_list(hand_in: HandIn, pictures: Any, name: str, count: int | None = None) -> list[np.ndarray]:
    """A list of ``count`` pictures, or :class:`HandInError`."""
    if pictures is None:
        raise HandInError(f"`{name}` is missing.", "Generate one picture per prompt and keep the list there.")
    if not isinstance(pictures, list):
        raise HandInError(f"`{name}` is not a list of pictures.", "Keep the pictures in a list, one per prompt.")
    if not pictures or (count is not None and len(pictures) != count):
        raise HandInError(
            f"`{name}` holds {len(pictures)} pictures for {len(hand_in.parameters['PROMPTS'])} prompts.",
            "Generate exactly one picture per prompt in PROMPTS, in their order.",
        )
    if any(max(p.shape[:2]) > MAX_ASPECT * min(p.shape[:2]) for p in pictures):
        raise HandInError(
            f"`{name}` holds a picture that is more than {MAX_ASPECT} times as long as wide.",
            "Hand in the pictures as the pipeline generates them.",
        )
    return pictures


def pictures_by_rank(hand_in: HandIn, name: str) -> dict[Any, Any]:
    """A mapping from rank to a list of pictures, or :class:`HandInError`."""
    pictures = hand_in.evidence.pictures(name)
    if not isinstance(pictures, dict):
        raise HandInError(f"`{name}` is not a mapping from rank to pictures.", f"Fill it as `{name}[rank] = ...`.")
    return pictures
