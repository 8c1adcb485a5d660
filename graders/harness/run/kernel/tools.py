"""What a lesson's watchers may ask for, to note what they see in words that are read again."""

from __future__ import annotations

from typing import Any

from .encoding import Encoder
from .pictures import digest, pixels_of


def encode(value: Any) -> Any:
    """Numbers, texts and collections of them as JSON, which :func:`graders.harness.data.values.decode` reads."""
    return Encoder().encode(value)


def digest_of(picture: Any) -> str:
    """The SHA-256 of a picture's pixels, in whichever library it is, by which :func:`digest_of` of a hand-in knows it."""
    return digest(*pixels_of(picture))
