"""The same right hand-ins of exercises 1 and 2 graded by nbgrader, by otter-grader and by `grade batch`, in turn.

    python -m tests.harness.course.peers --rounds 2

Prints seconds per hand-in and how many times as long the others take, on one core and on two, with the spread over the
rounds; and the floor: the seconds that the cells of the notebook themselves take in both of our runs. The others run
a notebook once, without a sandbox, and test it with a few assertions; they start afresh for each hand-in, so that some are
enough to tell how long they take, while ours are a whole class. nbgrader and otter use one core, whatever there is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell
from rich.console import Console
from rich.table import Table

from graders.harness.run import notebook as notebooks
from graders.lesson import LESSON

CHECKOUT = Path(__file__).parents[3]
GRADE = Path(sys.executable).with_name("grade")
PEERS = ("nbgrader==0.9.6", "otter-grader==7.0.0")
ASSERTIONS = {
    "ex1": (
        "assert len(cross_attention_layers) == 64",
        "assert unet_param_count == 859_520_964",
        "assert lora_param_counts[16] == 4 * lora_param_counts[4]",
        "assert abs(lora_fraction[4] * unet_param_count - lora_param_counts[4]) < 1",
    ),
    "ex2": (
        "assert torch.allclose(z_t, alpha_bar**0.5 * z_0 + (1 - alpha_bar) ** 0.5 * noise, atol=1e-5)",
        "assert torch.isfinite(loss) and abs(F.mse_loss(noise_pred, noise) - loss) < 1e-6",
        "assert all(p.grad is None for name, p in unet.named_parameters() if 'lora_' not in name)",
        "assert all(p.grad is not None for p in lora_parameters)",
    ),
}


class Peers:
    """The other graders, in a virtual environment of theirs, which sees the libraries of this one."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        if not (folder / "made").is_file():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([self.programs / "pip", "install", "--quiet", *PEERS], check=True)
            (packages,) = folder.glob("lib/python*/site-packages")
            (packages / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])
            (folder / "made").touch()

    def nbgrader(self, exercise: str, folder: Path, hand_ins: int) -> None:
        """A course with so many hand-ins, graded by one command; raises if any has not all points."""
        notebook = _with_parameters(exercise)
        for number, assertion in enumerate(ASSERTIONS[exercise]):
            cell = new_code_cell(assertion)
            facts = {"grade": True, "grade_id": f"test{number}", "locked": True, "points": 1, "schema_version": 3}
            cell.metadata["nbgrader"] = {**facts, "solution": False, "task": False, "cell_type": "code"}
            notebook.cells.append(cell)
        _write(notebook, folder / "source" / exercise / f"{exercise}.ipynb")
        for number in range(hand_ins):
            _write(notebook, folder / "submitted" / f"student{number}" / exercise / f"{exercise}.ipynb")
        (folder / "nbgrader_config.py").write_text(
            "c = get_config()\nc.CourseDirectory.course_id = 'course'\nc.ClearSolutions.enforce_metadata = False\n"
        )
        self._run(folder, "nbgrader", "generate_assignment", exercise, "--create")

    def grade_with_nbgrader(self, exercise: str, folder: Path) -> None:
        """Grade a course that was set up."""
        self._run(folder, "nbgrader", "autograde", exercise, "--force")
        self._run(folder, "nbgrader", "export")
        rows = (folder / "grades.csv").read_text().splitlines()[1:]
        scores = {float(row.split(",")[9]) for row in rows}
        assert scores == {float(len(ASSERTIONS[exercise]))}, scores

    def otter(self, exercise: str, folder: Path, hand_ins: int) -> None:
        """So many hand-ins, and the tests for them."""
        cases = [{"code": f">>> {line}\n", "hidden": False, "locked": False} for line in ASSERTIONS[exercise]]
        suite = {"cases": cases, "scored": True, "setup": "", "teardown": "", "type": "doctest"}
        tests = folder / "tests" / "q1.py"
        tests.parent.mkdir(parents=True)
        tests.write_text(f"OK_FORMAT = True\ntest = { ({'name': 'q1', 'points': 1, 'suites': [suite]})!r}\n")
        for number in range(hand_ins):
            _write(_with_parameters(exercise), folder / f"student{number}.ipynb")
        self._run(folder, "otter", "generate", "-t", "tests", "-o", "autograder.zip", "--no-environment")

    def grade_with_otter(self, exercise: str, folder: Path) -> None:
        """Grade hand-ins that were set up, one after the other, which is what `otter run` is made for."""
        for path in sorted(folder.glob("student*.ipynb")):
            self._run(folder, "otter", "run", path.name, "-a", "autograder.zip", "--no-logo")
            tests = json.loads((folder / "results.json").read_text())["tests"]
            assert all(test.get("score", 1.0) == test.get("max_score", 1.0) for test in tests), tests

    def _run(self, folder: Path, program: str, *arguments: str) -> None:
        environment = {**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}"}
        done = subprocess.run(
            [self.programs / program, *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr  # written answers are unread


def _with_parameters(exercise: str) -> nbformat.NotebookNode:
    """The reference solution with the values that the grader gives it."""
    solution = notebooks.read(CHECKOUT / "reference_solutions" / f"{exercise}.ipynb")
    given = {**LESSON.exercise(exercise).parameters, "DEVICE": "cpu", "OUTPUT_DIR": "output"}
    notebook = notebooks.inject(solution, given)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def _write(notebook: nbformat.NotebookNode, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def _ours(exercise: str, folder: Path, hand_ins: int) -> None:
    solution = CHECKOUT / "reference_solutions" / f"{exercise}.ipynb"
    for number in range(hand_ins):
        place = folder / "hand-ins" / f"student{number}"
        place.mkdir(parents=True)
        shutil.copy(solution, place / f"{exercise}.ipynb")


def _grade_with_ours(exercise: str, folder: Path) -> None:
    shutil.rmtree(folder / "results", ignore_errors=True)
    command = [GRADE, "batch", "hand-ins", "--output", "results"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr  # written answers are unread


def _floor(exercise: str, folder: Path) -> float:
    """Seconds that the cells of the notebook took in both runs, in the median over the hand-ins."""
    graded = (folder / "results" / "hand-ins").glob(f"*/{exercise}/*/graded")
    return statistics.median(
        sum(json.loads(path.read_text())["seconds"] for path in place.glob("*/run.json")) for place in graded
    )


def _timed(cores: int, act: Callable[[], None]) -> float:
    """Seconds on so many cores."""
    free = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(free)[:cores])
    try:
        started = time.monotonic()
        act()
        return time.monotonic() - started
    finally:
        os.sched_setaffinity(0, free)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=2, help="How often each is measured.")
    parser.add_argument("--class-size", type=int, default=100, help="Hand-ins that `grade batch` is given at once.")
    parser.add_argument("--sample", type=int, default=3, help="Hand-ins that the others are given.")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / ".grade" / "peers", help="Where all of it is made.")
    given = parser.parse_args()
    peers = Peers(given.folder / "environment")
    console = Console()
    console.print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    table = Table("exercise", "cores", "grader", "s per hand-in", "times ours", box=None)
    for exercise in ASSERTIONS:
        place = given.folder / exercise
        shutil.rmtree(place, ignore_errors=True)
        peers.nbgrader(exercise, place / "nbgrader", given.sample)
        peers.otter(exercise, place / "otter", given.sample)
        _ours(exercise, place / "ours", given.class_size)
        graders = {
            "nbgrader": (given.sample, peers.grade_with_nbgrader),
            "otter": (given.sample, peers.grade_with_otter),
            "ours": (given.class_size, _grade_with_ours),
        }
        for cores in (1, 2):
            seconds: dict[str, list[float]] = {name: [] for name in graders}
            for number in range(given.rounds):
                for name, (hand_ins, grade) in graders.items():
                    each = _timed(cores, partial(grade, exercise, place / name)) / hand_ins
                    seconds[name].append(each)
                    console.print(f"{exercise}, {cores} cores, round {number + 1}, {name}: {each:.2f} s")
            for name, taken in seconds.items():
                ratios = [theirs / ours for theirs, ours in zip(taken, seconds["ours"], strict=True)]
                spread = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
                table.add_row(exercise, f"{cores}", name, f"{statistics.median(taken):.2f}", spread)
            floor = _floor(exercise, place / "ours")
            table.add_row(exercise, f"{cores}", "the cells themselves", f"{floor:.2f}", "")
    console.print(table)


if __name__ == "__main__":
    main()
