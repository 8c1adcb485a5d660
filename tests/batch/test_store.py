"""A folder of results as people find it: made by an earlier version, or with a file in it that is not what was written."""

from __future__ import annotations

import csv
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from graders.batch.store import Store
from graders.cli import main

CHECKOUT = Path(__file__).parents[2]
MADE_BEFORE = Path(__file__).with_name("results-v1.tar.gz")
"""Eight hand-ins of exercise 1, graded by version 0.1.0, with points typed in for one written answer."""
ADA = "hand-ins/101-16dc368a/ex1/1"
ZOE = "hand-ins/105-1253e937/ex1/1"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The folder, as if it had been made here."""
    folder = tmp_path / "results"
    with tarfile.open(MADE_BEFORE) as archive:
        archive.extractall(folder, filter="data")
    for path in folder.rglob("request.json"):
        path.write_text(path.read_text().replace("@CHECKOUT@", str(CHECKOUT)))
    return folder


def report(results: Path, *arguments: str) -> tuple[int, str]:
    """What `grade report` says; it has no other end than the exit statuses it promises."""
    ran = CliRunner().invoke(main, ["report", str(results), *arguments], env={"COLUMNS": "200"})
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    assert "The graders failed" not in ran.output
    return ran.exit_code, ran.output


def scores(results: Path) -> dict[str, str]:
    rows = csv.DictReader((results / "gradebooks" / "gradebook.csv").open(encoding="utf-8-sig"))
    return {row["name"]: row["ex1_score"] for row in rows}


ALL = {
    "Carl": "0",
    "Dora": "21.5",
    "Eve": "0",
    "Fred": "20",
    "Gone": "0",
    "Hopper, Grace": "0",
    "Lovelace, Ada": "20",
    "Zoë 岩": "8",
}


def test_report_of_an_earlier_version(results: Path) -> None:
    """A report of results of version 1 has everybody's points, with those that a person typed in."""
    status, _ = report(results)
    assert status == 0
    assert scores(results) == ALL


@pytest.mark.timeout(900)
def test_rescore_of_an_earlier_version(results: Path) -> None:
    """The runs of version 1 are checked again, without a run, and become results of today's version."""
    ran = CliRunner().invoke(main, ["rescore", str(results), "--jobs", "2"], env={"COLUMNS": "200"})
    assert ran.exit_code == 0, ran.output
    assert scores(results) == ALL
    for path in results.glob("hand-ins/*/*/*/graded/result.json"):
        document = json.loads(path.read_text())
        assert document["schema_version"] == 2
        assert document["undecided"] == 0


