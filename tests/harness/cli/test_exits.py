"""A command for a whole course ends with the status that says whether anybody has to do something."""

from __future__ import annotations

from pathlib import Path

import pytest

from graders.harness.cli.exits import SAYS, Exit, of_course, of_error
from graders.harness.course.discovery import DiscoveryError
from graders.harness.data.saving import DiskFullError
from graders.harness.errors import ExplainedError, TroubleError
from graders.harness.machine.promises import PromiseError
from graders.harness.marks import Grade, Gradebook, Record, Status, Student
from graders.harness.result import CheckResult, Outcome, Result
from graders.harness.run.sandbox import IsolationError
from tests.command import grade

RUN = {"ended": "completed", "cell": None, "error": None, "seconds": 3.0, "peak_memory_bytes": 1, "device": "cpu"}


def given(outcome: Outcome = Outcome.PASSED, undecided: float = 0.0, written: float | None = 2.0, **more: str) -> Grade:
    check = CheckResult("style_shift", "The style", outcome, 5.0, 5.0, undecided=undecided)
    return Grade("ex3", Status.GRADED, 5.0, 2.0, Result("ex3", RUN, (check,)), written, **more)  # type: ignore[arg-type]


def without(status: Status, **more: object) -> Grade:
    return Grade("ex3", status, 5.0, 2.0, **more)  # type: ignore[arg-type]


FINAL, REFUSED, TROUBLE = given(), without(Status.REFUSED), without(Status.TROUBLE, note="No kernel.")
TABLE = {
    "all final": ([FINAL, REFUSED, without(Status.MISSING), without(Status.EXEMPT)], (), Exit.FINAL),
    "points undecided": ([FINAL, given(Outcome.AWAITING_REVIEW, undecided=2.0)], (), Exit.OPEN),
    "a written answer unread": ([FINAL, given(written=None)], (), Exit.OPEN),
    "an import to be asked about": ([FINAL, without(Status.TROUBLE, missing=("kornia",))], ("kornia?",), Exit.OPEN),
    "a question": ([FINAL], ("kornia?",), Exit.OPEN),
    "a damaged file": ([FINAL, without(Status.TROUBLE, damage="It is cut short.")], (), Exit.OPEN),
    "nothing but files that are no notebooks": ([REFUSED, without(Status.MISSING)], (), Exit.NOTHING),
    "nobody": ([], (), Exit.NOTHING),
    "the machine": ([FINAL, TROUBLE], (), Exit.FAULT),
    "the graders": ([given(Outcome.GRADER_FAULT, undecided=5.0)], (), Exit.FAULT),
    "the machine beside unread answers": ([given(written=None), TROUBLE], ("kornia?",), Exit.FAULT),
}


@pytest.mark.parametrize(("grades", "questions", "ended"), TABLE.values(), ids=TABLE.keys())
def test_of_a_course(grades: list[Grade], questions: tuple[str, ...], ended: Exit) -> None:
    """What is wrong with any of the grades is said by the status; the machine's fault before what a person has to do."""
    records = tuple(Record(Student(f"{number}"), {"ex3": one}) for number, one in enumerate(grades))
    assert of_course(Gradebook({"ex3": "Exercise 3"}, records), questions) is ended


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (DiscoveryError("There are no hand-ins.", ""), Exit.NOTHING),
        (DiskFullError("The disk is full.", ""), Exit.FAULT),
        (IsolationError("bubblewrap is not installed.", ""), Exit.FAULT),
        (PromiseError("The sandbox does not hold.", ""), Exit.FAULT),
        (TroubleError("The graders' process died.", ""), Exit.FAULT),
    ],
)
def test_of_an_error(error: ExplainedError, ended: Exit) -> None:
    """What was given is told from what the machine could not do."""
    assert of_error(error) is ended


@pytest.mark.parametrize("command", ["batch", "rescore", "report"])
def test_it_is_documented(command: str, tmp_path: Path) -> None:
    """Help and README have the table."""
    said = grade(command, "--help", folder=tmp_path, COLUMNS="100").printed
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    for status, meaning in SAYS.items():
        assert f"  {status:d}  {meaning}\n" in said
        assert f"| `{status:d}` | {meaning} |\n" in readme


def test_nothing_to_grade(tmp_path: Path) -> None:
    """Where there are no hand-ins, the command says so and ends with 2."""
    (tmp_path / "given").mkdir()
    ran = grade("batch", "given", "-o", "results", "--isolation", "none", folder=tmp_path)
    assert (ran.status, "no files in given" in ran.said) == (2, True)
