"""Where an untrusted program runs: the one place through which a notebook's kernel is launched and ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from graders.harness.errors import MachineError
from graders.harness.run.cgroup import ControlGroup
from graders.harness.run.interpreter import Interpreter
from graders.harness.run.limits import Limits
from graders.harness.run.memory_watch import GpuMemoryWatch, MemoryWatch

WRITABLE = ("work", "evidence")
"""The folders of a run folder that the program writes to; everything else in it is only read."""

PASSED_ON = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
)  # fmt: skip
"""Variables of this process's environment that the program sees. None holds a secret."""


class IsolationError(MachineError):
    """The isolation that was asked for cannot be had on this machine."""


@dataclass(frozen=True)
class Usage:
    """What a program took, and the limit that ended it or a part of it, if one did."""

    peak_memory_bytes: int
    out_of_memory: bool
    too_many_processes: bool


class Process(Protocol):
    """What a :class:`Program` is waited for by: a :class:`subprocess.Popen`, or as much of one."""

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs, or before it was asked for."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """What it prints."""

    def poll(self) -> int | None:
        """The exit status; None while it runs."""


class Program(Protocol):
    """A program that runs, or has run, with everything it started."""

    @property
    def process(self) -> Process:
        """What was launched: its exit status is the program's, and its standard output has both of the program's streams."""

    def end(self) -> Usage:
        """End the program and everything it started, and have what it wrote in the run folder.

        No error if all of it has ended already.
        """


class Isolation(Protocol):
    """Keeps a program and everything it starts together and, as far as its kind can, away from all else."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    @property
    def ways(self) -> Sequence[Isolation]:
        """An isolation for each of the ways in which this one starts programs: it must hold in all of them."""

    @property
    def python(self) -> Interpreter | None:
        """The Python that notebooks run in; None for the one that runs this."""

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
        """Start the program with ``run_folder``, or what stands for it inside, as its working directory.

        Of the run folder it writes to :data:`WRITABLE` only. ``environment`` is added to what :func:`clean_environment`
        gives; home folder and temporary files are private to the run and have short paths. ``readable`` are further
        files and folders that it reads at their own paths: models and data sets. A ``fresh`` program is a process that has
        imported nothing yet. Raises :class:`IsolationError` or OSError.
        """

    def warm_up(self, environment: Mapping[str, str]) -> None:
        """Begin with what takes longest of a start with this environment, if anything does, and do not wait for it."""


def used(counted: ControlGroup | MemoryWatch, gpu: GpuMemoryWatch | None) -> Usage:
    """What was counted until now; ends the counting."""
    out_of_memory = counted.out_of_memory or (gpu is not None and gpu.out_of_memory)
    usage = Usage(counted.peak_memory_bytes, out_of_memory, counted.too_many_processes)
    counted.end()
    if gpu:
        gpu.end()
    return usage


def launch(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str], descriptors: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, with one pipe for what it prints and no descriptor but those named."""
    return subprocess.Popen(
        list(argv),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=descriptors,
    )


def output_of(program: Program) -> IO[bytes]:
    """What the program prints."""
    assert program.process.stdout is not None
    return program.process.stdout


def path_of(python: Path | str) -> str:
    """Where programs are looked for: first those of the environment that a Python belongs to, such as `pip`."""
    own = os.path.dirname(python)
    others = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([own, *(one for one in others if one != own)])


def clean_environment(home: str, python: Interpreter | None) -> dict[str, str]:
    """The environment of an untrusted program: :data:`PASSED_ON`, a home folder, and the programs of the notebooks' Python."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    passed["PATH"] = path_of(python.program if python else sys.executable)
    return {**passed, "HOME": home, "PYTHONNOUSERSITE": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
