"""Whether pictures start from the same noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graders.harness.lesson import Evidence

ALIKE = 0.5
"""Correlation: half way between that of equal noises, 1 at any precision and scale, and that of independent ones, which for
the 128 numbers that are kept of each is 0 with a standard deviation of 1/√128 = 0.09."""


def apart(evidence: Evidence, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> list[int]:
    """Which of the pairs of pictures (uint8 [h, w, 3]) start from noises that differ, as far as the run saw them generated."""
    return [i for i, pair in enumerate(zip(ours, theirs, strict=True)) if _differ(*map(evidence.noise_of, pair))]


def _differ(ours: np.ndarray | None, theirs: np.ndarray | None) -> bool:
    if ours is None or theirs is None or ours.shape != theirs.shape or ours.std() == 0 or theirs.std() == 0:
        return False  # unknown, or no noise at all
    return bool(np.corrcoef(ours, theirs)[0, 1] < ALIKE)
