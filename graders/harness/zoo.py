"""The zoo: hand-ins with known outcomes, graded for real, and every verdict compared with what is known."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import nbformat
import torch
from nbformat import NotebookNode

from graders.harness import lessons
from graders.harness.checking import titles
from graders.harness.course.once import grade_once
from graders.harness.errors import ExplainedError
from graders.harness.release import without_solutions
from graders.harness.result import Outcome, Result
from graders.harness.result import load as load_result
from graders.harness.run.cores import cores
from graders.harness.run.evidence import Evidence

Change = Callable[[NotebookNode], None]


class ZooError(ExplainedError):
    """There is no zoo where one was looked for."""


@dataclass(frozen=True)
class Submission:
    """A hand-in and what must be said of it.

    Every check that is not named must pass. ``fails`` maps a check to the misconception that its feedback must name
    (None for a failure that has no name). ``may_fail`` lists checks whose outcome is a matter of luck.
    """

    title: str
    changes: tuple[Change, ...]
    fails: Mapping[str, str | None] = field(default_factory=dict)
    not_reached: tuple[str, ...] = ()
    may_fail: tuple[str, ...] = ()
    pretrained: bool = False
    """Start from the adapters and losses of the reference solution's run, to test what comes after training."""
    ended: str = "completed"
    sampled: bool = False
    """Graded by `make test`, too, and not only by `grade zoo`."""

    @property
    def right(self) -> bool:
        """Whether it must get full marks."""
        return not (self.fails or self.not_reached)

    def notebook(self, reference: Path, *first: Change) -> NotebookNode:
        """The hand-in as a notebook: the reference solution, changed."""
        notebook = nbformat.read(reference, as_version=4)
        for change in (*first, *self.changes):
            change(notebook)
        return notebook

    def false_verdicts(self, result: Result) -> list[str]:
        """What the graders said that is not so, a line each.

        A check that compares two runs is not reached, unless it is named, where a check that it looks at is wrong.
        """
        wrong = []
        module = lessons.meant().rubric(result.exercise)
        looked_at = module.EXERCISE.checked_again or titles(module)
        spoilt = titles(module, "again") if {*self.fails, *self.not_reached} & {*looked_at} else ()
        perhaps = titles(module, "again") if {*self.may_fail} & {*looked_at} else ()
        if result.run["ended"] != self.ended:
            wrong.append(f"the run ended as {result.run['ended']}, not {self.ended}: {result.run['error']}")
        unknown = {*self.fails, *self.not_reached, *self.may_fail} - {check.id for check in result.checks}
        wrong += [f"there is no check {name}" for name in sorted(unknown)]
        for check in result.checks:
            expected = {Outcome.PASSED} if check.max_score else {Outcome.AWAITING_REVIEW}
            if check.id in self.fails:
                expected = {Outcome.FAILED}
            elif check.id in self.not_reached or check.id in spoilt:
                expected = {Outcome.NOT_REACHED}
            if check.id in self.may_fail:
                expected |= {Outcome.PASSED, Outcome.FAILED}
            if check.id in perhaps:
                expected |= {Outcome.PASSED, Outcome.NOT_REACHED}
            if check.outcome not in expected:
                wrong.append(f"{check.id} is {check.outcome}, not {' or '.join(sorted(expected))}: {check.found}")
            elif check.outcome is Outcome.FAILED and check.id in self.fails:
                meant = self.fails[check.id]
                if check.misconception != meant:
                    wrong.append(f"{check.id} names {check.misconception}, not {meant}: {check.found}")
        if self.right and result.exit_status != 0:
            wrong.append(f"{result.score:g} of {result.max_score:g} points for a hand-in that is right")
        return wrong


# --- changes of a reference solution ------------------------------------------------------------------------


def cell(notebook: NotebookNode, cell_id: str) -> NotebookNode:
    """A cell of the reference solution by its id."""
    return next(c for c in notebook.cells if c.id == cell_id)


def replace(cell_id: str, *pairs: str) -> Change:
    """Replace text in a cell: old, new, old, new … Each old text must be there exactly once."""

    def change(notebook: NotebookNode) -> None:
        target = cell(notebook, cell_id)
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert target.source.count(old) == 1, f"{old!r} is in {cell_id} {target.source.count(old)} times"
            target.source = target.source.replace(old, new)

    return change


def rewrite(cell_id: str, source: str) -> Change:
    """Give a cell another source."""

    def change(notebook: NotebookNode) -> None:
        cell(notebook, cell_id).source = source.strip("\n")

    return change


def append(cell_id: str, source: str) -> Change:
    """Add lines to a cell."""

    def change(notebook: NotebookNode) -> None:
        cell(notebook, cell_id).source += "\n" + source.strip("\n")

    return change


def strip_solutions(notebook: NotebookNode) -> None:
    """Turn the reference solution into the assignment."""
    notebook.cells = without_solutions(notebook).cells


# --- grading them -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pen:
    """The zoo of one exercise: its hand-ins, of which the first is the reference solution itself.

    They are graded with ``parameters``; what the cell ``trained_in`` left in the reference solution's run is where the
    ``pretrained`` ones start.
    """

    exercise: str
    reference: Path
    submissions: tuple[Submission, ...]
    parameters: Mapping[str, Any]
    trained_in: str


