"""The sandbox: bubblewrap (https://github.com/containers/bubblewrap), a system-call filter and a control group."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import IO

from graders.harness import PACKAGE
from graders.harness.data.values import one_line
from graders.harness.run import MARK, cgroup, devices
from graders.harness.run import packages as installed
from graders.harness.run.gather import WayOut, end_first, gather
from graders.harness.run.interpreter import Interpreter
from graders.harness.run.launch import FOLDERS
from graders.harness.run.limits import Limits
from graders.harness.run.memory_watch import MemoryWatch, watch_gpu
from graders.harness.run.nesting import OUTER_PROC
from graders.harness.run.sandbox import IsolationError, Program, Usage, clean_environment, launch, output_of, used
from graders.harness.run.seccomp import filter_within, system_call_filter
from graders.harness.run.warm_client import Kind, Warm, cold_because, warm_of, warm_up
from graders.harness.run.warm_sandbox import Forked, request_for

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
    *("harness/machine/__init__.py", "harness/machine/probe.py"),
)
"""What runs a notebook."""
_MASKED = (
    "acpi", "buddyinfo", "diskstats", "interrupts", "kallsyms", "kcore", "key-users", "keys", "kpagecgroup", "kpagecount",
    "kpageflags", "latency_stats", "modules", "pagetypeinfo", "sched_debug", "scsi", "slabinfo", "softirqs", "timer_list",
    "vmallocinfo", "zoneinfo",
)  # fmt: skip
"""What `/proc` says of the machine and of everybody on it, some of it to the superuser only, which notebooks do not need."""


class Bubblewrap:
    """Namespaces of its own for files, processes, network, users and the rest; limits by control group, if there is one.

    Programs are forked from a process that has imported everything, where there can be one; never, if not ``warm``. What runs
    are ``likely`` to read is told to that process, so that one serves them all: each run sees no more of it than it is
    given. ``shared`` are files of a lesson's code that notebooks may import, by their paths from where modules are looked for.
    ``control_groups`` False is for trying out what holds without them. The ``python`` of notebooks is seen whole, where
    it is not this one.
    """

    name = "bubblewrap"

    def __init__(
        self,
        *,
        control_groups: bool = True,
        warm: bool = True,
        likely: Sequence[Path] = (),
        python: Interpreter | None = None,
        shared: Mapping[str, Path] | None = None,
    ) -> None:
        self.shared = tuple(sorted((shared or {}).items()))
        self.control_groups, self.python = control_groups, python
        self.likely = tuple(path for path in likely if path.exists())  # a lesson may have no fixtures
        self.warm = warm

    @property
    def ways(self) -> Sequence[Bubblewrap]:
        """Anew, as for notebooks that set what libraries read when they are imported, and forked."""
        fresh = copy(self)
        fresh.warm = False
        return (fresh, self) if self.warm else (self,)

    def start(
        self,
        argv: Sequence[str],
        run_folder: Path,
        limits: Limits,
        environment: Mapping[str, str],
        readable: Sequence[Path] = (),
        *,
        fresh: bool = False,
    ) -> Program:
        """Start the program; what it writes is in memory and comes to the run folder when it ends."""
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            raise IsolationError("bubblewrap is not installed.", "Install it: sudo apt-get install bubblewrap")
        _ensure_apart(run_folder, self.python)
        group = None
        if self.control_groups:
            with contextlib.suppress(cgroup.NoControlGroup):
                group = cgroup.create(limits.memory, limits.processes)
        if self.warm and not fresh and argv[:2] == [sys.executable, "-m"] and not cold_because(bwrap, self.python):
            with contextlib.suppress(IsolationError):
                return self._forked(bwrap, argv[2:], run_folder, limits, environment, readable, group)
        return _Sandboxed(bwrap, argv, run_folder, limits, environment, readable, group, self.python, self.shared)

    def warm_up(self, environment: Mapping[str, str]) -> None:
        """Begin with what takes longest of a start with this environment."""
        bwrap = shutil.which("bwrap")
        if self.warm and bwrap and not cold_because(bwrap, self.python):
            asked = self._kind(environment, self.likely)
            warm_up(asked, lambda: _warm(bwrap, asked))

    def _kind(self, environment: Mapping[str, str], readable: Sequence[Path]) -> Kind:
        """What a run must find in a warm process."""
        inside = _environment({name: value for name, value in environment.items() if name != MARK}, self.python)
        return Kind(tuple(sorted(inside.items())), tuple(readable), self.python, self.shared)

    def _forked(
        self,
        bwrap: str,
        argv: Sequence[str],
        run_folder: Path,
        limits: Limits,
        environment: Mapping[str, str],
        readable: Sequence[Path],
        group: cgroup.ControlGroup | None,
    ) -> Forked:
        """A run that is forked from a warm process, which is started unless there is one."""
        asked = self._kind(environment, readable)
        offered = replace(asked, readable=tuple(_outermost((*readable, *self.likely))))
        warm = warm_of(asked, lambda: _warm(bwrap, offered))
        try:
            with filter_within(counted=group is not None) as filtering:
                request = request_for(
                    argv,
                    run_folder,
                    limits,
                    {**_environment(environment, self.python), "PWD": str(INSIDE)},
                    {**_rooms(limits), "/tmp": limits.disk},
                    [path for path in warm.kind.readable if path not in readable],
                    _shown_again(warm.kind.readable, readable, self.python),
                    _MASKED,
                    filtering.read(),
                )
                request |= asked.runner
            return Forked(warm, request, run_folder, limits, group)
        except IsolationError:
            warm.release()
            raise


_ENTER = ("/bin/sh", "-c", 'while [ "$1" != -- ]; do echo 0 > "$1"; shift; done; shift; exec "$@"', "sh")
"""Enters the control groups that are named before a double dash and becomes the command after it."""


def _warm(bwrap: str, kind: Kind) -> Warm:
    with system_call_filter(counted=True) as filtering:
        options = [
            *_namespaces(nesting=True),
            *_machine(Limits(), kind.readable, ("--tmpfs", "/dev", *devices.bare()), kind.python, kind.shared),
            *("--proc", OUTER_PROC, "--dir", str(INSIDE)),
            *_read_only(kind.python),
            *(word for name, value in kind.environment for word in ("--setenv", name, value)),
            *("--seccomp", str(filtering.fileno()), "--chdir", str(INSIDE)),
        ]
        with _written(os.fsencode("\0".join(options))) as given:
            command = [bwrap, "--args", str(given.fileno()), "--", *kind.command]
            warm = Warm(kind, command, [filtering.fileno(), given.fileno()])
            warm.ready()  # by then bubblewrap has read both files
            return warm


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
        python: Interpreter | None,
        shared: Sequence[tuple[str, Path]],
    ) -> None:
        self.run_folder, self.limits, self.group = run_folder, limits, group
        ours, theirs = socket.socketpair()
        self.way_out = WayOut(ours)
        told, tell = os.pipe()
        filtered = system_call_filter(counted=group is not None)
        with theirs, open(told, encoding="utf-8") as telling, open(tell, "w") as telling_end, filtered as filtering:
            inside = _environment(environment, python)
            options = [
                *_namespaces(),
                *_machine(limits, readable, python=python, shared=shared),
                *_room(run_folder, limits),
                *_read_only(python),
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
            end_first(self.first)
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


def _environment(more: Mapping[str, str], python: Interpreter | None) -> dict[str, str]:
    return {**clean_environment(str(INSIDE / "home"), python), "PYTHONPATH": str(OURS), **_ABOUT, **more}


def _namespaces(*, nesting: bool = False) -> list[str]:
    """Namespaces of its own; ``nesting`` if others are to be made within them."""
    return [
        *("--unshare-all", "--unshare-user", "--new-session", "--die-with-parent"),
        *(() if nesting else ("--disable-userns",)),
        *("--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "grade", "--clearenv"),
    ]


def _ensure_apart(run_folder: Path, python: Interpreter | None) -> None:
    """:class:`IsolationError` if other hand-ins would be seen, or what decides."""
    if python and python.has_graders:
        raise IsolationError(
            f"The graders are installed in {python.prefixes[0]}, where notebooks would find what decides.",
            "Make an environment of its own for notebooks, with ipykernel and what they import.",
        )
    if any(run_folder.is_relative_to(path) for path in _libraries(python)) and not run_folder.is_relative_to(_home()):
        raise IsolationError(
            f"{run_folder} lies in a folder that notebooks may read.", "Keep hand-ins and results in another place."
        )


def _home() -> Path:
    return PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else PACKAGE


def _hidden(python: Interpreter | None = None) -> list[Path]:
    """Folders with libraries of which nothing is to be seen but what is named."""
    libraries, theirs = _libraries(python), python.path if python else ()
    hidden = [_home(), *(path for path in installed.seen()[0] if path not in theirs)]
    return [path for path in hidden if any(path.is_relative_to(one) for one in libraries)]


def _seen(limits: Limits, readable: Sequence[Path], python: Interpreter | None = None) -> list[tuple[Path, list[str]]]:
    """What is to be seen at which path of the machine's files, with the words for bubblewrap."""
    hidden, (_, packages) = _hidden(python), installed.seen()
    seen = [(path, ["--ro-bind-try", str(path), str(path)]) for path in (*_libraries(python), *map(Path, _SETTINGS))]
    seen += [(path, ["--tmpfs", str(path)]) for path in dict.fromkeys(hidden)]
    seen += [(path, ["--ro-bind", str(path), str(path)]) for path in packages if path.parent in hidden]
    seen += [(Path("/tmp"), ["--size", str(limits.disk), "--tmpfs", "/tmp"])]
    seen += [(path, ["--ro-bind", str(path), str(path)]) for path in readable]
    return sorted(seen, key=lambda item: len(item[0].parts))  # what is inside of another comes after it


