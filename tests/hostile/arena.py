"""Where hostile hand-ins are graded one after another, while innocent ones are graded beside them."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import psutil

from graders.harness.checking import titles
from graders.harness.grade import Setting, grade
from graders.harness.result import Result
from graders.harness.run.bubblewrap import Bubblewrap
from graders.harness.run.limits import Limits
from graders.lesson import LESSON
from graders.lora import catalog
from tests import command
from tests.hostile.case import Aftermath, Case
from tests.hostile.hand_in import HandIn, Said
from tests.hostile.outside import CHECKOUT, Outside

GRADE = Path(sys.executable).with_name("grade")
OPTIONS = ("--isolation", "bubblewrap", "--json", "result.json", "--")
INNOCENT = CHECKOUT / "reference_solutions" / "ex1.ipynb"
INNOCENT_NICENESS = 5
"""They wait a little for other tests that have something to do."""
PAUSE = 3.0
"""Seconds from the beginning of one innocent to that of the next, beside the same hostile hand-in."""
_INNOCENTS = Setting(Bubblewrap(likely=(catalog.ROOT,)), Limits(memory=6 << 30))
_ONCE = tuple(titles(LESSON.rubric("ex1")).keys() - titles(LESSON.rubric("ex1"), "again").keys())
"""What innocents are checked for: all that needs no second run, which would be no other than the first."""

# A process starts with the peak memory of the one it was forked from; forked from this small program, a command has
# a peak of its own. The file named first gets it, in KiB.
_STARTER = """
import os, sys
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
with open(sys.argv[1], "w") as file:
    file.write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Innocent:
    """An innocent hand-in that was graded from ``started`` to ``ended``."""

    started: float
    ended: float
    result: Result


