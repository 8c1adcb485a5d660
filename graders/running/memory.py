"""How much memory a process and everything it starts takes, and an end to it when that is too much."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # publishes no types

_INTERVAL = 0.25
"""Seconds between two looks."""


class MemoryWatch:
    """Watches the processes that descend from this one; kills them when they hold more than ``limit`` bytes together.

    ``peak`` is the most they held in resident memory at once, in bytes; memory that they share counts for each.
    """

    def __init__(self, limit: int | None) -> None:
        """None is no limit."""
        self.limit = limit
        self.exceeded = False
        self._peak = 0

    async def watch(self) -> None:
        """Look again and again until cancelled."""
        while True:
            self._look()
            await asyncio.sleep(_INTERVAL)

    @property
    def peak(self) -> int:
        """The peak so far; at least that of the largest process that has ended."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return max(self._peak, ended if sys.platform == "darwin" else ended * 1024)

    def _look(self) -> None:
        total = 0
        for process in descendants():
            with contextlib.suppress(psutil.Error):
                held = process.memory_info().rss
                total += held
                self._peak = max(self._peak, _high_water(process.pid))
        self._peak = max(self._peak, total)
        if self.limit is not None and total > self.limit:
            self.exceeded = True
            kill_descendants()


def descendants() -> list[psutil.Process]:
    """Every process that this one started, directly or not."""
    return psutil.Process().children(recursive=True)


def kill_descendants(*, wait: bool = False) -> None:
    """End every process that this one started, also those that are started meanwhile; ``wait`` until they are gone."""
    for _ in range(3):
        victims = descendants()
        for process in victims:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if wait:
            psutil.wait_procs(victims, timeout=2.0)


def out_of_memory_kills() -> int:
    """How many processes the Linux kernel has killed for want of memory since the machine started; 0 if unknown."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _high_water(pid: int) -> int:
    """The most resident memory that a process has had, in bytes; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
