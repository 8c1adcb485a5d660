"""Sheets of pictures: many small ones in rows and columns, as one PNG file."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from graders.harness.data import png, values
from graders.harness.data.values import Malformed

SIDES = (192, 160, 128, 96, 64, 48)
"""Pixels of a picture's longer side: the first of them with which a sheet fits. The last does whatever the pictures show."""
Size = tuple[int, int]


def sheet(rows: Sequence[Sequence[np.ndarray | None]], limit: int) -> tuple[bytes, Size, list[list[Size | None]]]:
    """Rows of the same length as a PNG file of at most ``limit`` bytes, the size of a place on it, and those of the pictures.

    Each picture, uint8 [height, width, 3], is in the upper left of its place, made smaller as need be.
    """
    for side in SIDES:
        cells = [[None if pixels is None else _small(pixels, side) for pixels in row] for row in rows]
        width, height = (max(p.size[axis] for row in cells for p in row if p) for axis in (0, 1))
        made = Image.new("RGB", (width * len(rows[0]), height * len(rows)))
        for y, row in enumerate(cells):
            for x, picture in enumerate(row):
                if picture:
                    made.paste(picture, (x * width, y * height))
        content = io.BytesIO()
        made.save(content, "PNG")
        if content.tell() <= limit:
            break
    return (
        content.getvalue(),
        (width, height),
        [[picture.size if picture else None for picture in row] for row in cells],
    )


def cut(content: bytes, place: Size, sizes: Sequence[Sequence[Size | None]]) -> list[list[np.ndarray | None]]:
    """The pictures of a sheet; :class:`graders.harness.data.values.Malformed` if it has others."""
    width, height = place
    columns = max(map(len, sizes), default=0)
    pixels = png.decode(content, values.Budget(pictures=1))
    if pixels.shape != (height * len(sizes), width * columns, 3):
        raise Malformed("the sheet of pictures has another size")
    if any(size and not (0 < size[0] <= width and 0 < size[1] <= height) for row in sizes for size in row):
        raise Malformed("a picture is larger than its place")
    return [
        [size and pixels[y * height :, x * width :][: size[1], : size[0]] for x, size in enumerate(row)]
        for y, row in enumerate(sizes)
    ]


def _small(pixels: np.ndarray, side: int) -> Image.Image:
    picture = Image.fromarray(pixels).convert("RGB")
    picture.thumbnail((side, side))
    return picture
