"""Control groups: the Linux kernel's own account of, and limit to, the memory and the processes of a sandbox.

Only they see everything: files in memory, memory of short-lived processes, and processes of the superuser. Groups are
made below the one that this process is in (version 1), in it or beside it (version 2, where a systemd user session
delegates them); https://docs.kernel.org/admin-guide/cgroup-v2.html.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

_CONTROLLERS = ("memory", "pids")
_TCP_QUEUES = 64 << 20
"""Bytes; what a notebook sends to itself waits there."""
_SHARE = "cpu"
"""The controller, where there is one, for which a group counts as much as one process, however many it has."""
_NAME = re.compile(r"grade-(\d+)-(\d+)-[0-9a-f]+")
"""Of a group: the number of the process that made it, and when that was started, for numbers are used again."""


class NoControlGroup(Exception):
    """No control group can be made here; the message continues a sentence that says why."""


@dataclass(frozen=True)
class ControlGroup:
    """A group of processes: one folder (version 2), or one for each controller (version 1)."""

    folders: tuple[Path, ...]

    @property
    def entrance(self) -> tuple[Path, ...]:
        """The files into which a process writes 0 to enter the group with all that it will start."""
        return tuple(folder / "cgroup.procs" for folder in self.folders)

    @property
    def peak_memory_bytes(self) -> int:
        """The most memory that the group held at once, files in memory included; 0 where the system does not say."""
        return max(map(int, self._read("memory.max_usage_in_bytes", "memory.peak")), default=0)

    @property
    def out_of_memory(self) -> bool:
        """Whether a process of the group was killed for want of memory."""
        lines = " ".join(self._read("memory.oom_control", "memory.events")).split()
        return any(int(count) > 0 for key, count in pairwise(lines) if key == "oom_kill")

    @property
    def too_many_processes(self) -> bool:
        """Whether a process of the group was kept from starting another."""
        return any(int(events.split()[-1]) > 0 for events in self._read("pids.events") if events)

    def end(self) -> None:
        """Kill every process of the group and remove it."""
        for _ in range(100):
            pids = {int(pid) for text in self._read("cgroup.procs") for pid in text.split()} - {
                0
            }  # of another namespace
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                _remove(self.folders)
                return
            time.sleep(0.02)

    def _read(self, *names: str) -> list[str]:
        """What those of the files say that there are."""
        texts = []
        for folder in self.folders:
            for name in names:
                with contextlib.suppress(OSError):
                    texts.append((folder / name).read_text())
        return texts


def create(memory: int | None, processes: int) -> ControlGroup:
    """A new group that may hold ``memory`` bytes and ``processes`` processes and threads; or :class:`NoControlGroup`."""
    parents = _parents()
    for parent in parents:
        _sweep(parent)
    owner = f"{os.getpid()}-{_started(os.getpid())}"
    folders = tuple(parent / f"grade-{owner}-{uuid4().hex[:8]}" for parent in parents)
    try:
        for folder in dict.fromkeys(folders):
            folder.mkdir()
        _limit(folders, ("pids.max",), processes)
        if memory is not None:
            _limit(folders, ("memory.limit_in_bytes", "memory.max"), memory)
            with contextlib.suppress(NoControlGroup):  # not every kernel accounts for swap
                _limit(folders, ("memory.memsw.limit_in_bytes",), memory)
            with contextlib.suppress(NoControlGroup):
                _limit(folders, ("memory.swap.max",), 0)
            with contextlib.suppress(NoControlGroup):  # version 1 counts what waits in TCP's queues apart
                _limit(folders, ("memory.kmem.tcp.limit_in_bytes",), min(memory, _TCP_QUEUES))
    except (OSError, NoControlGroup) as error:
        _remove(folders)
        raise NoControlGroup(f"none can be made in {parents[0]} ({error})") from None
    return ControlGroup(tuple(dict.fromkeys(folders)))


def _limit(folders: Sequence[Path], names: Sequence[str], value: int) -> None:
    for folder in folders:
        for name in names:
            if (folder / name).exists():
                (folder / name).write_text(str(value))
                return
    raise NoControlGroup(f"there is no {' or '.join(names)}")


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


def _sweep(parent: Path) -> None:
    """End the groups of graders that are gone, with whatever goes on in them."""
    for folder in parent.glob("grade-*"):
        name = _NAME.fullmatch(folder.name)
        if name and _started(int(name[1])) != int(name[2]):
            ControlGroup((folder,)).end()


def _started(pid: int) -> int:
    """When a process was started, in ticks since the machine was; 0 if there is none. See proc_pid_stat(5)."""
    try:
        return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def _parents() -> tuple[Path, ...]:
    """The folders in which groups are made: one for each controller, or for all of them in version 2."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        raise NoControlGroup("this system has none") from None
    own = {name: path for _, names, path in groups for name in names.split(",")}
    first: dict[str, Path] = {}
    for fields in mounts:
        root, point, kind, options = fields[3], fields[4], fields[fields.index("-") + 1], fields[-1].split(",")
        for name in [""] if kind == "cgroup2" else (*_CONTROLLERS, _SHARE) if kind == "cgroup" else []:
            if name in own and (not name or name in options):
                relative = os.path.relpath(own[name], root)
                first.setdefault(name, Path(point) / relative if ".." not in relative else Path(point))
    if all(name in first for name in _CONTROLLERS):
        shared = [first[_SHARE]] if _SHARE in first and os.access(first[_SHARE], os.W_OK) else []
        return (*(first[name] for name in _CONTROLLERS), *shared)
    if "" not in first:
        raise NoControlGroup("none is mounted")
    for folder in (first[""], first[""].parent):
        for names in (_CONTROLLERS, (_SHARE,)):
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in names))
        with contextlib.suppress(OSError):
            if {*_CONTROLLERS} <= {*(folder / "cgroup.subtree_control").read_text().split()}:
                return (folder,)
    raise NoControlGroup(f"memory and processes are not delegated to {first['']}")