def replace_by(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    other = path.with_name(f"other-{path.name}")
    path.rename(other)
    path.symlink_to(other)


def changed(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return change


WAYS = {
    "cut short": cut,
    "empty": replace_by(b""),
    "a list": replace_by(b"[]"),
    "a null": replace_by(b"null"),
    "no text": replace_by(b"\xff\xfe\x00"),
    "deeply nested": replace_by(b"[" * 100_000),
    "missing": Path.unlink,
    "a folder": folder,
    "a link": link,
}
OF_RESULTS = {
    "a score beyond all bounds": changed('"score": 7.0', '"score": 1e999'),
    "more than there is": changed('"score": 7.0', '"score": 70.0'),
    "a negative score": changed('"score": 7.0', '"score": -7.0'),
    "a score that is text": changed('"score": 7.0', '"score": "7"'),
    "not a number": changed('"score": 7.0', '"score": NaN'),
    "another outcome": changed('"outcome": "passed"', '"outcome": "great"'),
    "no run": changed('"run"', '"ran"'),
}


@pytest.mark.parametrize("way", [*WAYS.values(), *OF_RESULTS.values()], ids=[*WAYS, *OF_RESULTS])
def test_damaged_result(results: Path, way: Callable[[Path], None]) -> None:
    """Whose result cannot be read has no score, is named with the file and what to do, and everybody else has theirs."""
    path = results / ADA / "graded" / "result.json"
    way(path)
    before = path.read_bytes() if path.is_file() else None
    status, _ = report(results)
    assert status == 3
    assert scores(results) == ALL | {"Lovelace, Ada": ""}
    page = (results / "report.html").read_text()
    assert "result.json cannot be read" in page
    assert "Grade it again: grade batch" in page
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_damaged_hand_in(results: Path, way: Callable[[Path], None]) -> None:
    """A hand-in of which nobody knows whose it is is named by its file, and everybody else has their points."""
    path = results / ADA / "hand-in.json"
    way(path)
    before = path.read_bytes() if path.is_file() else None
    status, said = report(results)
    assert status == 0
    assert f"{ADA}/hand-in.json" in said.replace("\n", "")
    assert scores(results) == ALL | {"Lovelace, Ada": "0"}
    assert f"{ADA}/hand-in.json" in (results / "report.html").read_text()
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize(
    "way", [w for name, w in WAYS.items() if name != "missing"], ids=[n for n in WAYS if n != "missing"]
)
def test_damaged_batch(results: Path, way: Callable[[Path], None]) -> None:
    """Without the rules of the course nothing is guessed: the file is named, with what to do."""
    way(results / "batch.json")
    status, said = report(results)
    assert status == 2
    assert "batch.json cannot be read" in said.replace("\n", " ")


@pytest.mark.parametrize("what", ["feedback", "gradebooks", "feedback/101-16dc368a", "report.html"])
def test_something_else_in_the_place(results: Path, what: str) -> None:
    """What stands where a file or folder is to be written is set aside, and nothing of it is lost."""
    path = results / what
    path.parent.mkdir(exist_ok=True)
    if what == "report.html":
        path.mkdir()
        (path / "notes").write_text("mine")
    else:
        path.write_text("mine")
    assert report(results)[0] == 0
    assert scores(results) == ALL
    kept = path.with_name(f"{path.name}.damaged")
    assert (kept / "notes" if kept.is_dir() else kept).read_text() == "mine"


@pytest.mark.parametrize("what", ["graded", "graded/run", "graded/again", "graded/run/notebook.ipynb", ""])
def test_somebody_elses_runs(results: Path, what: str) -> None:
    """A link in place of somebody's runs is not followed, and runs of another notebook are nobody's."""
    mine = results / ZOE / what if what else results / ZOE
    shutil.rmtree(mine) if mine.is_dir() else mine.unlink()
    mine.symlink_to(results / ADA / what if what else results / ADA)
    status, _ = report(results)
    assert scores(results)["Zoë 岩"] in ("", "0")
    assert status == (3 if what else 0)


def test_swapped_runs(results: Path) -> None:
    """Runs that were copied from another hand-in are noticed."""
    shutil.rmtree(results / ZOE / "graded")
    shutil.copytree(results / ADA / "graded", results / ZOE / "graded")
    assert report(results)[0] == 3
    assert scores(results)["Zoë 岩"] == ""
    assert "the run is that of another notebook" in (results / "report.html").read_text()


def test_swapped_hand_ins(results: Path) -> None:
    """A hand-in that was copied into another student's folder is nobody's."""
    shutil.rmtree(results / ZOE)
    shutil.copytree(results / ADA, results / ZOE)
    report(results)
    assert scores(results) == ALL | {"Zoë 岩": "0"}


def test_points_typed_in_stay(results: Path) -> None:
    """Points that a person typed in are still there when files of others, and of the same student, were damaged."""
    (results / ADA / "hand-in.json").write_text("[]")
    report(results)
    assert "1.5" in (results / "written-answers.csv").read_text(encoding="utf-8-sig")
    assert scores(results)["Dora"] == "21.5"


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
@pytest.mark.timeout(900)
def test_graded_again(results: Path, tmp_path: Path) -> None:
    """The same batch grades what was damaged again, keeps what was there beside it, and touches nobody else's."""
    (results / ADA / "graded" / "result.json").write_text("[]")
    (tmp_path / "hand-ins" / "101").mkdir(parents=True)
    shutil.copy(results / ADA / "ex1.ipynb", tmp_path / "hand-ins" / "101")
    command = ["batch", str(tmp_path / "hand-ins"), "-o", str(results), "--jobs", "1"]
    ran = CliRunner().invoke(main, command, env={"COLUMNS": "200"})
    assert ran.exit_code == 0, ran.output
    assert scores(results) == ALL
    assert (results / ADA / "graded.damaged" / "result.json").read_text() == "[]"


def test_attempts_are_those_of_the_folders(results: Path) -> None:
    """Every folder of a hand-in is an attempt, or is named as one that cannot be read."""
    (results / ADA / "hand-in.json").write_text("{}")
    store = Store(results)
    assert len(store.attempts()) + len(store.damaged) == len(list(results.glob("hand-ins/*/*/*")))