def _shown_again(offered: Sequence[Path], readable: Sequence[Path], python: Interpreter | None) -> list[Path]:
    """What is to be seen in a new temporary folder, and within what is hidden of what was ``offered``."""
    within = (Path("/tmp"), *(path for path in offered if path not in readable))
    seen = [path for path, _ in _seen(Limits(), (), python) if path.is_relative_to("/tmp") and path != Path("/tmp")]
    seen += [path for path in readable if any(path.is_relative_to(one) for one in within)]
    return _outermost(path for path in seen if path.exists())


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Those that lie in no other one."""
    found: list[Path] = []
    for path in sorted(set(paths), key=lambda path: len(path.parts)):
        if not any(path.is_relative_to(outer) for outer in found):
            found.append(path)
    return found


def _machine(
    limits: Limits,
    readable: Sequence[Path],
    bare: Sequence[str] = ("--dev", "/dev"),
    python: Interpreter | None = None,
    shared: Sequence[tuple[str, Path]] = (),
) -> list[str]:
    """All that is to be seen of the machine's files."""
    words = [word for path in _SYSTEM if os.path.islink(path) for word in ("--symlink", os.readlink(path), path)]
    # Where notebooks of Colab and Kaggle work, and write to
    words += ["--symlink", str(INSIDE / "work"), "/content", "--symlink", str(INSIDE / "work"), "/kaggle/working"]
    words += ["--proc", "/proc", *_masks(), *bare, *devices.gpus()]
    words += [word for _, mounting in _seen(limits, readable, python) for word in mounting]
    for name in _NEEDED:
        words += ["--ro-bind", str(PACKAGE / name), str(OURS / "graders" / name)]
    words += [word for name, place in shared for word in ("--ro-bind", str(place), str(OURS / name))]
    return words


