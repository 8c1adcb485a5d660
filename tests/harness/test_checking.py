"""The check engine, run on small grader modules of its own."""

import sys
import time
from html import unescape
from pathlib import Path
from uuid import uuid4

import pytest

from graders.harness.checking import CheckLimits, run_checks
from graders.harness.live.checker import Live
from graders.harness.live.feedback import page
from graders.harness.result import Outcome, Result

RUBRIC = '''
import time

import pytest
from graders.harness.rubric import LeftToPerson, NotReached, fail

@pytest.fixture(scope="session")
def number(hand_in):
    return hand_in["number"]

@pytest.mark.points(4)
def test_small(number, verdict):
    """The numbers are small

    Because large ones
    are heavy.
    """
    for name, part in verdict.each("number", number):
        value = number[name]
        with part:
            if value == 7:
                raise LeftToPerson("A lucky number?")
            if value > 10:
                fail(f"{value} is large", expected="a small one", hint="take less", misconception="too-large")
            verdict.found(f"{name} is {value}")

@pytest.mark.points(2)
@pytest.mark.needs("small")
def test_even(number, verdict):
    """The numbers are even"""
    for name, part in verdict.each("number", number):
        value = number[name]
        with part:
            if value % 2:
                fail(f"{value} is odd", expected="an even one", hint="add one")

@pytest.mark.points(3)
@pytest.mark.needs("small")
def test_inverse(number, verdict):
    """The first number has an inverse"""
    verdict.found(str(1 / number["a"]))

@pytest.mark.points(0)
def test_essay(verdict):
    """The essay"""
    raise LeftToPerson
'''


@pytest.fixture
def rubric(tmp_path: Path) -> Path:
    path = tmp_path / "rubric.py"
    path.write_text(RUBRIC, encoding="utf-8")
    return path


def changed(rubric: Path, old: str, new: str) -> Path:
    """Another rubric, under another name: pytest caches modules by theirs."""
    assert old in RUBRIC
    other = rubric.with_name(f"rubric_{uuid4().hex}.py")
    other.write_text(RUBRIC.replace(old, new), encoding="utf-8")
    return other


class Practising(dict):
    """A hand-in on a machine that lacks what decides."""

    for_practice = True


def graded(rubric: Path, **number: float):
    return {check.id: check for check in run_checks(rubric, {"number": number}).checks}


def test_everything_right(rubric: Path) -> None:
    """A right hand-in gets all points, and each check says what it saw."""
    checks = graded(rubric, a=2, b=4)
    assert [(c.outcome, c.score, c.max_score) for c in checks.values()] == [
        (Outcome.PASSED, 4, 4),
        (Outcome.PASSED, 2, 2),
        (Outcome.PASSED, 3, 3),
        (Outcome.AWAITING_REVIEW, 0, 0),
    ]
    assert checks["small"].title == "The numbers are small"
    assert checks["small"].why == "Because large ones are heavy."
    assert checks["small"].found == "a is 2\nb is 4"


def test_one_sentence_for_all_parts(rubric: Path) -> None:
    """What holds for several parts is said once, of all of them."""
    assert (
        graded(rubric, a=40, b=40, c=50, d=40)["small"].found == "number a, b and d: 40 is large\nnumber c: 50 is large"
    )


def test_parts_earn_their_share(rubric: Path) -> None:
    """One wrong part of two costs half of the points and names the misconception."""
    check = graded(rubric, a=2, b=40)["small"]
    assert (check.outcome, check.score) == (Outcome.FAILED, 2)
    assert (check.found, check.misconception, check.hint) == ("number b: 40 is large", "too-large", "take less")


def test_needs_part_by_part(rubric: Path) -> None:
    """A check that needs another one is decided for the parts that passed there and not reached for the rest."""
    check = graded(rubric, a=2, b=40)["even"]
    assert (check.outcome, check.score) == (Outcome.NOT_REACHED, 1)
    assert "The numbers are small" in check.found


def test_needs_nothing_left(rubric: Path) -> None:
    """A check is not reached at all when nothing passed of what it needs."""
    checks = graded(rubric, a=20, b=40)
    assert checks["inverse"].outcome is Outcome.NOT_REACHED
    assert (checks["even"].outcome, checks["even"].score) == (Outcome.NOT_REACHED, 0)


def test_what_follows_from_a_mistake_costs_once(rubric: Path) -> None:
    """A check that carries a mistake of another one forward is not checked, says so and keeps its points."""
    carrying = changed(rubric, 'verdict.found(str(1 / number["a"]))', 'raise NotReached("small", costs=False)')
    check = graded(carrying, a=2, b=40)["inverse"]
    assert (check.outcome, check.score, check.max_score) == (Outcome.NOT_REACHED, 3, 3)
    assert check.found == (
        "Not checked, because “The numbers are small” failed, and this follows from it. It costs no points a second time."
    )


