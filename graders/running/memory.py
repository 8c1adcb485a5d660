"""How much memory a program and everything it starts takes, watched from outside, and an end to it when that is too much."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # publishes no types

_INTERVAL = 0.25
"""Seconds between two looks."""


class MemoryWatch:
    """Watches a process and its descendants; kills what is too much of them.

    Of processes that hold more than ``memory`` bytes together the largest is killed, as the Linux kernel would do; when
    they and their threads are more than ``processes``, all are. ``peak_memory_bytes`` is the most they held in resident
    memory at once; memory that they share counts for each, files in memory count only where they are mapped.
    """

    def __init__(self, pid: int, memory: int | None, processes: int) -> None:
        """Looks again and again, in a thread, until :meth:`end`."""
        self.memory = memory
        self.processes = processes
        self.peak_memory_bytes = 0
        self.too_many_processes = False
        self._exceeded = False
        self._kills = machine_kills()
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def out_of_memory(self) -> bool:
        """Whether a process was killed for want of memory, by this watch or by the machine."""
        return self._exceeded or machine_kills() > self._kills

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_INTERVAL):
            with contextlib.suppress(psutil.Error):
                self._look()

    def _look(self) -> None:
        family = [self._process, *self._process.children(recursive=True)]
        held, threads = {}, 0
        for process in family:
            with contextlib.suppress(psutil.Error), process.oneshot():
                held[process] = process.memory_info().rss
                threads += process.num_threads()
        total = sum(held.values())
        self.peak_memory_bytes = max(self.peak_memory_bytes, total)
        victims = []
        if threads > self.processes:
            self.too_many_processes, victims = True, family
        elif self.memory is not None and total > self.memory:
            self._exceeded, victims = True, [max(held, key=lambda process: held[process])]
        for process in victims:
            with contextlib.suppress(psutil.Error):
                process.kill()


def descendants() -> list[psutil.Process]:
    """Every process that this one started, directly or not."""
    return psutil.Process(os.getpid()).children(recursive=True)


def kill_descendants(*, wait: bool = False) -> None:
    """End every process that this one started, also those that are started meanwhile; ``wait`` until they are gone."""
    for _ in range(3):
        victims = descendants()
        for process in victims:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if wait:
            psutil.wait_procs(victims, timeout=2.0)


def machine_kills() -> int:
    """How many processes the Linux kernel has killed for want of memory since the machine started; 0 if unknown."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