@dataclass(frozen=True)
class Graded:
    """A hand-in of the zoo and what the graders said of it."""

    exercise: str
    submission: Submission
    result: Result
    folder: Path
    """Where the notebook and what it left are kept."""

    @property
    def false_verdicts(self) -> list[str]:
        """What is not so."""
        return self.submission.false_verdicts(self.result)


def reference_of(exercise: str) -> Path:
    """The reference solution of an exercise; :class:`ZooError` if it is not on this machine."""
    return _there(lessons.meant().solutions, f"{exercise}.ipynb", "reference solution")


def load(exercise: str) -> Pen:
    """The zoo of an exercise: `RIGHT`, `WRONG` and, where need be, `PARAMETERS` and `TRAINED_IN` of its module.

    Raises :class:`ZooError` if the lesson has none on this machine.
    """
    lesson, reference = lessons.meant(), reference_of(exercise)
    source = _there(lesson.zoo, f"{exercise}.py", "zoo")
    spec = importlib.util.spec_from_file_location(f"zoo_of_{exercise}", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        own = (*module.RIGHT, *module.WRONG)
    except Exception as error:  # it is code, and may do anything
        raise ZooError(f"{source} cannot be used ({type(error).__name__}: {error}).", "Mend it there.") from error
    submissions = (Submission("the reference solution", (), sampled=True), *own)
    device = {"DEVICE": "cpu"} if "DEVICE" in lesson.exercise(exercise).parameters else {}
    parameters = {**device, **getattr(module, "PARAMETERS", {})}
    return Pen(exercise, reference, submissions, parameters, getattr(module, "TRAINED_IN", ""))


def _there(folder: Path | None, name: str, what: str) -> Path:
    """A file that lies with an author of the lesson, and not in its package."""
    if folder is None or not (folder / name).is_file():
        where = f": there is no {folder / name}" if folder else ""
        raise ZooError(
            f"The lesson {lessons.meant().name} has no {what} of {name.partition('.')[0]} here{where}.",
            "Give a checkout of the lesson: --lesson PATH",
        )
    return folder / name


class Keeper:
    """Grades hand-ins side by side, each in a worker process that is bound to one core.

    What was run in ``folder`` before is not run again; if the graders have changed since, it is only checked again.
    """

    def __init__(self, folder: Path, workers: int | None = None) -> None:
        self.folder = folder
        context = multiprocessing.get_context("spawn")
        places = context.Queue()
        bound = cores()[:workers]
        for core in bound:
            places.put(core)
        self._workers = ProcessPoolExecutor(len(bound), context, initializer=_bind, initargs=(places,))
        self._waiting = ThreadPoolExecutor(1000)  # a thread for each hand-in, which waits for a worker

    def grade(self, pen: Pen, chosen: Sequence[Submission]) -> dict[str, Future[Graded]]:
        """The chosen hand-ins, by title, graded as soon as a worker is free; those that start from the reference last."""
        graded: dict[str, Future[Graded]] = {}
        wanted = [s for s in chosen if not s.pretrained]
        if len(wanted) < len(chosen) and pen.submissions[0] not in wanted:
            wanted.insert(0, pen.submissions[0])
        for submission in [*wanted, *(s for s in chosen if s.pretrained)]:
            if submission.title in graded:
                continue
            first = graded[pen.submissions[0].title] if submission.pretrained else None
            graded[submission.title] = self._waiting.submit(self._grade, pen, submission, first)
        return graded

    def _grade(self, pen: Pen, submission: Submission, reference: Future[Graded] | None) -> Graded:
        start: tuple[Change, ...] = ()
        if reference:
            reference.result()
            start = (_start_from(self._place(pen, pen.submissions[0]) / "graded", pen.trained_in),)
        place = self._place(pen, submission)
        place.mkdir(parents=True, exist_ok=True)
        notebook = place / f"{pen.exercise}.ipynb"
        nbformat.write(submission.notebook(pen.reference, *start), notebook)
        graded = place / "graded"
        self._workers.submit(grade_once, pen.exercise, notebook, graded, dict(pen.parameters)).result()
        return Graded(pen.exercise, submission, load_result(graded / "result.json"), place)

    def _place(self, pen: Pen, submission: Submission) -> Path:
        return self.folder / pen.exercise / re.sub(r"\W+", "-", submission.title)

    def close(self) -> None:
        """Give up what is not graded yet."""
        self._waiting.shutdown(wait=False, cancel_futures=True)
        self._workers.shutdown(cancel_futures=True)


def _bind(places: Queue[int]) -> None:
    """Bind this worker, and the kernels that it starts, to a core of its own."""
    os.sched_setaffinity(0, {places.get()})
    # Several threads on one core spend their time waiting for each other; the kernels read the variable.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def _start_from(graded: Path, cell_id: str) -> Change:
    """The training cell replaced by what it left in the runs of another hand-in."""
    trained = {}
    for run in (graded / "run", graded / "again"):
        losses = Evidence(run).value("losses")
        trained[tuple(losses)] = str(run / "work" / "output"), losses
    return rewrite(
        cell_id,
        f"""
import shutil
trained, losses = {trained!r}[tuple(RANKS)]
shutil.copytree(trained, OUTPUT_DIR, dirs_exist_ok=True)
""",
    )
