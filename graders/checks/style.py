"""Style shift: how far an adapter moves the base model's pictures towards a style, as a CLIP judge sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graders.checks.statistics import Interval, bootstrap


@dataclass(frozen=True)
class StyleScale:
    """A scale between a plain look and a style: unit-length picture embeddings [m, d] of each.

    The score of a picture is its mean cosine similarity to the pictures of the style less that to plain pictures
    of the same captions: what the pictures show cancels out, how they are painted remains.
    """

    style: Tensor
    plain: Tensor

    def scores(self, pictures: Tensor) -> np.ndarray:
        """The score of each picture embedding [n, d]: float [n]."""
        return ((pictures @ self.style.T).mean(1) - (pictures @ self.plain.T).mean(1)).numpy()

    def real(self) -> float:
        """The mean score of the style's own pictures, each against the others."""
        similarity = self.style @ self.style.T
        n = len(self.style)
        others = (similarity.sum() - similarity.diagonal().sum()) / (n * (n - 1))
        return float(others - (self.style @ self.plain.T).mean())


@dataclass(frozen=True)
class StyleShift:
    """How far pictures moved on a style scale. ``shift`` is in units of cosine similarity, ``fraction`` goes from
    0 (the base model's own pictures) to 1 (real pictures of the style)."""

    shift: Interval
    fraction: Interval
    base_score: float
    adapted_score: float
    real_score: float


def measure_shift(scale: StyleScale, base: Tensor, adapted: Tensor) -> StyleShift:
    """The shift from ``base`` to ``adapted``: picture embeddings [n, d], pairwise from the same prompt and z_T."""
    before, after = scale.scores(base), scale.scores(adapted)
    shift = bootstrap(after - before)
    base_score, real_score = float(before.mean()), scale.real()
    return StyleShift(
        shift=shift,
        fraction=shift.scaled(1 / (real_score - base_score)),
        base_score=base_score,
        adapted_score=float(after.mean()),
        real_score=real_score,
    )


def mean_similarity(pictures: Tensor, reference: Tensor) -> float:
    """Mean cosine similarity of every picture [n, d] to every reference picture [m, d]."""
    return float((pictures @ reference.T).mean())


def nearest_similarity(pictures: Tensor, others: Tensor) -> np.ndarray:
    """Cosine similarity of each picture [n, d] to its nearest among others [m, d]: float [n]."""
    return torch.amax(pictures @ others.T, dim=1).numpy()
