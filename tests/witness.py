"""A witness of everything that people and other programs see, for changes that must not change any of it.

    python -m tests.witness record PLACE      runs notebooks: the zoo, the reference solutions, a course of 40
    python -m tests.witness rescore PLACE     checks those runs again
    python -m tests.witness write PLACE TO    writes all that is made of them

`record` takes an hour and a half on two cores and goes on where it stopped. Record and write before the change, score again and
write after it, and compare the two folders with `diff -r`. What a run took is in its record, so that times and memory are the
same in both; the one date that is written is left out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
import torch
from rich.console import Console

from graders.harness import grade as grading
from graders.harness.cli.main import main as grade
from graders.harness.marks import Grade, Record, Status, Student
from graders.harness.report import figures, terminal
from graders.harness.report.html import student_page
from graders.harness.report.markdown import student_markdown
from graders.harness.result import load
from graders.lesson import LESSON
from tests.harness.course import generated

STUDENTS = 40
RULES = ("--attempts", "best", "--due", "2026-11-20T00:00+00:00", "--late-penalty", "10")


def _run(place: Path, *arguments: object) -> None:
    """A `grade` command in a folder; 1 says that not all is settled."""
    command = [sys.executable, "-m", "graders", *map(str, arguments)]
    status = subprocess.run(command, cwd=place, check=False).returncode
    if status not in (0, 1):
        raise SystemExit(f"grade {' '.join(map(str, arguments))}: exit status {status}")


def record(place: Path) -> None:
    """Run everything that has not been run yet."""
    place.mkdir(parents=True, exist_ok=True)
    _run(place, "zoo", "-o", place / "zoo")
    if not (place / ".grade" / "reference").is_dir():
        _run(place, "reference")
    students = generated.course(STUDENTS, generated.FEW_TRAIN)
    for number, layout in enumerate(generated.LAYOUTS):
        archive = place / f"{layout.__name__}.zip"
        if not archive.is_file():
            generated.pack(archive, layout, students[number :: len(generated.LAYOUTS)])
        _run(place, "batch", archive, "-o", place / "course" / layout.__name__, *RULES)


def rescore(place: Path) -> None:
    """Check everything that was recorded with the graders of now."""
    with ProcessPoolExecutor(2, get_context("spawn")) as workers:
        for _ in workers.map(_rescore, _graded(place)):
            print(".", end="", flush=True)
    for layout in generated.LAYOUTS:
        _run(place, "rescore", place / "course" / layout.__name__)


def write(place: Path, to: Path) -> int:
    """Write all that is made of the recorded runs; how many files that is."""
    for folder in _graded(place):
        _hand_in(folder, to / folder.relative_to(place))
    for layout in generated.LAYOUTS:
        results = place / "course" / layout.__name__
        _run(place, "report", results)
        _published(results, to / "course" / layout.__name__)
    _helps(to / "help")
    return sum(path.is_file() for path in to.rglob("*"))


def _graded(place: Path) -> list[Path]:
    """The folders that grading left of the zoo and of the reference solutions."""
    return sorted(path.parent for path in (*place.glob("zoo/*/*/graded/run"), *place.glob(".grade/reference/*/run")))


def _exercise(graded: Path) -> str:
    return next(part[:3] for part in graded.parts[::-1] if re.match(r"ex\d", part))


def _rescore(graded: Path) -> None:
    # As many threads as it was checked with before: sums come out other ones in other orders
    torch.set_num_threads(1 if "zoo" in graded.parts else len(grading.cores()))
    grading.rescore(_exercise(graded), graded)


def _hand_in(graded: Path, to: Path) -> None:
    """A hand-in's result, and what its student would be shown."""
    name = _exercise(graded)
    result = load(graded / "result.json")
    to.mkdir(parents=True)
    (to / "result.json").write_text(_timeless(graded / "result.json"), encoding="utf-8")
    shown = Grade(name, Status.GRADED, result.max_score + result.undecided, 0.0, result, folder=graded)
    titles = {name: LESSON.exercise(name).title}
    record = Record(Student("1234", "Ada Lovelace"), {name: shown})
    (to / "page.html").write_text(student_page(record, titles, {name: figures.of(shown)}), encoding="utf-8")
    (to / "page.md").write_text(student_markdown(record, titles), encoding="utf-8")
    for verbose in (False, True):
        with (to / f"terminal{'-verbose' if verbose else ''}.txt").open("w", encoding="utf-8") as file:
            terminal.render(result, Console(file=file, width=80), title=titles[name], verbose=verbose)


def _published(results: Path, to: Path) -> None:
    """What a batch writes for people and course systems, archives unpacked, and the results of its hand-ins."""
    for path in (path for path in results.rglob("*") if path.is_file()):
        place = path.relative_to(results)
        if place.parts[0] == "hand-ins" and path.name not in ("result.json", "hand-in.json"):
            continue
        target = to / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(target)
        elif path.name == "junit.xml":
            target.write_text(re.sub(r' timestamp="[^"]*"', "", path.read_text(encoding="utf-8")), encoding="utf-8")
        elif path.suffix == ".json":
            target.write_text(_timeless(path), encoding="utf-8")
        else:
            shutil.copyfile(path, target)


def _timeless(path: Path) -> str:
    """A document without the seconds that each check took, which are others each time."""
    return re.sub(r'"timings": \{[^}]*\},?\s*', "", path.read_text(encoding="utf-8"))


def _helps(to: Path) -> None:
    to.mkdir(parents=True)
    for path, command in _commands("grade", grade):
        with click.Context(command, info_name=path) as context:
            (to / f"{path.replace(' ', '-')}.txt").write_text(command.get_help(context), encoding="utf-8")


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _commands(f"{path} {name}", inner)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", place]:
            record(Path(place).resolve())
        case ["rescore", place]:
            rescore(Path(place).resolve())
        case ["write", place, to]:
            print(f"{write(Path(place).resolve(), Path(to).resolve())} files")
        case _:
            raise SystemExit(__doc__)