def test_grader_fault_is_undecided(rubric: Path) -> None:
    """An error in the grader's own code earns nothing, costs nothing and is logged."""
    checked = run_checks(rubric, {"number": {"a": 0, "b": 2}})
    fault = next(check for check in checked.checks if check.id == "inverse")
    assert (fault.outcome, fault.score, fault.max_score, fault.undecided) == (Outcome.GRADER_FAULT, 0, 0, 3)
    assert "ZeroDivisionError" in checked.faults[0]


def test_grader_fault_in_one_part(rubric: Path) -> None:
    """A grader fault withholds the share of its part and hides neither itself nor the other part's failure."""
    checked = run_checks(rubric, {"number": {"a": 40, "b": None}})
    check = checked.checks[0]
    assert (check.outcome, check.score, check.max_score, check.undecided) == (Outcome.GRADER_FAULT, 0, 2, 2)
    assert "40 is large" in check.found
    assert "TypeError" in checked.faults[0]


def test_undecided_spreads(rubric: Path) -> None:
    """A check, or a part of one, that needs an undecided one is undecided too, and costs nothing."""
    checks = {check.id: check for check in run_checks(rubric, {"number": {"a": None, "b": 2}}).checks}
    even = checks["even"]
    assert (even.outcome, even.score, even.max_score, even.undecided) == (Outcome.GRADER_FAULT, 1, 1, 1)
    assert "“The numbers are small” is not" in even.found


def test_failure_goes_before_undecided(rubric: Path) -> None:
    """A check that needs one that failed and one that is undecided is not reached: it is lost either way."""
    twice = changed(rubric, 'needs("small")\ndef test_inverse', 'needs("even", "small")\ndef test_inverse')
    assert graded(twice, a=20)["inverse"].outcome is Outcome.NOT_REACHED


def test_left_to_a_person(rubric: Path) -> None:
    """What a person has to judge is undecided, and what needs it as well; nothing of it is a fault."""
    checks = graded(rubric, a=7, b=2)
    assert (checks["small"].outcome, checks["small"].undecided) == (Outcome.AWAITING_REVIEW, 2)
    assert (checks["even"].outcome, checks["even"].score, checks["even"].undecided) == (Outcome.AWAITING_REVIEW, 1, 1)


@pytest.mark.parametrize(
    ("number", "outcome"), [({"a": 2}, Outcome.AWAITING_REVIEW), ({"a": 11, "b": 2}, Outcome.FAILED)]
)
def test_rehearsed(rubric: Path, number: dict[str, int], outcome: Outcome) -> None:
    """What is only practised says what it saw, and neither earns nor costs points; what needs it is checked."""
    rehearsed = changed(rubric, "@pytest.mark.points(4)", '@pytest.mark.practice("Practice.")\n@pytest.mark.points(4)')
    small, even, *_ = run_checks(rehearsed, Practising(number=number)).checks
    assert (small.outcome, small.score, small.max_score, small.undecided) == (outcome, 0, 0, 0)
    assert small.found.endswith("Practice. Your instructor's run decides this, and gives the points.")
    assert small.misconception == ("too-large" if outcome is Outcome.FAILED else None)
    assert even.score == (2 if outcome is not Outcome.FAILED else 1)
    run = {"ended": "completed", "seconds": 1.0, "device": "cpu"}
    below = page(Live("Numbers", Result("ex1", run, (small, even)), ()), {}, {})
    for said in below.values():
        assert "Your instructor's run decides this, and gives the points." in unescape(" ".join(said.split()))


def test_hang_keeps_what_was_judged(rubric: Path) -> None:
    """A check that hangs is ended in time; the parts that were judged before stay as they are."""
    hanging = changed(rubric, "if value > 10:", "if value == 5: time.sleep(60)\n            if value > 10:")
    started = time.monotonic()
    checked = run_checks(hanging, {"number": {"a": 2, "b": 5}}, limits=CheckLimits(seconds=1))
    assert time.monotonic() - started < 30
    small = checked.checks[0]
    assert (small.outcome, small.score, small.undecided) == (Outcome.GRADER_FAULT, 2, 2)
    assert "it took too long" in small.found


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux only")
def test_memory_that_runs_out(rubric: Path) -> None:
    """A check that wants all memory is a fault, the process lives, and the next check has its memory again."""
    hoard = "if value == 5: [bytes(1 << 28) for _ in range(1000)]\n            if value > 10:"
    hoarding = changed(rubric, "if value > 10:", hoard)
    checked = run_checks(hoarding, {"number": {"a": 5, "b": 2}}, limits=CheckLimits(memory=1 << 30))
    small, even = checked.checks[:2]
    assert (small.outcome, small.score, small.undecided) == (Outcome.GRADER_FAULT, 2, 2)
    assert "MemoryError" in small.found
    assert even.score == 1


def test_hostile_folder_takes_no_part(rubric: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conftest, a configuration and pytest's environment variables in the current folder change nothing."""
    (tmp_path / "conftest.py").write_text("raise SystemExit('conftest was read')")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    assert graded(rubric, a=2)["small"].outcome is Outcome.PASSED
