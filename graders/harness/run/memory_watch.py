"""How much memory a program and everything it starts takes, watched from outside, and an end to it when that is too much."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # publishes no types

_INTERVAL = 0.25
"""Seconds between two looks."""
_GPU_INTERVAL = 1.0
_GPU_QUERY = ("--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")


class _Watch:
    """Looks at a process and its descendants again and again, in a thread, until :meth:`end`."""

    def __init__(self, pid: int, interval: float) -> None:
        self._process = psutil.Process(pid)
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        interval = self._interval / 4  # a short run is looked at as well
        while not self._ended.wait(interval):
            interval = min(2 * interval, self._interval)
            with contextlib.suppress(psutil.Error):
                self._look([self._process, *self._process.children(recursive=True)])

    def _look(self, family: list[psutil.Process]) -> None:
        raise NotImplementedError


class MemoryWatch(_Watch):
    """Kills what is too much of a process and its descendants.

    Of processes that hold more than ``memory`` bytes together the largest is killed, as the Linux kernel would do, and all
    are when that happens again: those that are too small to matter may be too many. When they and their threads are more
    than ``processes``, all are killed as well. ``files`` says how many bytes their files
    hold in memory. What is ``forked`` from a warm process has much in common with it, of which each counts a part.
    ``peak_memory_bytes`` is the most they held at once; memory that they share otherwise counts for each.
    """

    def __init__(
        self,
        pid: int,
        memory: int | None,
        processes: int,
        files: Callable[[], int] = lambda: 0,
        forked: bool = False,
    ) -> None:
        self.memory = memory
        self.processes = processes
        self._files, self._forked = files, forked
        self.peak_memory_bytes = 0
        self.too_many_processes = False
        self._exceeded = False
        self._kills = machine_kills()
        super().__init__(pid, _INTERVAL)

    @property
    def out_of_memory(self) -> bool:
        """Whether a process was killed for want of memory, by this watch or by the machine."""
        return self._exceeded or machine_kills() > self._kills

    def _look(self, family: list[psutil.Process]) -> None:
        # Who watches over what was forked ends whatever is left, once the program has ended, and then itself
        victims = family[1:] if self._forked else family
        if self.too_many_processes or _threads(family) > self.processes:
            self.too_many_processes = True
            _kill(victims)
            return
        held = {}
        for process in family:
            with contextlib.suppress(psutil.Error):
                held[process] = _proportional(process) if self._forked else process.memory_info().rss
        total = sum(held.values()) + self._files()
        self.peak_memory_bytes = max(self.peak_memory_bytes, total)
        if self.memory is not None and total > self.memory:
            largest = max(victims, key=lambda process: held.get(process, 0), default=None)
            _kill(victims if self._exceeded or largest is None else [largest])
            self._exceeded = True


def _threads(family: list[psutil.Process]) -> int:
    count = 0
    for process in family:
        with contextlib.suppress(psutil.Error):
            count += process.num_threads()
    return count


def _proportional(process: psutil.Process) -> int:
    """Bytes that a process holds, of what it shares its part; all of them where that is not to be known."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)


class GpuMemoryWatch(_Watch):
    """Kills those of a process and its descendants that hold memory of NVIDIA GPUs, when it is more than ``limit`` bytes.

    Asks `nvidia-smi`, once a second. Where that tells other process numbers than this machine has, as inside a container,
    nothing is seen of them.
    """

    def __init__(self, pid: int, limit: int) -> None:
        self.limit = limit
        self.out_of_memory = False
        super().__init__(pid, _GPU_INTERVAL)

    def _look(self, family: list[psutil.Process]) -> None:
        held = _gpu_memory()
        holders = [process for process in family if process.pid in held]
        if sum(held[process.pid] for process in holders) > self.limit:
            self.out_of_memory = True
            _kill(holders)


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the container that this is."""
    limits = [psutil.virtual_memory().total]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup v2 and v1
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
    return min(limits)


def free_memory(*, swap: bool = False) -> int:
    """Bytes that may still be taken of the memory of this machine or container, or by one process where that is less.

    Files that are kept in memory to be read again count as free. ``swap`` counts what can be swapped out, too.
    """
    free = psutil.virtual_memory().available + (psutil.swap_memory().free if swap else 0)
    limits = [free, _least_limit()]
    group = Path("/sys/fs/cgroup")  # version 2; of a container
    with contextlib.suppress(OSError, ValueError, KeyError):
        limit, held = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        lines = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        kept = {name: int(size) for name, size in lines}
        limits.append(max(0, limit - held + kept["active_file"] + kept["inactive_file"]))
    return min(limits)


def _least_limit() -> int:
    """Bytes of address space that a process may have (`ulimit -v`), which is more than the memory that it takes."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def watch_gpu(pid: int, limit: int | None) -> GpuMemoryWatch | None:
    """A watch over the memory of GPUs, where there is a limit and a way to ask."""
    return GpuMemoryWatch(pid, limit) if limit is not None and shutil.which("nvidia-smi") else None


def _gpu_memory() -> dict[int, int]:
    """Bytes of GPU memory by process number, as far as the driver tells."""
    try:
        said = subprocess.run(("nvidia-smi", *_GPU_QUERY), capture_output=True, text=True, timeout=10.0).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    held: dict[int, int] = {}
    for line in said.splitlines():
        pid, _, mebibytes = line.partition(",")
        if pid.strip().isdigit() and mebibytes.strip().isdigit():
            held[int(pid)] = held.get(int(pid), 0) + (int(mebibytes) << 20)
    return held


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def descendants() -> list[psutil.Process]:
    """Every process that this one started, directly or not."""
    return psutil.Process(os.getpid()).children(recursive=True)


def kill_descendants(*, wait: bool = False) -> None:
    """End every process that this one started, also those that are started meanwhile; ``wait`` until they are gone."""
    for _ in range(3):
        victims = descendants()
        _kill(victims)
        if wait:
            psutil.wait_procs(victims, timeout=2.0)


def machine_kills() -> int:
    """How many processes the Linux kernel has killed for want of memory since the machine started; 0 if unknown."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
