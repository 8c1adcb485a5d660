"""From a notebook to its result: run it, then check what it left behind."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from graders.engine import run_checks
from graders.errors import ExplainedError
from graders.exercise import EXERCISES, Exercise, HandIn
from graders.fixtures import catalog
from graders.result import Result
from graders.running.run import Progress, run

TIME_LIMIT = 1800.0
"""Seconds a notebook may take; the slowest reference solution takes about 100 s on two cores."""


class GradingError(ExplainedError):
    """What was given cannot be graded."""


@dataclass(frozen=True)
class Watcher:
    """Who is told how far grading has come."""

    on_run: Callable[[Progress], None] = lambda progress: None
    on_check: Callable[[str], None] = lambda title: None


def module_of(name: str) -> ModuleType:
    """The grader module of an exercise, for example of "ex3"."""
    if name not in EXERCISES:
        raise GradingError(f"There is no exercise {name!r}.", f"Exercises are: {', '.join(EXERCISES)}.")
    return importlib.import_module(f"graders.{name}")


def find_notebook(name: str, folder: Path) -> Path:
    """The notebook of an exercise in ``folder`` or in its ``assignments`` folder."""
    for place in (folder, folder / "assignments"):
        found = sorted(path for path in place.glob(f"{name}*.ipynb") if path.is_file())
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(path.name for path in found)
            raise GradingError(
                f"There are several notebooks for {name}: {listed}.", f"Name one: grade {name} {found[0]}"
            )
    raise GradingError(
        f"There is no notebook {name}*.ipynb in {folder} or in its assignments folder.",
        f"Go to the folder with your notebook, or name it: grade {name} PATH",
    )


def execute(name: str, notebook: Path, run_folder: Path, parameters: Mapping[str, Any], watcher: Watcher) -> HandIn:
    """Run a notebook on the grading fixtures and return what it left behind."""
    exercise: Exercise = module_of(name).EXERCISE
    if not (catalog.ROOT / "manifest.json").is_file():
        raise GradingError(
            f"The fixtures are missing: there is no manifest.json in {catalog.ROOT}.",
            "Install the package again, or make them with: grade fixtures build",
        )
    given = {**exercise.parameters, **parameters}
    evidence = run(
        notebook,
        parameters=given,
        hand_in=dict(exercise.hand_in),
        run_folder=run_folder,
        time_limit=TIME_LIMIT,
        on_progress=watcher.on_run,
    )
    return HandIn(evidence, given)


def check(name: str, hand_in: HandIn, watcher: Watcher) -> tuple[Result, tuple[str, ...]]:
    """Check what a run left behind; returns the result and the log of grader faults."""
    module = module_of(name)
    assert module.__file__ is not None
    checked = run_checks(Path(module.__file__), hand_in, watcher.on_check)
    return Result(name, asdict(hand_in.evidence.run), checked.checks), checked.faults
