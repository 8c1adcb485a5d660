"""Without a sandbox: for one's own notebooks, or on a machine that is itself disposable."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # publishes no types

from graders.harness import PACKAGE
from graders.harness.data.scratch import Scratch
from graders.harness.run import MARK
from graders.harness.run.interpreter import Interpreter
from graders.harness.run.limits import Limits
from graders.harness.run.memory_watch import MemoryWatch, watch_gpu
from graders.harness.run.sandbox import IsolationError, Program, Usage, clean_environment, launch, used
from graders.harness.run.warm_client import Child, Kind, Warm, cold_because, warm_of, warm_up

ATTEMPTS = 50
"""How often, ten times a second, what a run has left is killed before who watches over it is."""
_HUB = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class NoIsolation:
    """No sandbox: a process like any other. For one's own notebooks, or on a machine that is itself disposable.

    Memory and processes are watched; files are not limited. Programs are forked as in a warm sandbox, unless not ``warm``.
    """

    name = "none"

    def __init__(self, *, warm: bool = True, python: Interpreter | None = None) -> None:
        self.warm, self.python = warm, python

    @property
    def ways(self) -> Sequence[NoIsolation]:
        """Anew, and forked."""
        return (NoIsolation(warm=False, python=self.python), self) if self.warm else (self,)

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
        if self.warm and not fresh and argv[:2] == [sys.executable, "-m"] and not self._cold:
            with contextlib.suppress(IsolationError):
                return _Forked(argv[2:], run_folder, limits, environment, self.python)
        return _Unconfined(argv, run_folder, limits, environment, self.python)

    def warm_up(self, environment: Mapping[str, str]) -> None:
        """Begin with what takes longest of a start with this environment."""
        if self.warm and not self._cold:
            kind = _kind(environment, self.python)
            warm_up(kind, lambda: _warm(kind))

    @property
    def _cold(self) -> str:
        return cold_because(Kind((), python=self.python).command[0], self.python)


def _kind(environment: Mapping[str, str], python: Interpreter | None) -> Kind:
    inside = {**clean_environment("~", python), **_import_path(), **_hub(), **environment}
    return Kind(tuple(sorted(inside.items())), python=python)


def _warm(kind: Kind) -> Warm:
    """A warm process for programs without a sandbox, and the home folder of them all: libraries were imported with its name."""
    home = Scratch("home")
    inside = {**_inside(home.name, dict(kind.environment), kind.python), "HOME": home.name}
    return Warm(kind, kind.command, environment=inside, home=home)


class _Forked:
    def __init__(
        self,
        argv: Sequence[str],
        run_folder: Path,
        limits: Limits,
        environment: Mapping[str, str],
        python: Interpreter | None,
    ) -> None:
        """Raises :class:`IsolationError` if it cannot be had."""
        kind = _kind({name: value for name, value in environment.items() if name != MARK}, python)
        self.warm = warm_of(kind, lambda: _warm(kind))
        try:
            assert self.warm.home
            inside = _inside(self.warm.home.name, environment, python)
            request = {"argv": list(argv), "environment": inside, "folder": str(run_folder)}
            self.process = Child(self.warm, request | kind.runner)
        except IsolationError:
            self.warm.release()
            raise
        self.watch = MemoryWatch(self.process.pid, limits.memory, limits.processes, forked=True)
        self.gpu = watch_gpu(self.process.pid, limits.gpu_memory)
        self.process.go()
        self.process.way_out.close()
        self.warm.served = True

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
        if not self.warm.release() and self.warm.home:
            self.warm.home.empty()
        return used(self.watch, self.gpu)


class _Unconfined:
    def __init__(
        self,
        argv: Sequence[str],
        run_folder: Path,
        limits: Limits,
        environment: Mapping[str, str],
        python: Interpreter | None,
    ) -> None:
        # Not in the run folder: libraries make file names of whole paths, which then are too long for a file system
        self.home = Scratch("home")
        self.process = launch(argv, run_folder, _inside(self.home.name, environment, python))
        self.watch = MemoryWatch(self.process.pid, limits.memory, limits.processes)
        self.gpu = watch_gpu(self.process.pid, limits.gpu_memory)

    def end(self) -> Usage:
        """Kill the program's descendants, and whatever else still has this run's home folder in its environment."""
        for _ in range(3):  # a process may fork between being listed and being killed
            victims = [victim for victim in psutil.process_iter() if _home(victim) == self.home.name]
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
        self.home.cleanup()
        return used(self.watch, self.gpu)


def _inside(home: str, environment: Mapping[str, str], python: Interpreter | None) -> dict[str, str]:
    inside = {**clean_environment(home, python), **_import_path(), **_hub(), "TMPDIR": home, **environment}
    if (
        python and "PYTHONPATH" not in inside
    ):  # there it finds what is offered of this package, and none of its neighbours
        alone = Path(home, ".graders")
        alone.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (alone / PACKAGE.name).symlink_to(PACKAGE)
        inside["PYTHONPATH"] = str(alone)
    return inside


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
