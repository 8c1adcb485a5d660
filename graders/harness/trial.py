"""A lesson on trial: what its notebooks show, and what its graders say of hand-ins whose outcomes are known.

What the package alone shows has been found by :mod:`graders.harness.validation` when it was loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from graders.harness import zoo
from graders.harness.checking import max_score, titles
from graders.harness.errors import MachineError
from graders.harness.grade import Setting, Watcher, grade
from graders.harness.lesson import Exercise, Lesson
from graders.harness.release import ReleaseError, without_solutions
from graders.harness.result import Result
from graders.harness.run import source
from graders.harness.run.evidence import Evidence
from graders.harness.run.kernel.watchers import FAILED
from graders.harness.run.notebook import PARAMETERS, NotebookError, assigned, has_tag, read
from graders.harness.run.variables import filled
from graders.harness.validation import Fault, exercise_faults

NOTHING = zoo.Submission("the assignment as it is handed out", (zoo.strip_solutions,))
"""Who hands it in has done nothing."""


# --- what its notebooks show --------------------------------------------------------------------------------


def faults(lesson: Lesson, names: Iterable[str]) -> Iterator[tuple[str, Fault]]:
    """What is wrong with the rubrics, notebooks and zoo of these exercises, beside the exercise that it is about.

    With all exercises, the misconceptions as well that no hand-in of the zoo has.
    """
    named = set[str]()
    for name in names:
        try:
            exercise = lesson.exercise(name)
        except Exception as error:
            rubric = lesson.outlines[name].rubric
            yield name, Fault(f"The rubric {rubric} cannot be imported ({type(error).__name__}: {error}).", "Mend it.")
            continue
        for fault in (*_rubric(lesson, exercise), *_notebooks(lesson, exercise)):
            yield name, fault
        try:
            pen = zoo.load(name)
        except zoo.ZooError as error:
            yield name, Fault(error.problem, error.fix)
            continue
        named |= {slug for submission in pen.submissions for slug in submission.fails.values() if slug}
        for fault in _zoo(lesson, pen):
            yield name, fault
    if {*names} == {*lesson.names}:
        for slug in lesson.misconceptions:
            if slug not in named:
                yield (
                    "",
                    Fault(
                        f"No hand-in in the zoo has the misconception {slug}.",
                        "Add one, or take its sentence out of the lesson.",
                    ),
                )


def _rubric(lesson: Lesson, exercise: Exercise) -> Iterator[Fault]:
    """What can be told of an exercise now that it is imported, and could not before."""
    yield from exercise_faults(lesson, exercise)
    rubric = lesson.rubric(exercise.name)
    points, said = max_score(rubric), lesson.outlines[exercise.name].points
    if points != said:
        yield Fault(
            f"The checks of {rubric.__name__} have {points:g} points together, and the lesson says {said:g}.",
            "Mend the points of a check, or `points` in the lesson.",
        )
    for parameters in (exercise.parameters, *exercise.others):
        for fixture in lesson.fixtures.missing(parameters):
            yield Fault(f"A parameter names the fixture {fixture}, which is not there.", lesson.fixtures.remedy)


def _notebooks(lesson: Lesson, exercise: Exercise) -> Iterator[Fault]:
    name = f"{exercise.name}.ipynb"
    solution = (lesson.solutions / name) if lesson.solutions else None
    try:
        assignment = read(lesson.notebooks / name)
        solved = read(solution) if solution else None
        handed_out = without_solutions(solved) if solved else None
    except (NotebookError, ReleaseError) as error:
        yield Fault(f"The notebook {name}: {error.problem}", error.fix)
        return
    if any(has_tag(cell, PARAMETERS) for cell in assignment.cells):
        for parameter in sorted(exercise.parameters.keys() - assigned(assignment, exercise.parameters)):
            yield Fault(
                f"The assignment {name} does not assign {parameter} in its cell of parameters, so it cannot be graded with "
                "another one.",
                f"Assign {parameter} there in the reference solution, then run: grade release",
            )
    else:
        yield Fault(f"No cell of the assignment {name} is tagged `{PARAMETERS}`.", "Tag that which assigns them.")
    if solved is None or handed_out is None:
        return
    for variable in sorted(exercise.hand_in.keys() - filled(source.code(solved))):
        yield Fault(
            f"The reference solution {name} does not assign {variable}, which is to be handed in.",
            "Assign it there, or do not ask for it.",
        )
    if _sources(handed_out) != _sources(assignment):
        yield Fault(f"The assignment {name} is not what its reference solution makes.", "Run: grade release")


def _sources(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells]


def _zoo(lesson: Lesson, pen: zoo.Pen) -> Iterator[Fault]:
    checks = titles(lesson.rubric(pen.exercise))
    for submission in pen.submissions:
        for check in {*submission.fails, *submission.not_reached, *submission.may_fail} - checks.keys():
            yield Fault(
                f"The zoo's hand-in “{submission.title}” is to fail {check}, which is no check.",
                f"There are: {', '.join(checks)}.",
            )
        for slug in submission.fails.values():
            if slug and slug not in lesson.misconceptions:
                yield Fault(
                    f"The zoo's hand-in “{submission.title}” has the misconception {slug}, and there is no sentence for it.",
                    "Add one to `misconceptions` of the lesson.",
                )


# --- what its graders say -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reference:
    """A reference solution, graded with the set number ``other`` of ``of`` sets of other parameters.

    ``times`` are the seconds that each check took, and which it was. ``raised`` is what the lesson's watchers raised first, "" if
    they did not.
    """

    exercise: str
    other: int
    of: int
    result: Result
    times: Sequence[tuple[float, str]]
    raised: str = ""

    @property
    def right(self) -> bool:
        """Whether it got full marks, and the watchers saw it."""
        return self.result.exit_status == 0 and not self.raised

    @property
    def parameters(self) -> str:
        """In words, which parameters it was graded with."""
        return f", parameters {self.other + 1} of {self.of}" if self.of > 1 else ""


def references(
    lesson: Lesson,
    names: Iterable[str],
    folder: Path,
    parameters: Mapping[str, Any],
    within: Setting,
    watched: Callable[[str], AbstractContextManager[Watcher]],
) -> Iterator[Reference]:
    """Grade the reference solutions with every set of parameters that hand-ins may meet, each in a ``folder`` of its own."""
    for name in names:
        notebook = zoo.reference_of(name)
        others = lesson.exercise(name).others
        for other in range(max(1, len(others))):
            with watched(name) as watcher:
                timed = _Timed(watcher.on_check, name)
                listening = replace(watcher, on_check=timed.on_check)
                place = folder / f"{name}-{other}"
                result = grade(name, notebook, place, parameters, listening, other, within)
                timed.end()
            raised = Evidence(place / "run").seen(FAILED, lambda found, budget: str(found)) or ""
            yield Reference(name, other, len(others), result, timed.times, raised)


class _Timed:
    """How long each check takes, from when it is announced until the next one is."""

    def __init__(self, on_check: Callable[[str], None], exercise: str) -> None:
        self.times: list[tuple[float, str]] = []
        self._tell, self._exercise = on_check, exercise
        self._running: tuple[float, str] | None = None

    def on_check(self, title: str) -> None:
        """A check begins."""
        self.end()
        self._running = time.monotonic(), title
        self._tell(title)

    def end(self) -> None:
        """The check that runs, if one does, has ended."""
        if self._running:
            self.times.append((time.monotonic() - self._running[0], f"{self._exercise}, {self._running[1]}"))
        self._running = None


@dataclass(frozen=True)
class Row:
    """One thing that was tried, and what came of it; ``right`` is None where it could not be tried here."""

    exercise: str
    what: str
    found: str
    right: bool | None


def tried_references(sandboxed: bool, graded: Iterator[Reference]) -> Iterator[Row]:
    """What came of reference solutions. Where there is no sandbox, that is said once."""
    where = "in the sandbox" if sandboxed else "without a sandbox"
    try:
        for one in graded:
            wrong = [f"{check.id}: {check.found}" for check in one.result.checks if check.score < check.max_score]
            wrong += [f"the lesson's watchers, {one.raised}"] if one.raised else []
            found = "\n".join([f"{one.result.score:g} of {one.result.max_score:g} points", *wrong])
            yield Row(one.exercise, f"the reference solution{one.parameters}, {where}", found, one.right)
    except MachineError as error:
        yield Row("", "the sandbox", f"There is none here: {error.problem}", None)


def tried_zoo(names: Iterable[str], keeper: zoo.Keeper, everything: bool) -> Iterator[Row]:
    """What came of the zoo's hand-ins, or of those that are sampled, and of doing nothing."""
    futures: list[Future[zoo.Graded]] = []
    for name in names:
        pen = zoo.load(name)
        chosen = [one for one in pen.submissions[1:] if everything or one.sampled]
        futures += keeper.grade(pen, [*chosen, NOTHING]).values()
    for future in as_completed(futures):
        graded = future.result()
        result = graded.result
        found = f"{result.score:g} of {result.max_score:g} points"
        if graded.submission is NOTHING:
            earned = [check.id for check in result.checks if check.score]
            found += f", for {', '.join(earned)}" if earned else ""
            yield Row(graded.exercise, NOTHING.title, found, not earned)
        else:
            wrong = graded.false_verdicts
            yield Row(graded.exercise, graded.submission.title, "\n".join([found, *wrong]), not wrong)
