"""The sandbox: bubblewrap (https://github.com/containers/bubblewrap), a system-call filter and a control group."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from graders.harness import PACKAGE
from graders.harness.data.values import one_line
from graders.harness.run import cgroup
from graders.harness.run import packages as installed
from graders.harness.run.gather import WayOut, gather
from graders.harness.run.launch import FOLDERS
from graders.harness.run.memory import MemoryWatch, watch_gpu
from graders.harness.run.sandbox import (
    IsolationError,
    Limits,
    Program,
    Usage,
    clean_environment,
    launch,
    output_of,
    used,
)
from graders.harness.run.seccomp import system_call_filter

INSIDE = Path("/grade")
"""What the program sees of the run folder."""
OURS = Path("/opt/grade")
"""Where the program finds what of this package it needs; the rest, with every expected value, is not in the sandbox."""
EVIDENCE = 5 << 28
"""Bytes of evidence: a quarter more than the collector keeps, for what is replaced."""

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS = (
    "/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime",
    "/etc/timezone", "/etc/OpenCL", "/etc/vulkan",
)  # fmt: skip
_ABOUT = {"USER": "student", "TMPDIR": "/tmp", "HF_HUB_OFFLINE": "1"}
_NEEDED = (
    *("__init__.py", "harness/__init__.py", "harness/errors.py", "harness/ending.py", "harness/data", "harness/run"),
    *("harness/machine/__init__.py", "harness/machine/probe.py", "lora/__init__.py", "lora/api.py"),
    *(f"lora/measures/{name}.py" for name in ("__init__", "clip", "pictures", "statistics", "style")),
)
"""What runs a notebook, and what :mod:`graders.lora.api` offers it: no rubric and no threshold."""
_MASKED = (
    "acpi", "buddyinfo", "diskstats", "interrupts", "kallsyms", "kcore", "key-users", "keys", "kpagecgroup", "kpagecount",
    "kpageflags", "latency_stats", "modules", "pagetypeinfo", "sched_debug", "scsi", "slabinfo", "softirqs", "timer_list",
    "vmallocinfo", "zoneinfo",
)  # fmt: skip
"""What `/proc` says of the machine and of everybody on it, some of it to the superuser only, which notebooks do not need."""


class Bubblewrap:
    """Namespaces of its own for files, processes, network, users and the rest; limits by control group, if there is one.

    ``control_groups`` False is for trying out what holds without them.
    """

    name = "bubblewrap"

    def __init__(self, *, control_groups: bool = True) -> None:
        self.control_groups = control_groups

    def start(
        self,
        argv: Sequence[str],
        run_folder: Path,
        limits: Limits,
        environment: Mapping[str, str],
        readable: Sequence[Path] = (),
    ) -> Program:
        """Start the program; what it writes is in memory and comes to the run folder when it ends."""
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            raise IsolationError("bubblewrap is not installed.", "Install it: sudo apt-get install bubblewrap")
        group = None
        if self.control_groups:
            with contextlib.suppress(cgroup.NoControlGroup):
                group = cgroup.create(limits.memory, limits.processes)
        return _Sandboxed(bwrap, argv, run_folder, limits, environment, readable, group)


_ENTER = ("/bin/sh", "-c", 'while [ "$1" != -- ]; do echo 0 > "$1"; shift; done; shift; exec "$@"', "sh")
"""Enters the control groups that are named before a double dash and becomes the command after it."""


class _Sandboxed:
    def __init__(
        self,
        bwrap: str,
        argv: Sequence[str],
        run_folder: Path,
        limits: Limits,
        environment: Mapping[str, str],
        readable: Sequence[Path],
        group: cgroup.ControlGroup | None,
    ) -> None:
        self.run_folder, self.limits, self.group = run_folder, limits, group
        ours, theirs = socket.socketpair()
        self.way_out = WayOut(ours)
        told, tell = os.pipe()
        filtered = system_call_filter(counted=group is not None)
        with theirs, open(told, encoding="utf-8") as telling, open(tell, "w") as telling_end, filtered as filtering:
            inside = {**clean_environment(str(INSIDE / "home")), "PYTHONPATH": str(OURS), **_ABOUT, **environment}
            options = [
                *_namespaces(),
                *_files(run_folder, limits, readable),
                *(word for name, value in inside.items() for word in ("--setenv", name, value)),
                *("--seccomp", str(filtering.fileno()), "--info-fd", str(tell), "--chdir", str(INSIDE)),
            ]
            command = [
                *(sys.executable, "-I", "-S", str(OURS / "graders" / "harness" / "run" / "launch.py")),
                *(str(theirs.fileno()), str(limits.processes), str(limits.disk), *argv),
            ]
            entrances = group.entrance if group else ()
            with _written(os.fsencode("\0".join(options))) as given:
                # Its first process is seen inside with its environment and arguments, which are therefore kept bare
                command = [*_ENTER, *map(str, entrances), "--", bwrap, "--args", str(given.fileno()), "--", *command]
                passed = (theirs.fileno(), tell, filtering.fileno(), given.fileno())
                self.process: subprocess.Popen[bytes] = launch(command, Path("/"), {}, passed)
            telling_end.close()
            self.first = _open_process(telling.read())
        if self.first is None:
            self._give_up()
        self.counted = group or MemoryWatch(self.process.pid, limits.memory, limits.processes, self.way_out.held_bytes)
        self.gpu = watch_gpu(self.process.pid, limits.gpu_memory)

    def end(self) -> Usage:
        """Kill the sandbox's first process, and with it the Linux kernel kills all others; copy what they wrote."""
        if self.first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.first, signal.SIGKILL)
            select.select([self.first], [], [])  # it ends as the last one
            os.close(self.first)
            self.first = None
        self.process.kill()
        self.process.wait()
        usage = used(self.counted, self.gpu)
        try:
            gather(self.way_out, self.run_folder, self.limits)
        finally:
            self.way_out.close()
        return usage

    def _give_up(self) -> None:
        """Nothing runs; bubblewrap, or the shell before it, has said why."""
        self.way_out.close()
        said = output_of(self).read(10_000).decode("utf-8", "replace")
        self.process.wait()
        if self.group:
            self.group.end()
        raise IsolationError(
            f"bubblewrap cannot make a sandbox here: {one_line(said, 200).rstrip('.')}.",
            "Allow user namespaces; in Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined.",
        )


