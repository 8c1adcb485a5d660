"""A folder of results of an earlier version is taken over by whatever command comes first, and nothing of it is lost."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from graders.harness.course import settings
from graders.harness.course.answers import read_points
from graders.harness.course.settings import Settings
from graders.harness.course.takeover import COPY, LaterVersionError, take_over
from tests import faults
from tests.command import grade
from tests.harness.course import kept
from tests.harness.course.test_faults import memory
from tests.harness.course.test_kept import V1

DUE = datetime(2026, 11, 21, 12, tzinfo=UTC)
RULES = Settings(attempts="last", late_penalty=10.0, due={"ex1": DUE, "ex2": DUE})
MARK = ("ada", "ex1", "--check", "rank_ratio", "0", "--reason", "They agreed to it.")
COMMANDS = {
    "report": ((), 1, {}),
    "mark": (MARK, 0, {"ada": "21"}),
    "batch": (("-o", "results-v1", "--isolation", "none", "--jobs", "1"), 1, {"newcomer": "0"}),
    "forget": (("eve", "--yes"), 0, {"eve": None}),
}


def _held(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive.read_bytes())) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_first_command(command: str, tmp_path: Path) -> None:
    """Rules, points and marks are as they were, but for what the command changes; a copy is kept, and it is said where."""
    results = kept.unpacked("results-v1", tmp_path)
    before = {path.relative_to(results).as_posix(): path.read_bytes() for path in results.rglob("*") if path.is_file()}
    points = read_points(results / "written-answers.csv")
    more, status, changed = COMMANDS[command]
    given: tuple[object, ...] = (results,)
    if command == "batch":
        (tmp_path / "given" / "newcomer").mkdir(parents=True)
        (tmp_path / "given" / "newcomer" / "ex1.ipynb").write_text("hello")
        given = ("given",)
    ran = grade(command, *given, *more, folder=tmp_path, COLUMNS="400")
    assert ran.status == status, ran.printed
    assert command == "mark" or f"{COPY}." in ran.said
    assert settings.read(results) == RULES
    copy = _held(results / COPY)
    assert copy == {name: before[name] for name in copy}
    assert {"batch.json", "written-answers.csv"} <= copy.keys()
    assert sum(name.endswith("result.json") for name in copy) == sum(
        name.endswith("graded/result.json") for name in before
    )
    again = grade("report", results, folder=tmp_path)
    assert again.status == 1, again.printed
    assert COPY not in again.said
    scores = kept.scores(results)
    expected = {student: score for student, score in (V1 | changed).items() if score is not None}
    assert {student: score for (student, exercise), score in scores.items() if exercise == "ex1"} == expected
    left = read_points(results / "written-answers.csv")
    assert left == (points if command != "forget" else {key: points[key] for key in left})
    assert len(left) == len(points) - (command == "forget")


def test_options_against_old_rules(tmp_path: Path) -> None:
    """The rules of then are as good as those in course.toml: no option changes them without a word."""
    results = kept.unpacked("results-v1", tmp_path)
    (tmp_path / "given" / "newcomer").mkdir(parents=True)
    (tmp_path / "given" / "newcomer" / "ex1.ipynb").write_text("hello")
    options = ("-o", results, "--isolation", "none", "--late-penalty", "0")
    ran = grade("batch", "given", *options, folder=tmp_path, COLUMNS="400")
    assert (ran.status, "says otherwise: late_penalty 10 → 0" in ran.said) == (2, True), ran.printed
    assert settings.read(results) == RULES


@pytest.mark.parametrize("fault", [faults.killed, faults.full])
def test_interrupted(fault: Callable[..., bool]) -> None:
    """Wherever it is killed or has no room, the next command ends it, and the copy is that of the first time."""
    with memory() as place:
        results = kept.unpacked("results-v1", place)
        first = {name: (results / name).read_bytes() for name in ("batch.json", "written-answers.csv")}
        at, hit = 0, True
        while hit:
            at += 1
            (results / "batch.json").write_bytes(first["batch.json"])
            for name in (COPY, "course.toml"):
                (results / name).unlink(missing_ok=True)
            hit = fault(lambda: take_over(results), at)
            assert take_over(results) is hit
            assert settings.read(results) == RULES
            copy = _held(results / COPY)
            assert {name: copy[name] for name in first} == first
            assert not take_over(results)
        assert at > 10


def test_a_later_version(tmp_path: Path) -> None:
    """What a later version made is left alone."""
    results = kept.unpacked("results-v1", tmp_path)
    document = json.loads((results / "batch.json").read_text())
    (results / "batch.json").write_text(json.dumps(document | {"schema_version": 99}))
    with pytest.raises(LaterVersionError):
        take_over(results)
    ran = grade("report", results, folder=tmp_path)
    assert (ran.status, "a later version" in ran.said) == (2, True)
    assert not (results / COPY).exists()


def test_what_a_person_decided_since_comes_first(tmp_path: Path) -> None:
    """A course.toml that is there already is kept, and what it does not say comes from the old rules."""
    results = kept.unpacked("results-v1", tmp_path)
    (results / "course.toml").write_text("late_penalty = 5  # from week 3 on\n")
    assert take_over(results)
    assert settings.read(results) == Settings(attempts="last", late_penalty=5.0, due=RULES.due)
    assert "# from week 3 on" in (results / "course.toml").read_text()
