"""Folders of captioned pictures, as the lesson's data sets are laid out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graders.harness.errors import ExplainedError


class PicturesError(ExplainedError):
    """A folder of pictures cannot be read."""


def as_picture(picture: Any) -> Image.Image:
    """A picture as PIL knows it, from PIL, numpy or torch: uint8, or float in [0, 1]; [h, w, 3] or [3, h, w]."""
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    array = picture.detach().cpu().float().numpy() if hasattr(picture, "detach") else np.asarray(picture)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[-1] not in (1, 3):
        array = array.transpose(1, 2, 0)
    if hasattr(picture, "detach") and "float" not in str(picture.dtype):
        array = array.astype(np.uint8)
    if array.dtype.kind == "f":
        array = (array.clip(0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(array if array.shape[2:] == (3,) else array.squeeze()).convert("RGB")


@dataclass(frozen=True)
class Pictures:
    """An imagefolder: pictures (uint8 [h, w, 3] each), their captions, and all columns of its metadata."""

    images: list[np.ndarray]
    rows: list[dict[str, Any]]

    @property
    def captions(self) -> list[str]:
        """The ``text`` of each picture."""
        return [row["text"] for row in self.rows]


def read_pictures(folder: str | Path) -> Pictures:
    """Read an imagefolder with its ``metadata.jsonl`` (columns ``file_name`` and ``text``)."""
    folder = Path(folder)
    metadata = folder / "metadata.jsonl"
    if not metadata.is_file():
        raise PicturesError(
            f"{folder} is not an imagefolder: it has no metadata.jsonl.",
            'Give a folder of pictures with a metadata.jsonl of lines like {"file_name": "0.png", "text": "a red house"}.',
        )
    try:
        rows = [json.loads(line) for line in metadata.read_text(encoding="utf-8").splitlines() if line.strip()]
        images = [_read(folder / row["file_name"]) for row in rows]
        if not rows or not all(isinstance(row["text"], str) for row in rows):
            raise KeyError("text")
    except Exception as error:  # Pillow meets broken pictures with exceptions of many types
        raise PicturesError(
            f"{metadata} cannot be read: {error!r}.", "Each line needs a file_name of a picture and its text."
        ) from error
    return Pictures(images, rows)


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
