"""Exhibits as figures of a page: pictures, encoded anew, curves, tables, and what a lesson draws."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from PIL import Image

from graders.harness import exhibits, lessons
from graders.harness.exhibits import Curves, Diagram, Exhibit, Gallery, Table
from graders.harness.marks import Grade
from graders.harness.report import charts, drawings

MAX_BYTES = 200_000
"""Bytes of the pictures of one gallery, before they become text, which makes them a third larger."""
QUALITIES = ((192, 100), (192, 85), (160, 75), (128, 70), (96, 60), (64, 50), (48, 30))
"""Pixels of the longer side and WebP's quality, 100 without loss: the first of them that fits is taken. The last does
whatever the pictures show: noise of 48 × 48 pixels has about 2 kB at that quality."""


@dataclass(frozen=True)
class Picture:
    """A picture as an address that holds it, with its size in pixels and what it shows in words."""

    source: str
    width: int
    height: int
    alt: str


Pictures = tuple[tuple[str, tuple[Picture | None, ...]], ...]
"""Rows of a gallery, each with its heading."""


@dataclass(frozen=True)
class Figure:
    """An exhibit and what is drawn of it; ``style`` is CSS that the page needs beside its own."""

    exhibit: Exhibit
    body: Pictures | charts.Plot | Table | Markup
    style: str = ""


def of(grade: Grade) -> tuple[Figure, ...]:
    """The figures of an exercise: of the exhibits that its result lists, those that can be drawn."""
    if grade.result is None or grade.folder is None:
        return ()
    return figures(exhibits.read(grade.folder, grade.result.exhibits))


def figures(shown: Iterable[Exhibit]) -> tuple[Figure, ...]:
    """The figures that can be drawn of exhibits."""
    return tuple(figure for figure in map(_figure, shown) if figure is not None)


def _figure(exhibit: Exhibit) -> Figure | None:
    if isinstance(exhibit, Gallery):
        return None if exhibit.empty else Figure(exhibit, _pictures(exhibit))
    if isinstance(exhibit, Curves):
        plot = charts.plot(exhibit)
        return Figure(exhibit, plot) if plot else None
    if isinstance(exhibit, Diagram):
        with suppress(Exception):  # a lesson's own code, and it may have been given anything
            drawer = lessons.meant().drawers()[exhibit.drawer]
            drawn = drawings.checked(drawer.draw(exhibit.data))
            return Figure(exhibit, drawn, drawer.style) if drawn else None
        return None
    return Figure(exhibit, exhibit) if isinstance(exhibit, Table) and not exhibit.empty else None


def _pictures(gallery: Gallery) -> Pictures:
    encoded = iter(_encoded(picture for _, row in gallery.rows for picture in row if picture is not None))
    return tuple(
        (
            label,
            tuple(
                Picture(*next(encoded), alt=f"{label}; {column}") if picture is not None else None
                for column, picture in zip(gallery.columns, row, strict=False)
            ),
        )
        for label, row in gallery.rows
    )


def _encoded(pictures: Iterable[np.ndarray]) -> list[tuple[str, int, int]]:
    """Each as the address of a WebP picture with its width and height, together within :data:`MAX_BYTES`."""
    small = [_small(Image.fromarray(pixels), QUALITIES[0][0]) for pixels in pictures]
    for side, quality in QUALITIES:
        resized = [_small(picture, side) for picture in small]
        room = MAX_BYTES if (side, quality) != QUALITIES[-1] else math.inf
        contents = []
        for picture in resized:
            contents.append(_webp(picture, quality))
            room -= len(contents[-1])
            if room < 0:
                break
        else:
            break
    addresses = [f"data:image/webp;base64,{base64.b64encode(content).decode()}" for content in contents]
    return [(address, *picture.size) for address, picture in zip(addresses, resized, strict=True)]


def _small(picture: Image.Image, side: int) -> Image.Image:
    small = picture.copy()
    small.thumbnail((side, side))
    return small


def _webp(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=quality == 100, quality=quality)
    return file.getvalue()
