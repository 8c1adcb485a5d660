"""Means with the interval that the data leaves open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 4000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} (95 % interval {self.low:.3f} to {self.high:.3f})"

    def percent(self) -> str:
        """The interval as whole per cent."""
        return f"{self.mean:.0%} (95 % interval {self.low:.0%} to {self.high:.0%})"

    def scaled(self, factor: float) -> Interval:
        """The interval in units of ``1 / factor``; a negative factor swaps the bounds."""
        low, high = sorted((float(self.low * factor), float(self.high * factor)))
        return Interval(float(self.mean * factor), low, high)


def bootstrap(values: np.ndarray, seed: int = 0) -> Interval:
    """The percentile bootstrap of the mean of [n] values (Efron & Tibshirani 1993, ch. 13)."""
    values = np.asarray(values, dtype=np.float64)
    index = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[index].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high))
