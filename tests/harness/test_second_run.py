"""The second run of a notebook, compared with the first by the check engine."""

from pathlib import Path
from typing import Any

import pytest

from graders.harness.checking import Checked, run_checks
from graders.harness.result import CheckResult, Outcome
from graders.harness.second_run import Again

RUBRIC = '''
import pytest
from graders.harness.rubric import fail

@pytest.mark.points(4)
def test_double(hand_in, verdict):
    """The double is right"""
    if hand_in["double"] != 2 * hand_in["number"]:
        fail("it is not", expected="the double", hint="multiply", misconception=hand_in.get("slug"))

@pytest.mark.points(2)
def test_square(hand_in, verdict):
    """The square is right"""
    assert not hand_in.get("broken")
    if hand_in["square"] != hand_in["number"] ** 2:
        fail("it is not", expected="the square", hint="multiply")

@pytest.mark.points(3)
def test_other_input(again, verdict):
    """It is right for other numbers, too"""
    again.compare(verdict)
'''


def graded(tmp_path: Path, first: dict[str, Any], second: dict[str, Any], error: str | None = None) -> CheckResult:
    """The check of the second run."""
    rubric = tmp_path / "rubric_run_twice.py"  # pytest caches modules by name
    rubric.write_text(RUBRIC, encoding="utf-8")
    checked: Checked = run_checks(rubric, second)
    assert [check.id for check in checked.checks] == ["double", "square"]
    again = Again(["number", "seed"], error, {check.id: check for check in checked.checks})
    return run_checks(rubric, first, again=again).checks[-1]


RIGHT = {"number": 3, "double": 6, "square": 9}


def test_right_both_times(tmp_path: Path) -> None:
    """What is computed from the input passes."""
    assert graded(tmp_path, RIGHT, {"number": 5, "double": 10, "square": 25}).outcome is Outcome.PASSED


def test_hard_coded(tmp_path: Path) -> None:
    """An answer that holds for the first input only is named, with the inputs that were other ones."""
    check = graded(tmp_path, RIGHT, {"number": 5, "double": 10, "square": 9})
    assert (check.outcome, check.misconception, check.score) == (Outcome.FAILED, "hard-coded", 2)
    assert "number and seed" in check.found
    assert "The square is right" in check.found


def test_wrong_both_times(tmp_path: Path) -> None:
    """A mistake that the first run shows already costs its share here, and nothing is said to be right for other input."""
    first = {"number": 3, "double": 7, "square": 9}
    check = graded(tmp_path, first, {"number": 5, "double": 11, "square": 25})
    assert (check.outcome, check.score, check.max_score) == (Outcome.NOT_REACHED, 1, 3)  # the square is 2 of 6 points
    assert "“The double is right” failed" in check.found
    assert "right" not in check.found.replace("“The double is right”", "")


def test_the_same_mistake_elsewhere(tmp_path: Path) -> None:
    """A mistake that the first run showed at another check is not put down to other input."""
    first = {"number": 3, "double": 7, "square": 9}
    check = graded(tmp_path, first, {"number": 5, "double": 7, "square": 7})
    assert (check.outcome, check.misconception, check.score) == (Outcome.NOT_REACHED, None, 0)


def test_nothing_held(tmp_path: Path) -> None:
    """Where nothing is right, nothing is earned."""
    first = {"number": 3, "double": 7, "square": 0}
    check = graded(tmp_path, first, {"number": 5, "double": 11, "square": 0})
    assert (check.outcome, check.score) == (Outcome.NOT_REACHED, 0)


def test_right_in_the_second_run_only(tmp_path: Path) -> None:
    """What is right for other input alone earns nothing."""
    first = {"number": 3, "double": 7, "square": 0}
    assert graded(tmp_path, first, {"number": 5, "double": 10, "square": 25}).score == 0


def test_fault_in_the_second_run(tmp_path: Path) -> None:
    """What could not be decided in the second run is undecided by its share, and the rest is earned."""
    check = graded(tmp_path, RIGHT, {"number": 5, "double": 10, "square": None, "broken": True})
    assert (check.outcome, check.score, check.max_score, check.undecided) == (Outcome.GRADER_FAULT, 2, 2, 1)


def test_own_misconception_goes_first(tmp_path: Path) -> None:
    """A misconception that a check recognises in the second run says more than that something is hard-coded."""
    second = {"number": 5, "double": 9, "square": 25, "slug": "rank-ignored"}
    assert graded(tmp_path, RIGHT, second).misconception == "rank-ignored"


def test_second_run_stops(tmp_path: Path) -> None:
    """A notebook that stops on other input is told the error, not a list of checks."""
    check = graded(tmp_path, RIGHT, {"number": 5, "double": 10, "square": 9}, error="KeyError: 'x'")
    assert "the notebook stops (KeyError: 'x')" in check.found


@pytest.mark.parametrize("names", [["SEED"], ["IMAGE", "SEED"], ["IMAGE", "CAPTION", "SEED"]])
def test_names_of_inputs(names: list[str], tmp_path: Path) -> None:
    """All changed parameters are named, whatever their number."""
    rubric = tmp_path / "rubric_run_twice.py"  # pytest caches modules by name
    rubric.write_text(RUBRIC, encoding="utf-8")
    checks = {check.id: check for check in run_checks(rubric, RIGHT).checks}
    found = run_checks(rubric, RIGHT, again=Again(names, None, checks)).checks[-1].found
    assert (
        f"{'values' if len(names) > 1 else 'value'} of {', '.join(names[:-1])}{' and ' if len(names) > 1 else ''}{names[-1]},"
        in found
    )
