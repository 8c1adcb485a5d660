"""A generated course, graded twice: straight through, and killed on the way. Every mark is known.

    python -m tests.harness.course.benchmark --hand-ins 300 --kills 10

Prints hand-ins per hour, peak memory, seconds to score again, and every mark that is not what it has to be.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_markdown_cell
from rich.console import Console
from rich.table import Table

from graders.harness.course.store import Store
from graders.harness.marks import Status
from graders.harness.result import Result
from graders.harness.zoo import Submission, load
from tests.hostile import amok

CHECKOUT = Path(__file__).parents[3]
GRADE = Path(sys.executable).with_name("grade")
NAMES = (
    "Ada Lovelace", "Zoë Müller-Ørsted", "=cmd|' /C calc'!A0", "نور الهدى", "李 小龍", "O'Brien, Mary \"Mo\"",
    "<script>alert(1)</script>", "💥 Boom", "a" * 200, "CON", "‮reversed", "trailing dot.",
)  # fmt: skip
SHARES = {"ex1": 0.72, "ex2": 0.15, "ex4": 0.07, "ex3": 0.01, "hostile": 0.05}


@dataclass(frozen=True)
class Known:
    """A notebook with the verdict that is known for it."""

    exercise: str
    content: bytes
    wrong: Callable[[Store, str], list[str]]


@dataclass(frozen=True)
class HandedIn:
    """What one student hands in, from the first attempt to the last, which counts."""

    number: int
    name: str
    attempts: tuple[Known, ...]
    late: bool


def notebooks() -> dict[str, Iterator[Known]]:
    """Hand-ins of the zoo by exercise, and hostile ones, on and on."""
    known: dict[str, Iterator[Known]] = {}
    for name in ("ex1", "ex2", "ex3", "ex4"):
        pen = load(name, CHECKOUT)
        # What the zoo says of ex3 is known for half the steps only
        chosen = pen.submissions[:1] if name == "ex3" else [s for s in pen.submissions if not s.pretrained]
        known[name] = itertools.cycle(
            [Known(name, nbformat.writes(s.notebook(pen.reference)).encode(), _verdicts(s)) for s in chosen]
        )
    reference = load("ex1", CHECKOUT).reference
    known["hostile"] = itertools.cycle(
        [
            Known("ex1", _with_attack(reference, case.attack), _full_marks)
            for case in amok.CASES
            if case.exercise == "ex1" and case.kept and "timeout" not in case.ended
        ]
    )
    return known


def _with_attack(reference: Path, attack: str | tuple[str, ...]) -> bytes:
    notebook = nbformat.read(reference, 4)
    for source in (attack,) if isinstance(attack, str) else attack:
        notebook.cells.append(new_code_cell(f"OUTSIDE = {{'mark': 'benchmark'}}\n{source}"))
    return nbformat.writes(notebook).encode()


def _verdicts(submission: Submission) -> Callable[[Store, str], list[str]]:
    def wrong(store: Store, student: str) -> list[str]:
        result = _last(store, student)
        return ["no result"] if result is None else submission.false_verdicts(result)

    return wrong


def _full_marks(store: Store, student: str) -> list[str]:
    result = _last(store, student)
    return (
        [] if result and result.score == result.max_score else [f"{result.score if result else 'no'} points, not all"]
    )


def _last(store: Store, student: str) -> Result | None:
    mine = [stored for stored in store.attempts() if stored.student.id == student and stored.status is not None]
    stored = max(mine, key=lambda stored: stored.number, default=None)
    return stored.result if stored and stored.status is Status.GRADED else None


def course(count: int) -> list[HandedIn]:
    """Students with all that they hand in; every twentieth has tried before, every tenth is late."""
    source = notebooks()
    kinds = [kind for kind, share in SHARES.items() for _ in range(max(1, round(share * count)))][:count]
    random.Random(0).shuffle(kinds)
    students = []
    for number, kind in enumerate(kinds):
        last = next(source[kind])
        first = next(source["ex1"]) if number % 20 == 7 and last.exercise == "ex1" else None
        attempts = (first, last) if first and first.content != last.content else (last,)
        content = [replace(a, content=_marked(a.content, f"{number}-{i}")) for i, a in enumerate(attempts)]
        students.append(HandedIn(number + 1, NAMES[number % len(NAMES)], tuple(content), number % 10 == 3))
    return students


def _marked(content: bytes, mark: str) -> bytes:
    """The notebook with a text of its own, as no two students hand in the same bytes."""
    notebook = nbformat.reads(content.decode(), 4)
    notebook.cells.append(new_markdown_cell(f"Handed in as {mark}."))
    return nbformat.writes(notebook).encode()


# --- layouts: the files, and by what each student goes ----------------------------------------------------------


def canvas(student: HandedIn) -> tuple[str, dict[str, bytes]]:
    """`name_LATE_user_attachment_file`."""
    name = "".join(c for c in student.name.lower() if c.isalnum()) or "x"
    late = "_LATE" if student.late else ""
    files = {
        f"{name[:80]}{late}_{student.number}_{1000 * student.number + i}_{a.exercise}-{i}.ipynb": a.content
        for i, a in enumerate(student.attempts)
    }
    return str(student.number), files


def moodle(student: HandedIn) -> tuple[str, dict[str, bytes]]:
    """A folder of the full name and a number."""
    name = student.name.replace("/", "").replace("_", " ")[:100]
    folder = f"{name}_{student.number}_assignsubmission_file"
    files = {f"{folder}/{i}/{a.exercise}.ipynb": a.content for i, a in enumerate(student.attempts)}
    return str(student.number), files


def nbgrader(student: HandedIn) -> tuple[str, dict[str, bytes]]:
    """`submitted/student/assignment/notebook`."""
    last = student.attempts[-1]
    place = f"submitted/student-{student.number}/{last.exercise}"
    files = {f"{place}/{last.exercise}.ipynb": last.content, f"{place}/timestamp.txt": b"2026-11-20 21:14:05 UTC"}
    return f"student-{student.number}", files


def gradescope(student: HandedIn) -> tuple[str, dict[str, bytes]]:
    """A folder for each submission; the list of names is written with the rest."""
    last = student.attempts[-1]
    return f"sid-{student.number}", {f"export/submission_{student.number}/{last.exercise}.ipynb": last.content}


def folders(student: HandedIn) -> tuple[str, dict[str, bytes]]:
    """A folder for each student."""
    name = f"{student.number} {student.name.replace('/', '')[:60]}"
    return name, {f"{name}/try {i}/{a.exercise}.ipynb": a.content for i, a in enumerate(student.attempts)}


def files(student: HandedIn) -> tuple[str, dict[str, bytes]]:
    """A file for each student."""
    last = student.attempts[-1]
    return f"student {student.number}", {f"student {student.number} {last.exercise}.ipynb": last.content}


LAYOUTS = (canvas, moodle, nbgrader, gradescope, folders, files)


def pack(path: Path, layout: Callable[[HandedIn], tuple[str, dict[str, bytes]]], students: list[HandedIn]) -> None:
    """The zip archive that a course system would give."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for student in students:
            for name, content in layout(student)[1].items():
                archive.writestr(name, content)
        if layout is gradescope:
            listed = io.StringIO("---\n")
            listed.seek(0, io.SEEK_END)
            for student in students:
                listed.write(f"submission_{student.number}:\n  :submitters:\n  - :name: {_quoted(student.name)}\n")
                listed.write(f"    :sid: sid-{student.number}\n")
            archive.writestr("export/submission_metadata.yml", listed.getvalue())


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


