"""What people enter holds, is never written over, and says whose it is and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from graders.harness.cli.mark import mark
from graders.harness.course.journal import FILE, Entry, Journal, JournalError
from graders.harness.course.marking import course
from graders.harness.course.order import Order
from graders.harness.course.people import PeopleError
from graders.harness.course.roster import Roster
from graders.harness.course.rules import Rules
from graders.harness.course.store import Store
from graders.harness.marks import Grade, Status
from graders.harness.result import Outcome, load
from tests.harness.course.test_marking import ADA, BOB, Results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = Results(tmp_path / "results")
    made.hand_in(ADA, score=20)
    made.hand_in(BOB, score=30)
    made.store.write_order(Order(Rules(("ex3",)), Roster(), "a folder"))
    return made


def grades(results: Results) -> dict[str, Grade]:
    made = course(Store(results.store.root))
    return {record.student.id: record.grades["ex3"] for record in made.gradebook.records}


def enter(results: Results, *arguments: str) -> str:
    """`grade mark`; what it printed."""
    asked = [str(results.store.root), *arguments, "--reason", "The data set was broken.", "--by", "Grace"]
    done = CliRunner().invoke(mark, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_points_of_a_check(results: Results) -> None:
    """Points that a person gives stand in place of the grader's, with the reason, and what graders gave stays as it is."""
    [check] = grades(results)["101"].result.checks  # type: ignore[union-attr]
    stored = next(s for s in results.store.attempts() if s.student == ADA).graded / "result.json"
    before = stored.read_bytes()
    said = enter(results, "Ada", "ex3", "--check", check.id, "25")
    assert "Ada, ex3: 20 → 25 of" in said
    grade = grades(results)["101"]
    assert grade.score == 25
    [changed] = grade.result.checks  # type: ignore[union-attr]
    assert "25 of" in changed.found
    assert "Grace" in changed.found
    assert "The data set was broken." in changed.found
    assert stored.read_bytes() == before
    assert grades(results)["102"].score == 30
    enter(results, "101", "ex3", "--check", check.id, "none")
    assert grades(results)["101"].score == 20
    assert len(Journal(results.store.root).entries) == 2


def test_another_result(results: Results) -> None:
    """What was given for a result that has changed since still counts, and a person is asked to look again."""
    [check] = grades(results)["101"].result.checks  # type: ignore[union-attr]
    enter(results, "101", "ex3", "--check", check.id, "25")
    assert not grades(results)["101"].note
    stored = next(s for s in results.store.attempts() if s.student == ADA).graded / "result.json"
    results.hand_in(ADA, score=5)
    assert load(stored)
    grade = grades(results)["101"]
    assert grade.score == 25
    assert "earlier version" in grade.note


def test_attempt_and_exemption(results: Results) -> None:
    """A person chooses which attempt counts, and for whom an exercise does not."""
    results.hand_in(ADA, score=5)
    assert grades(results)["101"].score == 5
    enter(results, "101", "ex3", "--attempt", "1")
    assert (grades(results)["101"].score, grades(results)["101"].attempt) == (20, 1)
    enter(results, "Bob", "ex3", "--exempt")
    assert grades(results)["102"].status is Status.EXEMPT
    enter(results, "Bob", "ex3", "--counts")
    assert grades(results)["102"].score == 30


def test_answers(results: Results) -> None:
    """Points for written answers can be entered one by one; with all of them the grade is final."""
    for question, points in (("1", "2"), ("2", "1,5")):
        enter(results, "101", "ex3", "--answer", question, points)
    grade = grades(results)["101"]
    assert (grade.written, grade.score, grade.final) == (3.5, 23.5, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("Nobody", "ex3", "--exempt"), "is nobody"),
        (("101", "ex1", "--exempt"), "no ex1"),
        (("101", "ex3", "--check", "nothing", "1"), "no check 'nothing'"),
        (("101", "ex3", "--check", "style_shift", "999"), "no number of points"),
        (("101", "ex3", "--attempt", "7"), "no attempt 7"),
    ],
)
def test_refused(results: Results, arguments: tuple[str, ...], says: str) -> None:
    """What cannot be is refused, and nothing is entered."""
    done = CliRunner().invoke(mark, [str(results.store.root), *arguments, "--reason", "x"])
    assert isinstance(done.exception, JournalError | PeopleError)
    assert says in done.exception.problem
    assert not (results.store.root / FILE).exists()


def test_a_line_that_breaks_off(tmp_path: Path) -> None:
    """A line that a killed command left unfinished costs that entry alone, and the next one has a line of its own."""
    journal = Journal(tmp_path)
    first = Entry("101", "ex3", "exempt", "", 1.0, "ill", "Grace")
    journal.add(first)
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"student": "102", "exer')
    journal = Journal(tmp_path)
    assert (journal.entries, journal.unread) == ([first], 1)
    second = Entry("102", "ex3", "exempt", "", 1.0, "ill 💥", "Grace")
    journal.add(second)
    assert Journal(tmp_path).entries == [first, second]
    assert [json.loads(line)["student"] for line in (tmp_path / FILE).read_text().splitlines() if line.endswith("}")]


def test_outcome(results: Results) -> None:
    """With all points a check has passed, and with fewer it has not."""
    [check] = grades(results)["102"].result.checks  # type: ignore[union-attr]
    enter(results, "102", "ex3", "--check", check.id, f"{check.worth}")
    assert grades(results)["102"].result.checks[0].outcome is Outcome.PASSED  # type: ignore[union-attr]
    enter(results, "102", "ex3", "--check", check.id, "0")
    assert grades(results)["102"].result.checks[0].outcome is Outcome.FAILED  # type: ignore[union-attr]
