"""A picture of a style shift: base, adapters and real pictures of the style, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_LABEL, _GAP, _LINE = 150, 6, 16


def sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], captions: Sequence[str] = (), *, size: int = 128
) -> Image.Image:
    """One labelled row per kind of picture (uint8 [h, w, 3] each), scaled to ``size`` pixels, captions above."""
    columns = max(len(pictures) for _, pictures in rows)
    step = size + _GAP
    wrapped = ["\n".join(textwrap.wrap(caption, size // 7)) for caption in captions]
    head = _GAP + _LINE * max((text.count("\n") + 1 for text in wrapped), default=0)
    canvas = Image.new("RGB", (_LABEL + columns * step, head + len(rows) * step), "white")
    draw = ImageDraw.Draw(canvas)
    small, large = ImageFont.load_default(size=12), ImageFont.load_default(size=15)
    for c, text in enumerate(wrapped):
        draw.multiline_text((_LABEL + c * step + size / 2, _GAP), text, "black", small, anchor="ma", align="center")
    for r, (label, pictures) in enumerate(rows):
        top = head + r * step
        draw.text((10, top + size / 2), label, "black", large, anchor="lm")
        for c, picture in enumerate(pictures):
            scaled = Image.fromarray(picture).resize((size, size), Image.Resampling.NEAREST)
            canvas.paste(scaled, (_LABEL + c * step, top))
    return canvas
