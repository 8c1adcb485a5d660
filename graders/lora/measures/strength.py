"""How strongly a picture shows the style and the subject of two adapters, as a CLIP model sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from torch import Tensor

from graders.lora import catalog
from graders.lora.measures.clip import Clip
from graders.lora.measures.composition_mistakes import Weights
from graders.lora.measures.pictures import read_pictures
from graders.lora.measures.style import StyleScale

Pictures = Sequence[np.ndarray]
NAMES = ("style", "subject")
"""Each at the place of its weight in a cell; the functions below know it by that place, its axis."""
NOTICEABLE = 0.1
"""Share of the change that an adapter makes, less than which is none. Rounding the pictures to 8 bits the other way moves a
strength by less than a tenth of that."""


class Scales:
    """Two scales between pictures that show something and pictures that do not: the style's, and the subject's."""

    def __init__(self, clip: Clip, style: StyleScale, subject: StyleScale) -> None:
        self.clip, self._scales = clip, (style, subject)

    def scores(self, pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Style score and subject score of each picture: float [n] each."""
        seen = self.clip.see(pictures)
        style, subject = (scale.scores(seen) for scale in self._scales)
        return style, subject


@lru_cache(maxsize=1)
def of_fixtures(device: str) -> Scales:
    """The scales between real pictures, which the hand-ins of a course have in common."""
    clip = Clip(catalog.CLIP, device)

    def see(name: str, subject: str | None = None) -> Tensor:
        pictures = read_pictures(catalog.dataset(name))
        rows = zip(pictures.images, pictures.rows, strict=True)
        return clip.see([image for image, row in rows if subject in (None, row["subject"])])

    style = StyleScale(see("pixel/reference"), see("plain/reference"))
    return Scales(clip, style, StyleScale(see("subject/train"), see("plain/train", "cat")))


def of_pictures(clip: Clip, base: Pictures, style: Pictures, subject: Pictures) -> Scales:
    """Scales between what the base model generates and what it generates with each adapter alone, where no others are known."""
    plain = clip.see(base)
    return Scales(clip, StyleScale(clip.see(style), plain), StyleScale(clip.see(subject), plain))


@dataclass(frozen=True)
class Strength:
    """How much of what one adapter does is seen in each cell: 0 in the base's pictures, 1 in those of the adapter alone.

    ``gap`` is the difference of score between these two; where it is not positive, nothing can be measured.
    """

    axis: int
    cells: dict[Weights, float]
    gap: float

    @property
    def rows(self) -> dict[float, list[Weights]]:
        """The cells in the order of this adapter's weight, by the weight of the other."""
        rows: dict[float, list[Weights]] = {}
        for cell in sorted(self.cells, key=lambda cell: (cell[1 - self.axis], cell[self.axis])):
            rows.setdefault(cell[1 - self.axis], []).append(cell)
        return rows

    def rises(self) -> list[tuple[Weights, Weights]]:
        """Pairs of cells between which this adapter's weight alone grows, from the least to the greatest there is."""
        return [(row[0], row[-1]) for row in self.rows.values() if len(row) > 1]

    def __str__(self) -> str:
        """The blend curve: the strength at each weight, per weight of the other adapter."""
        other = NAMES[1 - self.axis]
        return "; ".join(
            f"with the {other} at {weight:g}: "
            + ", ".join(f"{self.cells[cell]:z.0%} at {cell[self.axis]:g}" for cell in row)
            for weight, row in self.rows.items()
        )


def measure(
    axis: int,
    prompts: Sequence[str],
    pictures: Mapping[Weights, Sequence[np.ndarray]],
    anchors: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
    scales: Scales,
) -> Strength:
    """The strength of one adapter in the pictures of each cell, on the scale from the base's to the adapter's own.

    The subject's is measured on the prompts that name it, if any does.
    """
    naming = [i for i, prompt in enumerate(prompts) if catalog.IDENTIFIER in prompt.split()]
    counted = naming if axis == 1 and naming else list(range(len(prompts)))

    def score(generated: Sequence[np.ndarray]) -> float:
        return float(scales.scores([generated[i] for i in counted])[axis].mean())

    low, high = map(score, anchors)
    gap = high - low
    return Strength(axis, {cell: (score(p) - low) / gap if gap > 0 else 0.0 for cell, p in pictures.items()}, gap)
