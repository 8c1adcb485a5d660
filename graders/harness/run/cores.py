"""The processor cores of this machine, and how runs share them."""

from __future__ import annotations

import os
from collections.abc import Mapping


def cores() -> list[int]:
    """The numbers of the processor cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def at_a_time(runs: int) -> int:
    """How many of so many runs go on side by side: they must not fight for the cores."""
    return min(runs, len(cores()))


def for_both_runs() -> Mapping[str, str]:
    """The environment of a hand-in's two runs, which go on side by side where there are cores for both."""
    return sharing(at_a_time(2))


def sharing(runs: int) -> Mapping[str, str]:
    """The environment of each of ``runs`` that go on at a time."""
    return {"OMP_NUM_THREADS": str(max(1, len(cores()) // runs))} if runs > 1 else {}
