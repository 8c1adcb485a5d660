"""Worker processes: each grades one hand-in at a time, on cores of its own, and may die without the others."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from graders.harness.checking import CheckLimits
from graders.harness.course import forkserver
from graders.harness.course.once import Done, check_again, grade_once
from graders.harness.data.archive import ArchiveError
from graders.harness.data.saving import DiskFullError, room
from graders.harness.data.scratch import Scratch
from graders.harness.errors import ExplainedError
from graders.harness.grade import Setting
from graders.harness.machine.promises import insist
from graders.harness.marks import Status
from graders.harness.result import Result, load
from graders.harness.run.beside import needed
from graders.harness.run.cores import cores, for_both_runs
from graders.harness.run.imports import MissingImports
from graders.harness.run.memory_watch import machine_memory
from graders.harness.run.notebook import NotebookError, read
from graders.harness.run.sandbox import Isolation, IsolationError
from graders.harness.run.source import code

_CHECKS_MEMORY = 2 << 30
"""Bytes that checking takes in a worker: models, a CLIP model and pictures; 1.3 GiB were seen."""
_RUN_MEMORY = 4 << 30
"""Bytes that each run of a notebook should have at least; the reference solutions take up to 1.4 GiB."""
_GPU_MEMORY = 16 << 30
"""Bytes of GPU memory for a worker: what a free GPU has, for which the exercises are made."""


@dataclass(frozen=True)
class Handled:
    """What a worker made of a hand-in. It is ``doubtful`` if the machine may be to blame, and not the hand-in; ``fault`` if
    a grader broke at a check. ``missing`` are modules that it imports and that are not there.
    """

    status: Status
    done: Done | None = None
    problem: str = ""
    fix: str = ""
    doubtful: bool = False
    fault: bool = False
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Crew:
    """How many workers there are, and in which setting each runs a notebook."""

    jobs: int
    within: Setting

    @property
    def sandboxed(self) -> bool:
        """Whether what it runs is kept from the machine."""
        return self.within.isolation is not None and self.within.isolation.name != "none"

    @property
    def alone(self) -> Crew:
        """A single worker that has the machine to itself."""
        return Crew(1, _shared(self.within, 1))


def crew(within: Setting, jobs: int | None = None) -> Crew:
    """Workers for as many ``jobs``, or for as many as this machine has cores, memory and GPU memory for."""
    if jobs is None:
        checks, runs, more = _needs(within)
        worker = checks + runs * (_RUN_MEMORY + more)
        jobs = max(1, min(len(cores()), machine_memory() // worker))
        if gpu := _gpu_memory():
            jobs = max(1, min(jobs, gpu // _GPU_MEMORY))
    return Crew(jobs, _shared(within, jobs))


def _needs(within: Setting) -> tuple[int, int, int]:
    """Bytes for checking, how many runs of a notebook there are at a time, and the bytes more that each needs."""
    if more := within.profile.extra_memory:  # the notebook is run once, and then again
        return _CHECKS_MEMORY + more, 1, more
    return _CHECKS_MEMORY, 2, 0


def _shared(within: Setting, jobs: int) -> Setting:
    """The setting with a worker's share of the memory, so that all together never take more than there is.

    What a run has taken is free again when its checks begin.
    """
    checks, runs, more = _needs(within)
    memory = machine_memory() * 7 // 8 // jobs - (0 if more else checks)
    gpu = _gpu_memory()
    limits = replace(
        within.limits,
        memory=runs * max(1 << 30, min(16 << 30, memory // runs)),
        gpu_memory=gpu * 9 // 10 // jobs if gpu else within.limits.gpu_memory,
    )
    return replace(within, limits=limits)


def _gpu_memory() -> int:
    """Bytes of memory of the first GPU, 0 where there is none; asked for without touching CUDA."""
    if not shutil.which("nvidia-smi"):
        return 0
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=10).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return int(said[0]) << 20 if said and said[0].isdigit() else 0


class Workers:
    """The workers of a crew at work."""

    def __init__(self, pool: ProcessPool, within: Setting) -> None:
        self._pool, self._within = pool, within

    def grade(self, exercise: str, notebook: Path, graded: Path, again: bool = False) -> ProcessFuture[Handled]:
        """Have a hand-in graded by the next worker that is free; ``again`` though that has been done.

        The future raises :class:`pebble.ProcessExpired` if the worker died of it, :class:`DiskFullError`, or whatever else
        went wrong in the graders.
        """
        return self._pool.schedule(_grade, (exercise, notebook, graded, self._within, again))

    def insist(self) -> None:
        """Have a worker put the sandbox to the test; it keeps what it has started for that, for the hand-ins to come.

        Raises :class:`PromiseError` unless it holds what it promises, and :class:`IsolationError` if that cannot be known.
        """
        assert self._within.isolation
        try:
            self._pool.schedule(_insist, (self._within.isolation,)).result()
        except ProcessExpired as error:
            problem = f"The process that puts the sandbox to the test died (exit status {error.exitcode})."
            raise IsolationError(
                problem, "Run the same command again; see what `grade doctor --sandbox` says."
            ) from None

    def check(self, exercise: str, graded: Path, dry: bool = False) -> ProcessFuture[Result]:
        """Have a stored run checked again by the next worker that is free; the future raises as that of :meth:`grade`.

        If ``dry``, nothing is written.
        """
        return self._pool.schedule(_check, (exercise, graded, self._within.checking, dry))


@contextmanager
def working(crew: Crew, running: bool = True) -> Iterator[Workers]:
    """Workers for as long as the block lasts, ``running`` notebooks or not; they and what they run are ended with it."""
    free = cores()
    shares = [free[place :: crew.jobs] or free for place in range(crew.jobs)]
    isolation = crew.within.isolation if running else None
    with Scratch("workers") as place:
        pool = ProcessPool(
            crew.jobs, context=forkserver.context(), initializer=_begin, initargs=(Path(place), shares, isolation)
        )
        try:
            yield Workers(pool, crew.within)
        finally:
            pool.stop()
            pool.join()


def _begin(place: Path, shares: Sequence[Sequence[int]], isolation: Isolation | None) -> None:
    """Bind this worker to the first share of cores that no living worker has, and let it not outlive its parent."""
    gc.freeze()  # what was imported before it was forked
    gc.enable()
    for number, share in enumerate(shares):
        lock = os.open(place / str(number), os.O_RDWR | os.O_CREAT)  # held, and given back when this process ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, share)
        # Several threads on one core spend their time waiting for each other; the kernels read the variable
        torch.set_num_threads(len(share))
        os.environ["OMP_NUM_THREADS"] = str(len(share))
        break
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    if isolation:
        isolation.warm_up(for_both_runs())


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _insist(isolation: Isolation) -> None:
    insist(isolation, for_both_runs())


def _check(exercise: str, graded: Path, limits: CheckLimits, dry: bool) -> Result:
    with room(graded):
        return check_again(exercise, graded, limits, dry=dry)


def _grade(exercise: str, notebook: Path, graded: Path, within: Setting, again: bool) -> Handled:
    try:
        with room(graded):
            done = grade_once(exercise, notebook, graded, within=within, again=again)
    except DiskFullError:
        raise
    except (NotebookError, ArchiveError) as error:
        return Handled(Status.REFUSED, None, error.problem, error.fix)
    except MissingImports as error:
        fix = "Install it for notebooks, or say that it is the students' own: grade batch … --own-file NAME."
        return Handled(Status.TROUBLE, None, error.problem, fix, missing=error.names)
    except ExplainedError as error:  # no kernel, no sandbox: not the notebook's fault
        return Handled(Status.TROUBLE, None, error.problem, error.fix, doubtful=True)
    result = load(graded / "result.json")
    problem = _not_handed_in(result, notebook) if done is not Done.KEPT else ""
    return Handled(Status.GRADED, done, problem, doubtful=_doubtful(result), fault=result.faulty)


def _not_handed_in(result: Result, notebook: Path) -> str:
    """That a file is missing because of which the notebook stopped, if it says itself that it reads one."""
    error = result.run.get("error") or {}
    if error.get("ename") not in ("FileNotFoundError", "OSError", "Exception"):
        return ""
    absent = [name for name in needed(code(read(notebook))) if PurePosixPath(name).name in error["evalue"]]
    return f"The notebook reads {', '.join(absent)}, which was not handed in with it." if absent else ""


def _doubtful(result: Result) -> bool:
    """Whether the machine may have broken it: too little memory beside others, a process that was killed, a faulty GPU."""
    return result.faulty or result.run["ended"] in ("out_of_memory", "kernel_died")