class Arena:
    """Two grading processes, each bound to a core: one for hostile hand-ins in turn, one for innocent ones beside some of them.

    Each hand-in is looked at from the host the moment its grading has ended.
    """

    def __init__(self, folder: Path, outside: Outside) -> None:
        self.folder, self.outside = folder, outside
        cores = sorted(os.sched_getaffinity(0))
        self._hostile, self._grader = _worker(cores[0], outside)
        self._innocent, _ = _worker(cores[-1], outside, INNOCENT_NICENESS)
        self._line = ThreadPoolExecutor(1)
        self._commands = ThreadPoolExecutor(1)  # they fill the time in which hand-ins are waited for
        self._innocents: list[Innocent] = []
        self._more = threading.Condition()
        self._crowded, self._next = False, 0.0
        self._began: float | None = None
        self._closing = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._grade_innocents, daemon=True)
        self._thread.start()

    def grade(self, case: Case, crowded: bool) -> Future[Aftermath]:
        """Grade a case when its turn has come, if ``crowded`` while innocents are graded beside it."""
        return self._line.submit(self._grade_beside if crowded else self._grade, case)

    def _grade_beside(self, case: Case) -> Aftermath:
        with self._more:
            self._crowded, self._next = True, 0.0
            self._more.notify_all()
        try:
            return self._grade(case)
        finally:
            with self._more:
                self._crowded = False

    def command(self, hand_in: HandIn) -> Future[Said]:
        """Grade a file with the `grade` command when its turn has come.

        What is to be graded, and not refused, is graded by the process that grades the cases, which has imported everything,
        but where what lies beside it waits for the command to be started.
        """
        if hand_in.points is None or hand_in.others:
            return self._commands.submit(self._command, hand_in, self._started)
        return self._line.submit(self._command, hand_in, self._within)

    def beside(self, started: float, ended: float) -> list[Innocent]:
        """The innocents that were being graded between the two times; waits for the last of them."""
        with self._more:
            self._more.wait_for(lambda: self._error or self._began is None or self._began > ended, timeout=600)
            if self._error:
                raise self._error
            return [i for i in self._innocents if i.started < ended and i.ended > started]

    def close(self) -> None:
        """Grade no more."""
        with self._more:
            self._closing = True
            self._more.notify_all()
        for line in (self._line, self._commands):
            line.shutdown(cancel_futures=True)
        self._thread.join()
        self._hostile.shutdown()
        self._innocent.shutdown()

    def _grade_innocents(self) -> None:
        """Grade one at the beginning of each case that is crowded, and more while it lasts."""
        place = self.folder / "innocent"
        while True:
            with self._more:
                while not self._closing and not (self._crowded and time.monotonic() > self._next):
                    self._more.wait(0.1)
                if self._closing:
                    return
                started = self._began = time.monotonic()
                self._next = started + PAUSE
            try:
                result = self._innocent.submit(grade, "ex1", INNOCENT, place, within=_INNOCENTS, only=_ONCE).result()
            except BaseException as error:
                self._error = error
            with self._more:
                if not self._error:
                    self._innocents.append(Innocent(started, time.monotonic(), result))
                self._began = None
                self._more.notify_all()
            if self._error:
                return

    def _grade(self, case: Case) -> Aftermath:
        place = self.folder / re.sub(r"\W+", "-", case.title)
        mark = f"mark-{os.urandom(8).hex()}"
        notebook = case.write(place, self.outside.facts(mark))
        self._forget_peak()
        started = time.monotonic()
        grading = self._hostile.submit(
            grade, case.exercise, notebook, place / "graded", within=case.within, only=case.only
        )
        result = grading.result()
        ended = time.monotonic()
        return Aftermath(
            place / "graded",
            result,
            started,
            ended,
            tuple(_leftovers(self._grader, mark)),
            self.outside.visitors(),
            tuple(sorted(path.name for path in self.outside.markers.iterdir())),
            self._peak(),
        )

    def _forget_peak(self) -> None:
        Path("/proc", str(self._grader.pid), "clear_refs").write_text("5")  # sets it to what is held now

    def _peak(self) -> int:
        """Bytes that the process which grades hostile hand-ins has held at most."""
        status = Path("/proc", str(self._grader.pid), "status").read_text()
        (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return int(peak) << 10

    def _command(self, hand_in: HandIn, run: Callable[[Path, HandIn], tuple[int, bytes, int]]) -> Said:
        place = self.folder / re.sub(r"\W+", "-", hand_in.title)
        place.mkdir()
        bystander = place / ".grade" / hand_in.exercise / "classmate" / "result.json"
        bystander.parent.mkdir(parents=True)
        bystander.write_text("{}")
        hand_in.lay(place)
        started = time.monotonic()
        status, printed, peak = run(place, hand_in)
        return Said(place, status, printed, started, time.monotonic(), peak, bystander.exists())

    def _within(self, place: Path, hand_in: HandIn) -> tuple[int, bytes, int]:
        """By the process that grades hostile hand-ins: the exit status, what was printed, and the peak memory."""
        self._forget_peak()
        arguments = (hand_in.exercise, *OPTIONS, os.fsdecode(hand_in.name))
        ran = self._hostile.submit(command.grade, *arguments, folder=place, COLUMNS="2000").result()
        return ran.status, ran.printed.encode(), self._peak()

    def _started(self, place: Path, hand_in: HandIn) -> tuple[int, bytes, int]:
        """The same of a process of its own."""
        peak = place / "peak-memory"
        process = subprocess.run(
            [sys.executable, "-I", "-c", _STARTER, peak, GRADE, hand_in.exercise, *OPTIONS, hand_in.name],
            cwd=place,
            env={**self.outside.environment, "COLUMNS": "2000", "TRAP": str(place / "trap")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return process.returncode, process.stdout, int(peak.read_text()) << 10


def _settle(core: int, niceness: int) -> None:
    os.sched_setaffinity(0, {core})
    os.nice(niceness)


def _worker(core: int, outside: Outside, niceness: int = 0) -> tuple[ProcessPoolExecutor, psutil.Process]:
    """A process that is bound to a core, with secrets in its environment."""
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_settle, initargs=(core, niceness))
    with mock.patch.dict(os.environ, outside.environment):
        return pool, psutil.Process(pool.submit(os.getpid).result())


def _is_warm(family: list[psutil.Process]) -> bool:
    """Whether that is a sandbox with a warm process, and nothing else."""
    sandboxed = [process.name() for process in family[:-1]] == ["bwrap", "bwrap"]
    return sandboxed and "graders.harness.run.warm" in family[-1].cmdline()


def _leftovers(grader: psutil.Process, mark: str) -> Iterator[str]:
    """Processes that the grading process should not have left, by their command lines."""
    for child in grader.children():
        family = [child, *child.children(recursive=True)]
        if not _is_warm(family):
            yield from (f"{process.pid} below the grader: {process.name()}" for process in family)
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            groups = Path("/proc", str(process.pid), "cgroup").read_text()
        except (psutil.Error, OSError):
            continue
        if mark in words or f"/grade-{grader.pid}-" in groups:
            yield f"{process.pid}: {words}"


@contextmanager
def arena(folder: Path, outside: Outside) -> Iterator[Arena]:
    """An arena for as long as the block lasts; what was graded in it is gone afterwards."""
    there = Arena(folder, outside)
    try:
        yield there
    finally:
        there.close()
        shutil.rmtree(folder, ignore_errors=True)
