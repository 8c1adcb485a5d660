"""How long a generated course takes, and whether every mark is right: straight through, and killed on the way.

    python -m tests.harness.course.benchmark --mix 80 --hand-ins 300 --kills 10

For each exercise, hand-ins as a class has them (one in ten never begun, one in twenty hostile; of exercise 3 with a quarter of
the steps, and a few with all): hand-ins an hour, seconds and processor seconds for each, and what is not the notebook's own
computing. Then a course of exercises 1 and 2 with a few of the others, in all layouts, twice: every mark that is not what it
has to be, the time to score all again, and whatever is left on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Column, Table

from graders.harness.course.store import Store
from graders.lesson import LESSON
from tests.harness.course import generated
from tests.harness.course.generated import FEW_TRAIN, LAYOUTS, HandedIn, folders, pack
from tests.patience import PATIENCE

GRADE = Path(sys.executable).with_name("grade")
WHOLE = 5
"""Hand-ins of exercise 3 with all steps."""


@dataclass
class Figures:
    """What a whole course took."""

    seconds: float = 0.0
    processor: float = 0.0
    """Seconds that the machine's cores were busy."""
    peak: int = 0
    kills: int = 0


def _memory(process: psutil.Process) -> int:
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def grade(hand_ins: Path, results: Path, log: Path, figures: Figures, kills: list[float]) -> int:
    """Grade, killed after each of these times in seconds; the exit status of the last command."""
    while True:
        limit = kills.pop() if kills else None
        started, busy = time.monotonic(), _busy()
        with log.open("a") as file:
            process = subprocess.Popen([GRADE, "batch", hand_ins, "-o", results], stdout=file, stderr=file)
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            with_children = _memory(seen)
            figures.peak = max(figures.peak, with_children)
            if limit is not None and time.monotonic() - started > limit:
                process.kill()
                process.wait()
                figures.kills += 1
                break
            time.sleep(0.5)
        figures.seconds += time.monotonic() - started
        figures.processor += _busy() - busy
        if process.returncode >= 0:
            return process.returncode


def left_behind() -> Iterator[str]:
    """Processes, control groups, mounts and temporary files of the graders."""
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if process.pid != os.getpid() and ("graders.harness" in command or f"{GRADE}" in command):
            yield f"process {process.pid}: {command[:100]}"
    yield from (f"control group {path}" for path in Path("/sys/fs/cgroup").rglob("grade-*"))
    yield from (f"mount {line}" for line in Path("/proc/self/mounts").read_text().splitlines() if "/grade-" in line)
    temporary = Path(tempfile.gettempdir())
    yield from (f"{path}" for path in temporary.glob("grade-*") if "-course-" not in path.name)


