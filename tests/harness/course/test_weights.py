"""A course may give other points for checks than the rubric; nothing is graded again for that."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from graders.harness.checking import max_score
from graders.harness.course.discovery import Attempt
from graders.harness.course.order import Order
from graders.harness.course.roster import Entry, Roster
from graders.harness.course.rules import Rules
from graders.harness.course.store import Store
from graders.harness.course.weights import weighted
from graders.harness.marks import Status, Student
from graders.harness.result import CheckResult, Outcome, Result
from graders.lesson import LESSON
from tests.command import grade
from tests.harness.course.test_marking import ADA, BOB, RUN

NOTEBOOK = (Path(__file__).parents[3] / "reference_solutions" / "ex1.ipynb").read_bytes()
RUBRIC = max_score(LESSON.rubric("ex1"))
WRITTEN = 2
CHECKS = (
    CheckResult("cross_attention_layers", "The layers", Outcome.FAILED, 3.5, 7, found="half of them"),
    CheckResult("rank_ratio", "The ratio", Outcome.FAILED, 0, 1, found="It is empty.", misconception="wrong-ratio"),
    CheckResult("lora_fraction", "The share", Outcome.AWAITING_REVIEW, 0.5, 1, undecided=1),
)
WEIGHTS = "[weights.ex1]\ncross_attention_layers = 10\nlora_fraction = 4  # twice as much\nrank_ratio = 0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of results of Ada, of whose run too little is there to check it again, and of Bob, who handed in nothing."""
    store = Store(tmp_path / "results")
    stored = store.deposit(Attempt(ADA, "ex1", "ex1.ipynb", "path"), NOTEBOOK)
    run = stored.graded / "run"
    run.mkdir(parents=True)
    shutil.copy(stored.notebook, run / "notebook.ipynb")
    (run / "request.json").write_text(json.dumps({"parameters": "{}", "hand_in": {}, "output": "output"}))
    Result("ex1", RUN, CHECKS).save(stored.graded / "result.json")
    stored.concluded(Status.GRADED)
    store.write_order(Order(Rules(("ex1",)), Roster((Entry(ADA), Entry(BOB))), "a folder"))
    return store.root


def published(root: Path) -> tuple[dict[str, object], str, str]:
    """Ada's grade as data, and on her page; and the report: of `grade report`."""
    ran = grade("report", root, folder=root.parent)
    assert ran.status in (0, 1), ran.printed
    [folder] = (root / "feedback").glob("101-*")
    document = json.loads((folder / "feedback.json").read_text())["exercises"]["ex1"]
    return document, (folder / "feedback.html").read_text(), (root / "report.html").read_text()


def booked(root: Path, student: Student) -> dict[str, str]:
    """Of the gradebook."""
    with (root / "gradebooks" / "gradebook.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}[student.id]


def test_pages_and_exports_have_the_points_of_the_course(root: Path) -> None:
    """What was earned of a check is the same share of its points; with other points, a report is all that is needed."""
    [stored] = Store(root).attempts()
    before = (stored.graded / "result.json").read_bytes()
    first, page, _ = published(root)
    assert (first["score"], first["undecided"], first["max_score"]) == (4, 1, RUBRIC + WRITTEN)
    assert "The ratio" in page
    (root / "course.toml").write_text(WEIGHTS)
    now, page, report = published(root)
    # 3.5 of 7 are 5 of 10, and 0.5 of 2, of which one is undecided, are 1 of 4, of which two are
    assert (now["score"], now["undecided"]) == (6, 2)
    assert now["max_score"] == RUBRIC + WRITTEN + (10 - 7) + (4 - 2) - 1
    assert [(check["id"], check["score"], check["max_score"]) for check in now["result"]["checks"]] == [  # type: ignore[index]
        ("cross_attention_layers", 5, 10),
        ("lora_fraction", 1, 2),
    ]
    assert "The ratio" not in page
    assert "wrong-ratio" not in report
    assert float(booked(root, BOB)["ex1_of"]) == now["max_score"]
    assert (stored.graded / "result.json").read_bytes() == before
    assert (root / "course.toml").read_text() == WEIGHTS


def test_points_of_a_person_are_those_of_the_course(root: Path) -> None:
    """What somebody gives is of the course's points, and stays the same share if those change afterwards."""
    reason = ("--reason", "x", "--by", "Grace")
    (root / "course.toml").write_text(WEIGHTS)
    ran = grade("mark", root, "101", "ex1", "--check", "cross_attention_layers", "8", *reason, folder=root)
    assert "6 → 9" in ran.stdout
    refused = grade("mark", root, "101", "ex1", "--check", "cross_attention_layers", "11", *reason, folder=root)
    assert "Give 0 to 10." in refused.printed
    (root / "course.toml").write_text("[weights]\nex1.cross_attention_layers = 5\n")
    assert published(root)[0]["score"] == 4.5  # 4 of 5, and 0.5 of the rubric's points


def test_shares_add_up() -> None:
    """Whatever the points are, those that are earned, lost and undecided are all of them."""
    for worth in (0.01, 1 / 3, 7, 1000):
        [check, *_] = weighted(Result("ex1", RUN, CHECKS[2:]), {"lora_fraction": worth}).checks
        assert check.worth == pytest.approx(round(worth, 2))
        assert 0 <= check.score <= check.max_score
    nothing = replace(CHECKS[0], score=0, max_score=0)  # of practice
    assert weighted(Result("ex1", RUN, (nothing,)), {"cross_attention_layers": 5}).checks == (nothing,)


def test_a_mistake_is_refused_with_its_line(root: Path) -> None:
    """A check that there is not never leaves points as they were without a word: the command says where it stands."""
    (root / "course.toml").write_text("late_penalty = 5\n\n[weights.ex1]\ncross_atention = 6\n")
    ran = grade("report", root, folder=root.parent, COLUMNS="600")
    assert ran.status == 2
    assert "course.toml, line 4 cannot be used: cross_atention is no check of ex1 that has points" in ran.said
    assert "cross_attention_layers" in ran.said
    assert not (root / "report.html").exists()