def _open_process(told: str) -> int | None:
    """A descriptor of the sandbox's first process, from what bubblewrap told; None if it told nothing."""
    with contextlib.suppress(ValueError, ProcessLookupError):
        return os.pidfd_open(json.loads(told)["child-pid"])
    return None


def _namespaces() -> list[str]:
    return [
        *("--unshare-all", "--unshare-user", "--disable-userns", "--new-session", "--die-with-parent"),
        *("--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "grade", "--clearenv"),
    ]


def _files(run_folder: Path, limits: Limits, readable: Sequence[Path]) -> list[str]:
    """What is to be seen of the machine's files, and where there is room to write."""
    home = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else PACKAGE
    hidden = [home] if any(home.is_relative_to(path) for path in _libraries()) else []
    if any(run_folder.is_relative_to(path) for path in _libraries()) and not run_folder.is_relative_to(home):
        raise IsolationError(
            f"{run_folder} lies in a folder that notebooks may read.", "Keep hand-ins and results in another place."
        )
    seen = [(path, ["--ro-bind-try", str(path), str(path)]) for path in (*_libraries(), *map(Path, _SETTINGS))]
    folders, packages = installed.seen()
    hidden += [folder for folder in folders if any(folder.is_relative_to(path) for path in _libraries())]
    seen += [(path, ["--tmpfs", str(path)]) for path in dict.fromkeys(hidden)]
    seen += [(path, ["--ro-bind", str(path), str(path)]) for path in packages if path.parent in hidden]
    seen += [(Path("/tmp"), ["--size", str(limits.disk), "--tmpfs", "/tmp"])]
    seen += [(path, ["--ro-bind", str(path), str(path)]) for path in readable]
    words = [word for path in _SYSTEM if os.path.islink(path) for word in ("--symlink", os.readlink(path), path)]
    words += ["--proc", "/proc", *_masks(), "--dev", "/dev", *_devices()]
    for _, mounting in sorted(seen, key=lambda item: len(item[0].parts)):  # what is inside of another comes after it
        words += mounting
    for name in _NEEDED:
        words += ["--ro-bind", str(PACKAGE / name), str(OURS / "graders" / name)]
    room = {INSIDE / "work": limits.disk, INSIDE / "evidence": EVIDENCE, INSIDE / "home": limits.disk}
    for place, size in (room | {Path("/dev/shm"): limits.shared_memory}).items():
        words += ["--size", str(size), "--tmpfs", str(place)]
    for folder in FOLDERS:
        for inner in sorted((run_folder / folder).rglob("*")):
            words += ["--dir", str(INSIDE / inner.relative_to(run_folder))]
    for file in sorted(path for path in run_folder.iterdir() if path.is_file()):
        words += ["--ro-bind", str(file), str(INSIDE / file.name)]
    # A process that the machine takes for its superuser's could write to /proc/sys without any capability
    return words + [word for path in (*map(str, hidden), "/proc", "/dev", "/") for word in ("--remount-ro", path)]


def _libraries() -> list[Path]:
    """Folders of programs and libraries: the system's, this Python's with its packages, and those the environment names."""
    system = [Path(path) for path in _SYSTEM if os.path.isdir(path) and not os.path.islink(path)]
    python = {sys.prefix, sys.base_prefix, *(os.path.realpath(path) for path in (sys.prefix, sys.base_prefix))}
    named = {path for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path.startswith("/")}
    others = [Path(path) for path in sorted(python | named) if os.path.isdir(path)]
    return system + [path for path in others if not any(path.is_relative_to(folder) for folder in system)]


def _masks() -> Iterator[str]:
    for path in (Path("/proc", name) for name in _MASKED):
        if path.is_dir():
            yield from ("--tmpfs", str(path))
        elif path.exists():
            yield from ("--ro-bind", "/dev/null", str(path))


def _devices() -> Iterator[str]:
    """What a program needs of an NVIDIA GPU: its devices, and what the driver says of them."""
    for pattern in ("nvidia*", "dxg"):
        for device in sorted(Path("/dev").glob(pattern)):
            yield from ("--dev-bind", str(device), str(device))
    for folder in sorted(Path("/sys/module").glob("nvidia*")):
        yield from ("--ro-bind-try", str(folder), str(folder))


@contextlib.contextmanager
def _written(content: bytes) -> Iterator[IO[bytes]]:
    """A file that no path leads to."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file
