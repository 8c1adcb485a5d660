"""Without a sandbox: for one's own notebooks, or on a machine that is itself disposable."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # publishes no types

from graders.harness import PACKAGE
from graders.harness.run.memory import MemoryWatch, watch_gpu
from graders.harness.run.sandbox import IsolationError, Limits, Program, Usage, clean_environment, launch, used
from graders.harness.run.warm_sandbox import Child, Warm, cold_because, ensure_ready, warm_of

ATTEMPTS = 50
"""How often, ten times a second, what a run has left is killed before who watches over it is."""
_HUB = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class NoIsolation:
    """No sandbox: a process like any other. For one's own notebooks, or on a machine that is itself disposable.

    Memory and processes are watched; files are not limited. With ``warm``, programs are forked as in a warm sandbox.
    """

    name = "none"

    def __init__(self, *, warm: bool = False) -> None:
        self.warm = warm

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
        """Start the program with nothing between it and the machine but a clean environment and a session."""
        if self.warm and not fresh and argv[:2] == [sys.executable, "-m"] and not cold_because(sys.executable):
            with contextlib.suppress(IsolationError):
                return _Forked(_warm_up(), argv[2:], run_folder, limits, environment)
        return _Unconfined(argv, run_folder, limits, environment)


def _warm_up() -> Warm:
    """A warm process for programs without a sandbox."""
    environment = {**clean_environment(tempfile.gettempdir()), **_import_path(), **_hub()}
    command = [sys.executable, "-m", "graders.harness.run.warm"]
    return warm_of(tuple(sorted(environment.items())), lambda: Warm(command, environment=environment))


class _Forked:
    def __init__(
        self, warm: Warm, argv: Sequence[str], run_folder: Path, limits: Limits, environment: Mapping[str, str]
    ) -> None:
        ensure_ready(warm)
        self.home = tempfile.mkdtemp(prefix="grade-")
        inside = _inside(self.home, environment)
        self.process = Child(warm, {"argv": list(argv), "environment": inside, "folder": str(run_folder)})
        self.watch = MemoryWatch(self.process.pid, limits.memory, limits.processes, forked=True)
        self.gpu = watch_gpu(self.process.pid, limits.gpu_memory)
        self.process.go()
        self.process.way_out.close()

    def end(self) -> Usage:
        """Kill the program and its descendants; who watches over them buries those that others have left, and ends."""
        watching = None
        with contextlib.suppress(psutil.Error):
            watching = psutil.Process(self.process.pid)
        for attempt in range(ATTEMPTS):
            if watching is None or self.process.poll() is not None:
                break
            with contextlib.suppress(psutil.Error):
                for victim in (*watching.children(recursive=True), *([watching] if attempt == ATTEMPTS - 1 else [])):
                    with contextlib.suppress(psutil.Error):
                        victim.kill()
            self.process.wait(0.1)
        shutil.rmtree(self.home, ignore_errors=True)
        return used(self.watch, self.gpu)


class _Unconfined:
    def __init__(self, argv: Sequence[str], run_folder: Path, limits: Limits, environment: Mapping[str, str]) -> None:
        # Not in the run folder: libraries make file names of whole paths, which then are too long for a file system
        self.home = tempfile.mkdtemp(prefix="grade-")
        self.process = launch(argv, run_folder, _inside(self.home, environment))
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


def _inside(home: str, environment: Mapping[str, str]) -> dict[str, str]:
    return {**clean_environment(home), **_import_path(), **_hub(), "TMPDIR": home, **environment}


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
