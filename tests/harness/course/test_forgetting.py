"""What is known of a person can be removed, and everybody else keeps all they have."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from graders.harness.cli.mark import mark
from graders.harness.course import answers
from graders.harness.course.forgetting import forget
from graders.harness.course.marking import ANSWERS, course
from graders.harness.course.order import Order
from graders.harness.course.people import named
from graders.harness.course.roster import Entry, Roster
from graders.harness.course.rules import Rules
from graders.harness.course.store import Store
from graders.harness.grade import EARLIER
from graders.harness.marks import Student
from tests.harness.course.test_marking import BOB, Results

ADA = Student("101", "Ada Lovelace")


def test_forgotten(tmp_path: Path) -> None:
    """After it no file in the results names the person, and the others' points are what they were."""
    results = Results(tmp_path / "results")
    results.hand_in(ADA, score=20)
    results.hand_in(BOB, score=30)
    [hers] = [stored for stored in results.store.attempts() if stored.student == ADA]
    (hers.graded / EARLIER).mkdir()
    (hers.graded / EARLIER / "0.json").write_text("Lovelace")
    root = results.store.root
    strays = ("ada lovelace/essay.pdf of Ada Lovelace: there is no notebook", "loose.ipynb: of nobody")
    results.store.write_order(Order(Rules(("ex3",)), Roster((Entry(ADA), Entry(BOB))), "a folder", strays))
    answers.write(list(course(Store(root)).answers), root / ANSWERS)
    for person in ("101", "102"):
        entered = [str(root), person, "ex3", "--answer", "1", "2", "--reason", "x", "--by", "Grace"]
        assert CliRunner().invoke(mark, entered, catch_exceptions=False).exit_code == 0
    left = list(forget(named("Lovelace, Ada", [ADA, BOB]), Store(root)))
    assert "not reached" in left[-1]
    for path in root.rglob("*"):
        assert "101" not in path.name.split("-")[0]
        if path.is_file():
            content = path.read_bytes()
            assert b"Lovelace" not in content, path
            assert b'"101"' not in content, path
    assert "loose.ipynb" in (root / "batch.json").read_text()
    assert results.grades()["102"].score == 30
