"""Where an untrusted program runs: the one place through which a notebook's kernel is launched and ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil  # type: ignore[import-untyped]  # publishes no types

WRITABLE = ("work", "evidence", "home")
"""The folders of a run folder that the program writes to; everything else in it is only read."""

PASSED_ON = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
)  # fmt: skip
"""Variables of this process's environment that the program sees. None holds a secret."""


class Isolation(Protocol):
    """Keeps a program and everything it starts together and, as far as its kind can, away from all else.

    An implementation may refuse by raising OSError when it cannot be had on this machine.
    """

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    def popen(
        self, argv: Sequence[str], run_folder: Path, environment: Mapping[str, str], readable: Sequence[Path] = ()
    ) -> subprocess.Popen[bytes]:
        """Start the program in ``run_folder``; standard output and error come back through one pipe.

        Of the run folder it writes to :data:`WRITABLE` only. ``environment`` is added to what
        :func:`clean_environment` gives; temporary files are private to the run and have short paths. ``readable`` are
        further files and folders that it reads at their own paths: models and data sets.
        """

    def kill(self, process: subprocess.Popen[bytes], run_folder: Path) -> None:
        """End the program and everything it started; no error if all of it has ended already."""


class NoIsolation:
    """No sandbox: a process like any other. For one's own notebooks, or on a machine that is itself disposable."""

    name = "none"

    def __init__(self) -> None:
        """One instance serves any number of runs."""
        self._temporary: dict[Path, str] = {}

    def popen(
        self, argv: Sequence[str], run_folder: Path, environment: Mapping[str, str], readable: Sequence[Path] = ()
    ) -> subprocess.Popen[bytes]:
        """Start the program with nothing between it and the machine but a clean environment and a session."""
        temporary = self._temporary[run_folder] = tempfile.mkdtemp(prefix="grade-")
        return subprocess.Popen(
            list(argv),
            cwd=run_folder,
            env={**clean_environment(run_folder), "TMPDIR": temporary, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill(self, process: subprocess.Popen[bytes], run_folder: Path) -> None:
        """Kill the program's descendants, and whatever else still has this run's home folder in its environment."""
        home = str(run_folder / "home")
        for _ in range(3):  # a process may fork between being listed and being killed
            victims = [victim for victim in psutil.process_iter() if _home(victim) == home]
            if process.poll() is None:
                with contextlib.suppress(psutil.Error):
                    victims += psutil.Process(process.pid).children(recursive=True)
            for victim in victims:
                with contextlib.suppress(psutil.Error):
                    victim.kill()
            if not victims:
                break
        process.kill()
        process.wait()
        if run_folder in self._temporary:
            shutil.rmtree(self._temporary.pop(run_folder), ignore_errors=True)


def clean_environment(run_folder: Path) -> dict[str, str]:
    """The environment of an untrusted program: :data:`PASSED_ON`, and a home folder inside the run folder."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**passed, "HOME": str(run_folder / "home"), "PYTHONNOUSERSITE": "1"}


def _home(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("HOME")
    except (psutil.Error, OSError):
        return None