def _rooms(limits: Limits) -> dict[str, int]:
    """The folders that are written to, with the bytes that each has room for."""
    room = {INSIDE / "work": limits.disk, INSIDE / "evidence": EVIDENCE, INSIDE / "home": limits.disk}
    return {str(place): size for place, size in {**room, Path("/dev/shm"): limits.shared_memory}.items()}


def _room(run_folder: Path, limits: Limits) -> list[str]:
    """Where there is room to write, and the files of the run."""
    words = [word for place, size in _rooms(limits).items() for word in ("--size", str(size), "--tmpfs", place)]
    for folder in FOLDERS:
        for inner in sorted((run_folder / folder).rglob("*")):
            words += ["--dir", str(INSIDE / inner.relative_to(run_folder))]
    for file in sorted(path for path in run_folder.iterdir() if path.is_file()):
        words += ["--ro-bind", str(file), str(INSIDE / file.name)]
    return words


def _read_only(python: Interpreter | None = None) -> list[str]:
    # A process that the machine takes for its superuser's could write to /proc/sys without any capability
    return [word for path in (*map(str, _hidden(python)), "/proc", "/dev", "/") for word in ("--remount-ro", path)]


def _libraries(also: Interpreter | None = None) -> list[Path]:
    """Folders of programs and libraries: the system's, this Python's with its packages, and those the environment names.

    With those of the Python that notebooks run in, if it is ``also`` needed.
    """
    system = [Path(path) for path in _SYSTEM if os.path.isdir(path) and not os.path.islink(path)]
    prefixes = [sys.prefix, sys.base_prefix, *(map(str, also.prefixes) if also else ())]
    python = {*prefixes, *map(os.path.realpath, prefixes)}
    named = {path for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path.startswith("/")}
    others = [Path(path) for path in sorted(python | named) if os.path.isdir(path)]
    return system + [path for path in others if not any(path.is_relative_to(folder) for folder in system)]


def _masks() -> Iterator[str]:
    for path in (Path("/proc", name) for name in _MASKED):
        if path.is_dir():
            yield from ("--tmpfs", str(path))
        elif path.exists():
            yield from ("--ro-bind", "/dev/null", str(path))


@contextlib.contextmanager
def _written(content: bytes) -> Iterator[IO[bytes]]:
    """A file that no path leads to."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file
