"""Style shift: how far an adapter moves the base model's pictures towards a style, as a CLIP model sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graders.lora.measures.statistics import Interval, bootstrap


@dataclass(frozen=True)
class StyleScale:
    """A scale between a plain look and a style: unit-length picture embeddings [m, d] of each.

    The score of a picture is its mean cosine similarity to the pictures of the style less that to plain pictures
    of the same captions: what the pictures show cancels out, how they are generated remains.
    """

    style: Tensor
    plain: Tensor

    def similarities(self, pictures: Tensor) -> np.ndarray:
        """Mean cosine similarity of each picture embedding [n, d] to the pictures of the style: float [n]."""
        return (pictures @ self.style.T).mean(1).numpy()

    def scores(self, pictures: Tensor) -> np.ndarray:
        """The score of each picture embedding [n, d]: float [n]."""
        return self.similarities(pictures) - (pictures @ self.plain.T).mean(1).numpy()

    def real_similarity(self) -> float:
        """The mean similarity of the style's own pictures, each to the others."""
        n = len(self.style)
        return float(((self.style @ self.style.T).sum() - n) / (n * (n - 1)))

    def real_score(self) -> float:
        """The mean score of the style's own pictures, each against the others."""
        return self.real_similarity() - float((self.style @ self.plain.T).mean())


@dataclass(frozen=True)
class StyleShift:
    """How far pictures moved on a style scale.

    ``shift`` is the change of their score, in units of cosine similarity. ``fraction`` says how much of the way that
    is, from 0 (the base model's own pictures) to 1 (real pictures of the style). Leaving the plain look behind is not
    enough for that: pictures of noise do so too, and come no nearer to the style. So ``fraction`` is the lesser of two
    ways, that of the score and that of the similarity to the style alone.
    """

    shift: Interval
    fraction: Interval
    base_score: float
    adapted_score: float
    real_score: float


def measure_shift(scale: StyleScale, base: Tensor, adapted: Tensor) -> StyleShift:
    """The shift from ``base`` to ``adapted``: picture embeddings [n, d], pairwise from the same prompt and z_T."""
    before, after = scale.scores(base), scale.scores(adapted)
    shift, real_score = bootstrap(after - before), scale.real_score()
    near_before, near_after = scale.similarities(base), scale.similarities(adapted)
    ways = [
        shift.scaled(1 / (real_score - before.mean())),
        bootstrap(near_after - near_before).scaled(1 / (scale.real_similarity() - near_before.mean())),
    ]
    return StyleShift(
        shift=shift,
        fraction=min(ways, key=lambda way: way.mean),
        base_score=float(before.mean()),
        adapted_score=float(after.mean()),
        real_score=real_score,
    )


def mean_similarity(pictures: Tensor, reference: Tensor) -> float:
    """Mean cosine similarity of every picture [n, d] to every reference picture [m, d]."""
    return float((pictures @ reference.T).mean())


def nearest_similarity(pictures: Tensor, others: Tensor) -> np.ndarray:
    """Cosine similarity of each picture [n, d] to its nearest among others [m, d]: float [n]."""
    return torch.amax(pictures @ others.T, dim=1).numpy()
