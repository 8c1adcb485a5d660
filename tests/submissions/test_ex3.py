"""Exercise 3, graded for real: every hand-in of the zoo gets the outcome that is known for it."""

import json
import os
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ex3
import nbformat
import pytest
from zoo import Change, Submission, rewrite

from graders.running.evidence import Evidence

REFERENCE = Path(__file__).parents[2] / "reference_solutions" / "ex3.ipynb"
SUBMISSIONS = ex3.RIGHT + ex3.WRONG
STEPS = "STEPS=150"
"""Half of what the exercise asks for: the style is learned in 100 steps, and the zoo is large."""


def start_from(run_folder: Path) -> Change:
    """The training cell replaced by what another run of it left."""
    evidence = Evidence(run_folder)
    return rewrite(
        "train",
        f"""
import shutil
shutil.copytree({str(run_folder / "work" / "output")!r}, OUTPUT_DIR, dirs_exist_ok=True)
losses = {evidence.value("losses")!r}
""",
    )


class Course:
    """Grades hand-ins side by side, one on each core, with the `grade` command that students use."""

    def __init__(self, folder: Path, submissions: list[Submission]) -> None:
        self.folder = folder
        self._cores: queue.Queue[int] = queue.Queue()
        for core in sorted(os.sched_getaffinity(0)):
            self._cores.put(core)
        self._pool = ThreadPoolExecutor(self._cores.qsize())
        self._reference: Future[Any] | None = None
        if any(s.pretrained for s in submissions) or ex3.RIGHT[0] in submissions:
            self._reference = self._pool.submit(self._grade, ex3.RIGHT[0])
        self._graded: dict[str, Future[Any]] = {}
        # Those that start from the reference solution's adapters come last, when it has long been graded.
        for submission in sorted(submissions, key=lambda s: s.pretrained):
            reference = self._reference if submission is ex3.RIGHT[0] else None
            self._graded[submission.title] = reference or self._pool.submit(self._grade, submission)

    def graded(self, submission: Submission) -> Any:
        """Exit status, output and result of one hand-in."""
        return self._graded[submission.title].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _grade(self, submission: Submission) -> tuple[int, str, dict[str, Any]]:
        place = self.folder / str(SUBMISSIONS.index(submission))
        place.mkdir()
        first = ()
        if submission.pretrained:
            assert self._reference is not None
            self._reference.result()
            first = (start_from(self.folder / "0" / ".grade" / "ex3" / "ex3"),)
        nbformat.write(submission.notebook(REFERENCE, *first), place / "ex3.ipynb")
        core = self._cores.get()
        pin: Callable[[], None] = lambda: os.sched_setaffinity(0, {core})  # noqa: E731
        try:
            done = subprocess.run(
                [
                    str(Path(sys.executable).with_name("grade")),
                    "ex3",
                    "--json",
                    "result.json",
                    "--device",
                    "cpu",
                    "-p",
                    STEPS,
                ],
                cwd=place,
                capture_output=True,
                text=True,
                check=False,
                preexec_fn=pin,
            )
        finally:
            self._cores.put(core)
        result = place / "result.json"
        return done.returncode, done.stdout + done.stderr, json.loads(result.read_text()) if result.exists() else {}


@pytest.fixture(scope="session")
def course(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    chosen = [item.callspec.params["submission"] for item in request.session.items if "course" in item.fixturenames]
    course = Course(tmp_path_factory.mktemp("course"), chosen)
    yield course
    course.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("submission", SUBMISSIONS, ids=lambda submission: submission.title)
def test_gets_its_verdict(course: Course, submission: Submission) -> None:
    """Each check of each hand-in ends as it must, and a failed one names the misconception."""
    status, output, result = course.graded(submission)
    assert result, output
    assert result["run"]["ended"] == submission.ended, output
    wrong = []
    for check in result["checks"]:
        name, outcome = check["id"], check["outcome"]
        expected = {"passed"}
        if name in submission.fails:
            expected = {"failed"}
        elif name in submission.not_reached:
            expected = {"not_reached"}
        elif name == "written_answers":
            expected = {"awaiting_review"}
        if name in submission.may_fail:
            expected |= {"passed", "failed"}
        if outcome not in expected:
            wrong.append(f"{name} is {outcome}, not {' or '.join(expected)}: {check['found']}")
        elif outcome == "failed" and name in submission.fails and check["misconception"] != submission.fails[name]:
            wrong.append(f"{name} names {check['misconception']}, not {submission.fails[name]}: {check['found']}")
    assert not wrong, "\n".join([*wrong, output])
    right = not submission.fails
    assert (result["score"] == result["max_score"]) == right
    assert status == (0 if right else 1)
