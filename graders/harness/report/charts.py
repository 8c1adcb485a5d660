"""Charts as numbers for a template to draw: curves in a square of 100 × 100, and bars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from graders.harness.exhibits import MAX_CURVES, Curves

MAX_POINTS = 300
"""Of a curve, more than a screen has room for; of a longer one, each point is the mean of several steps."""
SMOOTH_FROM, SMOOTH_POINTS = 30, 60
"""A curve of so many steps is smoothed too, to so many points: losses of single steps spread as widely as their mean."""
MAX_VALUE = 1e30
"""What is larger is drawn as if it were not finite: differences of larger numbers overflow."""
BINS = 10


@dataclass(frozen=True)
class Tick:
    """A number along an axis, and where it stands there, in percent."""

    label: str
    at: float


@dataclass(frozen=True)
class Curve:
    """One curve: as it is and, if it is long, smoothed, both as the data of SVG paths, and what it does in words."""

    label: str
    path: str
    smooth: str
    told: str


@dataclass(frozen=True)
class Plot:
    """Curves over the same axes, and how many there are of which none is drawn."""

    curves: tuple[Curve, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    left_out: int = 0


@dataclass(frozen=True)
class Bar:
    """How many are from ``low`` to below ``high``, and its height in percent of the highest bar."""

    low: float
    high: float
    count: int
    height: float


def plot(exhibit: Curves) -> Plot | None:
    """Curves of a value per step; None, which is no number, NaN and infinity interrupt them. None if nothing is left."""
    curves = {label: [_drawn(value) for value in curve] for label, curve in exhibit.curves.items() if curve}
    curves = {label: curve for label, curve in curves.items() if any(value is not None for value in curve)}
    shown = dict(list(curves.items())[:MAX_CURVES])
    if not shown:
        return None
    steps = max(map(len, shown.values()))
    numbers = [value for curve in shown.values() for value in curve if value is not None]
    low, high = min(0.0, *numbers), max(0.0, *numbers)
    high = high if high - low > 1 / MAX_VALUE else low + 1.0
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def path(curve: Iterable[tuple[float, float | None]]) -> str:
        """Each run of numbers is a line of its own."""
        runs = (list(run) for real, run in groupby(curve, lambda point: point[1] is not None) if real)
        return " ".join(
            "M" + " ".join(f"{x:.1f},{100 * (high - (y or 0)) / (high - low):.1f}" for x, y in run) for run in runs
        )

    def place(step: float) -> float:
        return 100 * (step - 1) / max(1, steps - 1)

    drawn = []
    for label, curve in shown.items():
        points = [(place(step), value) for step, value in _binned(curve, MAX_POINTS)]
        smooth = [(place(step), value) for step, value in _smoothed(curve)]
        drawn.append(Curve(label, path(points), path(smooth), exhibit.told.get(label) or _told(curve)))
    first = "" if exhibit.steps else "step "
    called = [*exhibit.steps, *(f"{step:g}" for step in range(len(exhibit.steps) + 1, steps + 1))]
    chosen = dict.fromkeys((1, (steps + 1) // 2, steps))
    across = tuple(Tick(f"{'' if i else first}{called[at - 1]}", round(place(at), 1)) for i, at in enumerate(chosen))
    up = tuple(Tick(f"{tick:.6g}{exhibit.unit}", round(100 * (tick - low) / (high - low), 1)) for tick in ticks)
    return Plot(tuple(drawn), across, up, exhibit.left_out + len(exhibit.curves) - len(shown))


def _drawn(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and abs(value) <= MAX_VALUE else None


def _told(curve: list[float | None]) -> str:
    """How many steps, from where to where, and from when on there were no numbers."""
    broken = next((step for step, value in enumerate(curve, start=1) if value is None), None)
    size = max(1, len(curve) // 4)
    starts, ends = ([v for v in quarter if v is not None] for quarter in (curve[:size], curve[-size:]))
    steps = f"{len(curve):,} step{'s' if len(curve) != 1 else ''}"
    if starts and ends and len(curve) >= 4:
        means = f"{sum(starts) / len(starts):.3g} in the first quarter, {sum(ends) / len(ends):.3g} in the last"
        steps += f"; on average {means}"
    return steps if broken is None else f"{steps}; no finite number in step {broken:,}"


def _binned(curve: Sequence[float | None], bins: int) -> list[tuple[float, float | None]]:
    """Steps, counted from 1, and values: their means where there are more than ``bins``."""
    size = math.ceil(len(curve) / bins)
    binned: list[tuple[float, float | None]] = []
    for start in range(0, len(curve), size):
        part = curve[start : start + size]
        numbers = [value for value in part if value is not None]
        mean = sum(numbers) / len(numbers) if len(numbers) == len(part) else None
        binned.append((start + (len(part) + 1) / 2, mean))
    return binned


def _smoothed(curve: Sequence[float | None]) -> list[tuple[float, float | None]]:
    """Means over a tenth of the steps, half of them before and half after."""
    if len(curve) < SMOOTH_FROM:
        return []
    half, points = len(curve) // 20, []
    for point in range(SMOOTH_POINTS):
        at = round(point * (len(curve) - 1) / (SMOOTH_POINTS - 1))
        around = curve[max(0, at - half) : at + half + 1]
        numbers = [value for value in around if value is not None]
        points.append((at + 1.0, sum(numbers) / len(numbers) if len(numbers) == len(around) else None))
    return points


def _ticks(low: float, high: float) -> list[float]:
    """A few round numbers that span both."""
    step = 10.0 ** math.floor(math.log10(high - low))
    step *= next(factor for factor in (0.2, 0.5, 1, 2) if (high - low) / (step * factor) <= 5)
    return [step * count for count in range(math.floor(low / step), math.ceil(high / step - 1e-9) + 1)]


def histogram(shares: Iterable[float]) -> tuple[Bar, ...]:
    """How many of the shares, each from 0 to 1, are in each tenth; 1 is in the last."""
    counts = [0] * BINS
    for share in shares:
        counts[min(BINS - 1, max(0, math.floor(share * BINS + 1e-9)))] += 1
    highest = max(1, *counts)
    return tuple(
        Bar(i / BINS, (i + 1) / BINS, count, round(100 * count / highest, 1)) for i, count in enumerate(counts)
    )
