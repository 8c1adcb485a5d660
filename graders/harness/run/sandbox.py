"""Where an untrusted program runs: the one place through which a notebook's kernel is launched and ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import psutil  # type: ignore[import-untyped]  # publishes no types

from graders.harness import PACKAGE
from graders.harness.errors import ExplainedError
from graders.harness.run.cgroup import ControlGroup
from graders.harness.run.memory import GpuMemoryWatch, MemoryWatch, watch_gpu

WRITABLE = ("work", "evidence")
"""The folders of a run folder that the program writes to; everything else in it is only read."""

PASSED_ON = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
)  # fmt: skip
"""Variables of this process's environment that the program sees. None holds a secret."""


_HUB = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class IsolationError(ExplainedError):
    """The isolation that was asked for cannot be had on this machine."""


@dataclass(frozen=True)
class Limits:
    """What a program and everything it starts may take together."""

    memory: int | None = None
    """Bytes of memory, with what its files in memory hold; None is no limit."""
    gpu_memory: int | None = None
    """Bytes of memory of NVIDIA GPUs; None is no limit."""
    processes: int = 1000
    """Processes and threads: a kernel with its libraries starts a few for every core."""
    disk: int = 2 << 30
    """Bytes of files in the working directory, and as many of temporary files."""
    shared_memory: int = 1 << 30
    """Bytes of files in `/dev/shm`."""
    files: int = 10_000
    """Files that are kept of what it wrote."""


@dataclass(frozen=True)
class Usage:
    """What a program took, and the limit that ended it or a part of it, if one did."""

    peak_memory_bytes: int
    out_of_memory: bool
    too_many_processes: bool


class Program(Protocol):
    """A program that runs, or has run, with everything it started."""

    process: subprocess.Popen[bytes]
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

    def start(
        self,
        argv: Sequence[str],
        run_folder: Path,
        limits: Limits,
        environment: Mapping[str, str],
        readable: Sequence[Path] = (),
    ) -> Program:
        """Start the program with ``run_folder``, or what stands for it inside, as its working directory.

        Of the run folder it writes to :data:`WRITABLE` only. ``environment`` is added to what :func:`clean_environment`
        gives; home folder and temporary files are private to the run and have short paths. ``readable`` are further
        files and folders that it reads at their own paths: models and data sets. Raises :class:`IsolationError` or
        OSError.
        """


class NoIsolation:
    """No sandbox: a process like any other. For one's own notebooks, or on a machine that is itself disposable.

    Memory and processes are watched; files are not limited.
    """

    name = "none"

    def start(
        self,
        argv: Sequence[str],
        run_folder: Path,
        limits: Limits,
        environment: Mapping[str, str],
        readable: Sequence[Path] = (),
    ) -> Program:
        """Start the program with nothing between it and the machine but a clean environment and a session."""
        return _Unconfined(argv, run_folder, limits, environment)


class _Unconfined:
    def __init__(self, argv: Sequence[str], run_folder: Path, limits: Limits, environment: Mapping[str, str]) -> None:
        # Not in the run folder: libraries make file names of whole paths, which then are too long for a file system
        self.home = tempfile.mkdtemp(prefix="grade-")
        inside = {**clean_environment(self.home), **_import_path(), **_hub(), "TMPDIR": self.home, **environment}
        self.process = launch(argv, run_folder, inside)
        self.watch = MemoryWatch(self.process.pid, limits.memory, limits.processes)
        self.gpu = watch_gpu(self.process.pid, limits.gpu_memory)

    def end(self) -> Usage:
        """Kill the program's descendants, and whatever else still has this run's home folder in its environment."""
        for _ in range(3):  # a process may fork between being listed and being killed
            victims = [victim for victim in psutil.process_iter() if _home(victim) == self.home]
            if self.process.poll() is None:
                with contextlib.suppress(psutil.Error):
                    victims += psutil.Process(self.process.pid).children(recursive=True)
            for victim in victims:
                with contextlib.suppress(psutil.Error):
                    victim.kill()
            if not victims:
                break
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)
        return used(self.watch, self.gpu)


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


def clean_environment(home: str) -> dict[str, str]:
    """The environment of an untrusted program: :data:`PASSED_ON`, and a home folder."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**passed, "HOME": home, "PYTHONNOUSERSITE": "1"}


def _import_path() -> dict[str, str]:
    """What lets the program import this package where it is not installed."""
    home = PACKAGE.resolve().parent
    return {} if home == Path(sysconfig.get_paths()["purelib"]).resolve() else {"PYTHONPATH": str(home)}


def _hub() -> dict[str, str]:
    """What lets the program find the models that its user has from the Hugging Face Hub, instead of loading them again."""
    from huggingface_hub import constants  # when called: only who runs a notebook needs it

    return {name: os.environ[name] for name in _HUB if name in os.environ} | {"HF_HUB_CACHE": constants.HF_HUB_CACHE}


def _home(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("HOME")
    except (psutil.Error, OSError):
        return None