# --- grading it -------------------------------------------------------------------------------------------------


@dataclass
class Figures:
    """What a whole course took."""

    seconds: float = 0.0
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


def grade(hand_ins: Path, results: Path, log: Path, figures: Figures, kills: list[float]) -> int:
    """Grade, killed after each of these times in seconds; the exit status of the last command."""
    while True:
        limit = kills.pop() if kills else None
        started = time.monotonic()
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
        if process.returncode >= 0:
            return process.returncode


def main() -> None:
    """Make the course, grade it twice, and say what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hand-ins", type=int, default=300)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", choices=["straight", "killed"])
    parser.add_argument("-o", "--output", type=Path, help="keep everything here")
    given = parser.parse_args()
    place = given.output or Path(tempfile.mkdtemp(prefix="grade-course-"))
    place.mkdir(parents=True, exist_ok=True)
    console = Console()
    students = course(given.hand_ins)
    shares = [students[i :: len(LAYOUTS)] for i in range(len(LAYOUTS))]
    for layout, mine in zip(LAYOUTS, shares, strict=True):
        pack(place / f"{layout.__name__}.zip", layout, mine)
    table = Table("course", "hand-ins", "wrong marks", "hand-ins per hour", "peak memory", "scored again in", box=None)
    failed = False
    rng = random.Random(os.urandom(8))
    for way in [given.only] if given.only else ["straight", "killed"]:
        figures, wrong, rescored = Figures(), [], 0.0
        kills = [rng.uniform(5, 90) for _ in range(given.kills)] if way == "killed" else []
        for number, (layout, mine) in enumerate(zip(LAYOUTS, shares, strict=True)):
            results = place / way / layout.__name__
            share = kills[number :: len(LAYOUTS)]
            status = grade(place / f"{layout.__name__}.zip", results, place / f"{way}.log", figures, share)
            store = Store(results)
            wrong += [f"{layout.__name__}: exit status {status}"] if status else []
            for student in mine:
                known = student.attempts[-1].wrong(store, layout(student)[0])
                wrong += [f"{layout.__name__}, student {student.number}: {line}" for line in known]
            console.print(f"{way}, {layout.__name__}: {len(mine)} hand-ins, {len(wrong)} wrong so far")
            if way == "straight":
                started = time.monotonic()
                subprocess.run([GRADE, "rescore", results], stdout=subprocess.DEVNULL, check=True)
                rescored += time.monotonic() - started
        for line in wrong:
            console.print(line, style="red", markup=False)
        failed = failed or bool(wrong)
        table.add_row(
            f"{way}, {figures.kills} times killed" if way == "killed" else way,
            str(len(students)),
            str(len(wrong)),
            f"{len(students) / figures.seconds * 3600:.0f}",
            f"{figures.peak / (1 << 30):.1f} GiB",
            f"{rescored:.0f} s" if rescored else "",
        )
    console.print(table)
    if not given.output:
        shutil.rmtree(place)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
