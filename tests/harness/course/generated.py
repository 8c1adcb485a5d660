"""A generated course: students with odd names and what they hand in, in the layouts of all course systems. Marks are known."""

from __future__ import annotations

import io
import itertools
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from graders.harness.course.store import Store
from graders.harness.marks import Status
from graders.harness.result import Result
from graders.harness.zoo import Pen, Submission, load
from graders.harness.zoo import replace as replaced
from graders.lesson import LESSON
from tests.hostile import amok

UNTOUCHED = "the assignment as it was handed out"
NAMES = (
    "Ada Lovelace", "Zoë Müller-Ørsted", "=cmd|' /C calc'!A0", "نور الهدى", "李 小龍", "O'Brien, Mary \"Mo\"",
    "<script>alert(1)</script>", "💥 Boom", "a" * 200, "CON", "‮reversed", "trailing dot.",
)  # fmt: skip
FEW_TRAIN = {"ex1": 0.45, "ex2": 0.42, "ex4": 0.06, "ex3": 0.02, "hostile": 0.05}
"""Shares of a course that is graded in minutes."""


@dataclass(frozen=True)
class Known:
    """A notebook with what is wrong with its marks, as far as they are known."""

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
    return {name: _mostly_right(name) for name in LESSON.names} | {"hostile": _hostile()}


def _mostly_right(name: str) -> Iterator[Known]:
    """Nine that are right or have a mistake, one that was never begun, and so on."""
    pen = load(name)
    begun = [s for s in pen.submissions if s.ended == "completed" and s.title != UNTOUCHED and not s.pretrained]
    source = itertools.cycle([_known(pen, submission) for submission in begun])
    if name == "ex3":  # what the zoo says is known for half the steps; a quarter of them is enough to run
        short = Submission("a quarter of the steps", (replaced("train", "range(STEPS)", "range(STEPS // 4)"),))
        source = itertools.repeat(Known(name, nbformat.writes(short.notebook(pen.reference)).encode(), _any_marks))
    untouched = next(_known(pen, submission) for submission in pen.submissions if submission.title == UNTOUCHED)
    while True:
        yield from itertools.islice(source, 9)
        yield untouched


def reference(name: str, count: int) -> list[HandedIn]:
    """Students who hand in the reference solution."""
    pen = load(name)
    known = _known(pen, pen.submissions[0])
    marked = [replace(known, content=_marked(known.content, f"{number}")) for number in range(count)]
    return [HandedIn(n + 1, NAMES[n % len(NAMES)], (one,), late=False) for n, one in enumerate(marked)]


def _hostile() -> Iterator[Known]:
    solution = load("ex1").reference
    cases = [c for c in amok.CASES if c.exercise == "ex1" and c.kept and "timeout" not in c.ended]
    return itertools.cycle([Known("ex1", _with_attack(solution, case.attack), _full_marks) for case in cases])


def _known(pen: Pen, submission: Submission) -> Known:
    return Known(pen.exercise, nbformat.writes(submission.notebook(pen.reference)).encode(), _verdicts(submission))


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


def _any_marks(store: Store, student: str) -> list[str]:
    return [] if _last(store, student) else ["no result"]


def _full_marks(store: Store, student: str) -> list[str]:
    result = _last(store, student)
    return (
        [] if result and result.score == result.max_score else [f"{result.score if result else 'no'} points, not all"]
    )


def _last(store: Store, student: str) -> Result | None:
    mine = [stored for stored in store.attempts() if stored.student.id == student and stored.status is not None]
    stored = max(mine, key=lambda stored: stored.number, default=None)
    return stored.result if stored and stored.status is Status.GRADED else None


def course(count: int, shares: Mapping[str, float]) -> list[HandedIn]:
    """Students with all that they hand in, by shares of each kind; every twentieth has tried before, every tenth is late."""
    source = notebooks()
    kinds = [kind for kind, share in shares.items() for _ in range(max(1, round(share * count)))][:count]
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
