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
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import psutil

from graders.harness.grade import Setting, grade
from graders.harness.result import Result
from graders.harness.run.bubblewrap import Bubblewrap
from graders.harness.run.sandbox import Limits
from tests.hostile.case import Aftermath, Case
from tests.hostile.hand_in import HandIn, Said
from tests.hostile.outside import CHECKOUT, Outside

GRADE = Path(sys.executable).with_name("grade")
INNOCENT = CHECKOUT / "reference_solutions" / "ex1.ipynb"
INNOCENT_NICENESS = 5
"""They are graded on and on, and wait a little for other tests that have something to do."""
_INNOCENTS = Setting(Bubblewrap(), Limits(memory=6 << 30))

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
        # Commands run on the hostile core, too, and fill the time in which hand-ins are waited for
        self._commands = ThreadPoolExecutor(1, initializer=os.sched_setaffinity, initargs=(0, {cores[0]}))
        self._innocents: list[Innocent] = []
        self._more = threading.Condition()
        self._crowded, self._until = 0, 0.0
        self._closing = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._grade_innocents, daemon=True)
        self._thread.start()

    def grade(self, case: Case, crowded: bool) -> Future[Aftermath]:
        """Grade a case when its turn has come, if ``crowded`` while innocents are graded beside it."""
        return self._line.submit(self._grade_beside if crowded else self._grade, case)

    def _grade_beside(self, case: Case) -> Aftermath:
        with self._more:
            self._crowded += 1
            self._more.notify_all()
        try:
            return self._grade(case)
        finally:
            with self._more:
                self._crowded -= 1
                self._until = time.monotonic()
                self._more.notify_all()

    def _wanted(self) -> bool:
        """Whether an innocent is to be graded: beside a case that is being graded, or until after one that was."""
        return self._crowded > 0 or (self._innocents[-1].ended if self._innocents else 0.0) < self._until

    def command(self, hand_in: HandIn) -> Future[Said]:
        """Grade a file with the `grade` command when its turn has come."""
        return self._commands.submit(self._command, hand_in)

    def beside(self, started: float, ended: float) -> list[Innocent]:
        """The innocents that were being graded between the two times; waits for the last of them."""
        with self._more:
            self._more.wait_for(lambda: self._error or any(i.ended >= ended for i in self._innocents), timeout=600)
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
        place = self.folder / "innocent"
        while True:
            with self._more:
                self._more.wait_for(lambda: self._closing or self._wanted())
                if self._closing:
                    return
            started = time.monotonic()
            try:
                result = self._innocent.submit(grade, "ex1", INNOCENT, place, within=_INNOCENTS).result()
            except BaseException as error:
                self._error = error
            with self._more:
                if not self._error:
                    self._innocents.append(Innocent(started, time.monotonic(), result))
                self._more.notify_all()
            if self._error:
                return

    def _grade(self, case: Case) -> Aftermath:
        place = self.folder / re.sub(r"\W+", "-", case.title)
        mark = f"mark-{os.urandom(8).hex()}"
        notebook = case.write(place, self.outside.facts(mark))
        process = Path("/proc", str(self._grader.pid))
        (process / "clear_refs").write_text("5")  # sets the peak to what is held now
        started = time.monotonic()
        result = self._hostile.submit(grade, case.exercise, notebook, place / "graded", within=case.within).result()
        ended = time.monotonic()
        (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", (process / "status").read_text(), re.MULTILINE)
        return Aftermath(
            place / "graded",
            result,
            started,
            ended,
            tuple(_leftovers(self._grader, mark)),
            self.outside.visitors(),
            tuple(sorted(path.name for path in self.outside.markers.iterdir())),
            int(peak) << 10,
        )

    def _command(self, hand_in: HandIn) -> Said:
        place = self.folder / re.sub(r"\W+", "-", hand_in.title)
        place.mkdir()
        bystander = place / ".grade" / hand_in.exercise / "classmate" / "result.json"
        bystander.parent.mkdir(parents=True)
        bystander.write_text("{}")
        hand_in.lay(place)
        peak = place / "peak-memory"
        command = [
            sys.executable,
            "-I",
            "-c",
            _STARTER,
            peak,
            GRADE,
            hand_in.exercise,
            "--isolation",
            "bubblewrap",
            "--json",
            "result.json",
            "--",
            hand_in.name,
        ]
        environment = {**self.outside.environment, "COLUMNS": "2000", "TRAP": str(place / "trap")}
        started = time.monotonic()
        process = subprocess.run(
            command,
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        ended = time.monotonic()
        return Said(
            place,
            process.returncode,
            process.stdout,
            started,
            ended,
            int(peak.read_text()) << 10,
            bystander.exists(),
        )


def _settle(core: int, niceness: int) -> None:
    os.sched_setaffinity(0, {core})
    os.nice(niceness)


def _worker(core: int, outside: Outside, niceness: int = 0) -> tuple[ProcessPoolExecutor, psutil.Process]:
    """A process that is bound to a core, with secrets in its environment."""
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_settle, initargs=(core, niceness))
    with mock.patch.dict(os.environ, outside.environment):
        return pool, psutil.Process(pool.submit(os.getpid).result())


def _leftovers(grader: psutil.Process, mark: str) -> Iterator[str]:
    """Processes that the grading process should not have left, by their command lines."""
    for child in grader.children(recursive=True):
        yield f"{child.pid} below the grader: {child.name()}"
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            groups = Path("/proc", str(process.pid), "cgroup").read_text()
        except (psutil.Error, OSError):
            continue
        if mark in command or f"/grade-{grader.pid}-" in groups:
            yield f"{process.pid}: {command}"


@contextmanager
def arena(folder: Path, outside: Outside) -> Iterator[Arena]:
    """An arena for as long as the block lasts; what was graded in it is gone afterwards."""
    there = Arena(folder, outside)
    try:
        yield there
    finally:
        there.close()
        shutil.rmtree(folder, ignore_errors=True)