def mix(count: int, place: Path, console: Console) -> None:
    """Grade hand-ins for each exercise, and say what that took."""
    right = (
        Column(title, justify="right")
        for title in ("hand-ins", "an hour", "median", "95 %", "cores", "peak", "not its own")
    )
    table = Table("exercise", *right, box=None)
    classes = {
        name: generated.course(count // len(LESSON.names), {name: 0.95, "hostile": 0.05}) for name in LESSON.names
    }
    rows = [(name, name, students) for name, students in classes.items()]
    for title, name, students in [*rows, ("ex3, all steps", "ex3", generated.reference("ex3", WHOLE))]:
        here = place / title
        here.mkdir(parents=True, exist_ok=True)
        pack(here / "hand-ins.zip", folders, students)
        figures = Figures()
        if status := grade(here / "hand-ins.zip", here / "results", here / "log", figures, []):
            console.print(f"{title}: exit status {status}, see {here / 'log'}", style="red")
        graded = [stored for stored in Store(here / "results").attempts() if stored.exercise == name and stored.result]
        seconds, own = zip(*(_seconds(stored.graded) for stored in graded), strict=True)
        beyond = sum(seconds) - sum(own)
        table.add_row(
            title,
            f"{len(students)}",
            f"{len(students) / figures.seconds * 3600:.0f}",
            f"{statistics.median(seconds):.1f} s",
            f"{sorted(seconds)[int(0.95 * (len(seconds) - 1))]:.1f} s",
            f"{figures.processor / len(students):.1f} s",
            f"{figures.peak / (1 << 30):.1f} GiB",
            f"{beyond / len(seconds):.1f} s ({beyond / sum(seconds):.0%})",
        )
    console.print(table)


def _seconds(graded: Path) -> tuple[float, float]:
    """How long a hand-in took, and how much of that its own cells did, in both runs."""
    result = json.loads((graded / "result.json").read_text())
    runs = [json.loads(path.read_text())["seconds"] for path in graded.glob("*/run.json")]
    return sum(result["timings"].values()), sum(runs)


def course(given: argparse.Namespace, place: Path, console: Console) -> bool:
    """Grade a course straight through and killed on the way; whether every mark is right and nothing is left."""
    students = generated.course(given.hand_ins, FEW_TRAIN)
    shares = [students[i :: len(LAYOUTS)] for i in range(len(LAYOUTS))]
    for layout, mine in zip(LAYOUTS, shares, strict=True):
        pack(place / f"{layout.__name__}.zip", layout, mine)
    table = Table("course", "hand-ins", "wrong marks", "hand-ins per hour", "peak memory", "scored again in", box=None)
    right = True
    for way in ("straight", "killed"):
        if given.only in (way, None):
            row, wrong = _way(way, given, shares, place, console)
            table.add_row(*row)
            for line in wrong:
                console.print(line, style="red", markup=False)
            right = right and not wrong
    console.print(table)
    return right


def _way(
    way: str, given: argparse.Namespace, shares: Sequence[list[HandedIn]], place: Path, console: Console
) -> tuple[list[str], list[str]]:
    rng = random.Random(os.urandom(8))
    figures, wrong, rescored = Figures(), [], 0.0
    kills = [rng.uniform(5, 45) for _ in range(given.kills)] if way == "killed" else []
    before = set(left_behind())
    for number, (layout, mine) in enumerate(zip(LAYOUTS, shares, strict=True)):
        results = place / way / layout.__name__
        share = kills[number :: len(LAYOUTS)]
        status = grade(place / f"{layout.__name__}.zip", results, place / f"{way}.log", figures, share)
        store = Store(results)
        wrong += [f"{layout.__name__}: exit status {status}"] if status not in (0, 1) else []
        for student in mine:
            known = student.attempts[-1].wrong(store, layout(student)[0])
            wrong += [f"{layout.__name__}, student {student.number}: {line}" for line in known]
        console.print(f"{way}, {layout.__name__}: {len(mine)} hand-ins, {len(wrong)} wrong so far")
        if way == "straight":
            started = time.monotonic()
            subprocess.run([GRADE, "rescore", results], stdout=subprocess.DEVNULL, check=False)
            rescored += time.monotonic() - started
    end = time.monotonic() + PATIENCE  # what workers were forked from ends a moment after the command
    left = {*left_behind()} - before
    while any(what.startswith("process ") for what in left) and time.monotonic() < end:
        time.sleep(0.5)
        left = {*left_behind()} - before
    wrong += [f"left: {what}" for what in sorted(left)]
    count = sum(len(mine) for mine in shares)
    row = [
        f"{way}, {figures.kills} times killed" if way == "killed" else way,
        f"{count}",
        f"{len(wrong)}",
        f"{count / figures.seconds * 3600:.0f}",
        f"{figures.peak / (1 << 30):.1f} GiB",
        f"{rescored:.0f} s" if rescored else "",
    ]
    return row, wrong


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mix", type=int, default=80, help="Hand-ins of all exercises together that are timed.")
    parser.add_argument("--hand-ins", type=int, default=300, help="Hand-ins of the course whose marks are known.")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", choices=["mix", "straight", "killed"])
    parser.add_argument("-o", "--output", type=Path, help="Keep everything here, and go on with what is there.")
    given = parser.parse_args()
    place = given.output or Path(tempfile.mkdtemp(prefix="grade-course-"))
    place.mkdir(parents=True, exist_ok=True)
    console = Console()
    if given.only in ("mix", None):
        mix(given.mix, place, console)
    right = given.only == "mix" or course(given, place, console)
    if not given.output:
        shutil.rmtree(place)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
