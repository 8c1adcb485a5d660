"""PNG files that an attacker wrote, decoded."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
from PIL import Image

from graders.harness.data import values

MAX_CHUNKS = 2000
"""Parts of one PNG file, each of which takes its time; Pillow writes pixels in parts of 64 kB."""
MAX_PIXELS = 2048 * 2048
"""Pixels of one picture: pipelines of Stable Diffusion generate a sixteenth of that. All pictures of a run have a limit together,
see :class:`graders.harness.data.values.Budget`."""


def decode(content: bytes, budget: values.Budget) -> np.ndarray:
    """A PNG file decoded to uint8 [height, width, 3], within what is left of the numbers of pictures and pixels."""
    _refuse_extras(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            pixels = picture.width * picture.height
            if pixels > MAX_PIXELS:
                raise values.Malformed(f"a picture of {picture.width} × {picture.height} pixels is too large")
            budget.spend("pictures")
            budget.spend("pixels", pixels)
            return np.array(picture.convert("RGB"))


def _refuse_extras(content: bytes) -> None:
    """Texts, profiles and frames of a PNG file make no pixels, and may unpack to a lot; the collector writes none."""
    at = 8
    for _ in range(MAX_CHUNKS):
        if at >= len(content):
            return
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind not in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            raise values.Malformed("a picture with more in it than pixels")
        at += length + 12
    raise values.Malformed("a picture in too many parts")
