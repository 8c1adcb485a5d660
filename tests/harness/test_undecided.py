"""Graders that break: whatever happens in a check, nobody earns a point by it, and nobody loses one."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from graders.harness.checking import CheckLimits, run_checks, titles
from graders.harness.hand_in import HandIn
from graders.harness.result import CheckResult, Outcome
from graders.harness.run.evidence import Evidence
from graders.lesson import LESSON
from tests.command import grade
from tests.harness.report.records import save_run

CHECKOUT = Path(__file__).parents[2]
BOUNDS = CheckLimits(seconds=0.5, memory=1 << 30)


def breaks(how: str) -> None:
    """What a check does whose grader is broken."""
    if how == "raises":
        raise RecursionError("a bug")
    if how == "hangs":
        time.sleep(60)
    if how == "wants all memory":
        _ = [bytes(1 << 28) for _ in range(10_000)]


class Sabotage:
    """In place of every check of a rubric one that passes, but for the one that breaks."""

    def __init__(self, check: str = "", how: str = "") -> None:
        self.check, self.how = check, how

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: Any) -> bool:
        if pyfuncitem.name == f"test_{self.check}":
            breaks(self.how)
        return True


@pytest.fixture(scope="module")
def hand_ins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HandIn]:
    """A run of each exercise that left nothing."""
    found = {}
    for name in LESSON.names:
        parameters = {**LESSON.exercise(name).parameters, "DEVICE": "cpu"}
        folder = save_run(tmp_path_factory.mktemp(name), parameters) / "run"
        report = {"ended": "completed", "cell": None, "error": None, "seconds": 1, "peak_memory_bytes": 1}
        (folder / "run.json").write_text(json.dumps(report | {"device": "cpu"}))
        found[name] = HandIn(Evidence(folder), parameters)
    return found


def checked(name: str, hand_in: HandIn, sabotage: Sabotage, only: Collection[str] = ()) -> dict[str, CheckResult]:
    path = CHECKOUT / "graders" / f"{name}.py"
    done = run_checks(path, hand_in, limits=BOUNDS, plugins=[sabotage], only=only)
    return {check.id: check for check in done.checks}


@pytest.mark.parametrize("how", ["raises", "hangs", "wants all memory"])
@pytest.mark.parametrize("name", LESSON.names)
def test_a_check_that_breaks(name: str, how: str, hand_ins: dict[str, HandIn]) -> None:
    """The points of a check that breaks, and of those that need it, are neither given nor lost; no other is touched."""
    whole = checked(name, hand_ins[name], Sabotage())
    needing = {
        id: {other for mark in check.pytestmark if mark.name == "needs" for other in mark.args}
        for id in whole
        for check in [getattr(LESSON.rubric(name), f"test_{id}")]
    }
    for broken in whole:
        touched, before = {broken}, set[str]()
        while touched != before:
            before, touched = touched, touched | {id for id in whole if needing[id] & touched}
        # How it breaks makes no difference to those that it does not touch
        found = checked(name, hand_ins[name], Sabotage(broken, how), () if how == "raises" else touched)
        for id, check in found.items():
            worth = whole[id].max_score
            if id in touched:
                assert (check.outcome, check.score, check.max_score) == (Outcome.GRADER_FAULT, 0, 0), (broken, id)
                assert check.undecided == worth
            else:
                assert (check.score, check.max_score, check.undecided) == (worth, worth, 0), (broken, id)


def test_every_check_is_tried(hand_ins: dict[str, HandIn]) -> None:
    """The list of checks that are broken above is that of the rubric, but for the one that needs a second run."""
    for name, hand_in in hand_ins.items():
        module = LESSON.rubric(name)
        assert {*checked(name, hand_in, Sabotage())} == {*titles(module)} - {*titles(module, "again")}


def rows(path: Path) -> list[dict[str, str]]:
    return [*csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())]


# The gradients that exercise 2's checks compute are no sooner there the second time; what exercise 1 asks for is known by then.
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_a_batch_whose_graders_break(tmp_path: Path) -> None:
    """No file for a course system has a number where a grader broke, the report begins with it, and rescoring decides."""
    (tmp_path / "hand-ins" / "ada").mkdir(parents=True)
    shutil.copy(CHECKOUT / "reference_solutions" / "ex2.ipynb", tmp_path / "hand-ins" / "ada")
    results = tmp_path / "results"
    batch = grade("batch", "hand-ins", "-o", results, "--check-limit", "0.001", "--jobs", 1, folder=tmp_path)
    assert batch.status == 3, batch.printed
    assert "points undecided" in batch.stdout
    (row,) = rows(results / "gradebooks" / "gradebook.csv")
    assert (row["ex2_score"], row["total"]) == ("", "")
    assert float(row["ex2_undecided"]) > 0
    (row,) = rows(results / "gradebooks" / "nbgrader.csv")
    assert row["score"] == ""
    (scores,) = (results / "gradebooks" / "gradescope").rglob("*.json")
    assert '"score"' not in scores.read_text()
    before, _, after = (results / "report.html").read_text().partition("Undecided, because the grader failed")
    assert after
    assert "What cost points" not in before
    (page,) = (results / "feedback").rglob("feedback.md")
    assert "undecided" in page.read_text()

    rescored = grade("rescore", results, folder=tmp_path)
    assert rescored.status == 1, rescored.printed  # its written answer is unread
    (row,) = rows(results / "gradebooks" / "gradebook.csv")
    assert (row["ex2_score"], row["ex2_undecided"]) == ("25", "")


def test_grading_ones_own(tmp_path: Path) -> None:
    """A student whose grader breaks reads how many points are decided and how many are not, and the exit status is 3."""
    notebook = CHECKOUT / "reference_solutions" / "ex2.ipynb"
    ran = grade("ex2", notebook, "--check-limit", "0.001", "--json", "result.json", folder=tmp_path)
    assert ran.status == 3, ran.printed
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["undecided"] > 0
    assert result["score"] == result["max_score"] == round(25 - result["undecided"], 2)
    assert result["final"] is False
    assert (
        f"Score: {result['score']:g} of {result['max_score']:g}, {result['undecided']:g} points undecided" in ran.stdout
    )
