"""Damage in a folder of results costs one hand-in its place in the report until it is graded again, and nobody else anything."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from graders.harness.marks import folder_name
from tests.command import Ran, grade
from tests.harness.course import kept
from tests.harness.course.test_kept import NOW, ODD, V1

HIS, OTHER = "ada", "eve"
RESULT, RECORD = "graded/result.json", "hand-in.json"


def report(results: Path) -> Ran:
    return grade("report", results, folder=results.parent, COLUMNS="900")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return kept.unpacked("results-v1", tmp_path)


def place(results: Path, student: str) -> Path:
    return results / "hand-ins" / folder_name(student) / "ex1" / "1"


def _edited(**fields: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields))

    return edit


def _check(**fields: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        document = json.loads(path.read_text(encoding="utf-8"))
        document["checks"][0] |= fields
        path.write_text(json.dumps(document))

    return edit


def _folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _swapped_score(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace('"score": 7.0', '"score": 1e999'), encoding="utf-8")


ANY: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "empty": lambda path: path.write_bytes(b""),
    "a list": lambda path: path.write_text("[]"),
    "a number": lambda path: path.write_text("1"),
    "no fields": lambda path: path.write_text("{}"),
    "missing": Path.unlink,
    "a folder": _folder,
    "a link": _link,
    "a pipe": _pipe,
    "nested": lambda path: path.write_text("[" * 100_000 + "]" * 100_000),
    "huge": lambda path: os.truncate(path, 1 << 40),
    "not UTF-8": lambda path: path.write_bytes(path.read_bytes().replace(b"ex1", b"\xff\xfe1")),
    "UTF-16": lambda path: path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16")),
    "a byte order mark": lambda path: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()),
    "NaN": lambda path: path.write_text('{"score": NaN}'),
    "another exercise": _edited(exercise="ex2"),
    "no exercise": _edited(exercise=1),
}
WAYS: dict[str, dict[str, Callable[[Path], object]]] = {
    RESULT: ANY
    | {
        "infinite points": _swapped_score,
        "more points than there are": _check(score=8),
        "fewer than none": _check(score=-1),
        "points as text": _check(score="7"),
        "points as true": _check(score=True),
        "points of 400 digits": _check(score=10**400),
        "an unknown outcome": _check(outcome="won"),
        "a title that is a list": _check(title=["x"]),
        "no checks": _edited(checks=None),
        "no run": _edited(run=[]),
        "a run that never ended": _edited(run={"ended": "so"}),
        "a version to come": _edited(schema_version=99),
    },
    RECORD: ANY
    | {
        "an unknown status": _edited(status="won"),
        "a time that is none": _edited(submitted="soon"),
        "a time without a zone": _edited(submitted="2026-11-20T12:00:00"),
        "somebody else's": _edited(student={"id": "eve", "name": "", "login": "", "sis_id": "", "email": ""}),
        "another number": _edited(number=2),
    },
    "graded/run/notebook.ipynb": {
        "missing": Path.unlink,
        "another": lambda path: path.write_text("{}"),
        "a link": _link,
    },
    "ex1.ipynb": {"missing": Path.unlink, "another": lambda path: path.write_text("{}"), "a folder": _folder},
    "graded/profile.json": {
        "a list": lambda path: path.write_text("[]"),
        "no fields": lambda path: path.write_text("{}"),
    },
}


@pytest.mark.parametrize(("file", "way"), [(file, way) for file, ways in WAYS.items() for way in ways])
def test_a_damaged_file_costs_one_hand_in_its_place(file: str, way: str, results: Path) -> None:
    """The file and whose it is are named, all others keep their points, and the file and what a person typed stay."""
    damaged = place(results, HIS) / file
    WAYS[file][way](damaged)
    before = _content(damaged)
    typed = (results / "written-answers.csv").read_bytes()
    said = report(results)
    assert said.status == 1, said.printed
    [line] = [line for line in said.printed.splitlines() if line.startswith("Set aside")]
    assert "Ada" in line
    assert Path(file).name in line
    assert "Grade it again: " in line
    given = kept.scores(results)
    assert {student: given[student, "ex1"] for student in V1} == V1 | {HIS: ""}
    assert _content(damaged) == before
    assert sorted(_rows(typed)) == sorted(_rows((results / "written-answers.csv").read_bytes()))
    assert Path(file).name in (results / "report.html").read_text(encoding="utf-8")


def _content(path: Path) -> object:
    if not path.exists() or path.is_dir() or path.is_fifo() or path.stat().st_size > 1 << 30:
        return path.lstat() if os.path.lexists(path) else None
    return path.read_bytes()


def _rows(content: bytes) -> list[tuple[str, ...]]:
    """What a person gave points for, and how many."""
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    return [
        (row["hand_in"], row["exercise"], row["question"], row["answer"], row["points"])
        for row in rows
        if row["points"]
    ]


@pytest.mark.parametrize("what", ["", "graded", "graded/run"])
def test_nobody_gets_anothers_mark(what: str, results: Path) -> None:
    """A link to another's folder is not followed, and folders that changed places are noticed, both of them."""
    his, other = place(results, HIS) / what, place(results, OTHER) / what
    his.rename(results / "aside")
    his.symlink_to(other)
    said = report(results)
    assert said.status == 1, said.printed
    assert kept.scores(results)[HIS, "ex1"] == ""
    assert kept.scores(results)[OTHER, "ex1"] == V1[OTHER]
    his.unlink()
    other.rename(his)
    (results / "aside").rename(other)
    said = report(results)
    assert said.status == 1, said.printed
    assert [kept.scores(results)[student, "ex1"] for student in (HIS, OTHER, "carl")] == ["", "", V1["carl"]]


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("instead", ["file", "link", "dangling"])
def test_what_stands_in_place_of_a_folder_is_named(level: int, instead: str, results: Path) -> None:
    """Where a file or a link has taken the place of an attempt, an exercise or a student, nobody is taken for missing."""
    path = [place(results, HIS), *place(results, HIS).parents][level]
    path.rename(results / "aside")
    if instead == "file":
        path.write_text("")
    else:
        path.symlink_to(results / ("aside" if instead == "link" else "nowhere"))
    said = report(results)
    assert said.status == 1, said.printed
    assert {student: kept.scores(results)[student, "ex1"] for student in V1} == V1 | {HIS: ""}


@pytest.mark.parametrize(
    "name", ["feedback", "gradebooks", "report.html", "gradebooks/gradebook.csv", "gradebooks/gradescope"]
)
@pytest.mark.parametrize("instead", ["file", "folder", "link"])
def test_what_stands_in_the_way_of_the_report_is_set_aside(
    name: str, instead: str, results: Path, tmp_path: Path
) -> None:
    """A file, a folder or a link in place of what is written is kept under another name, and the link is not written through."""
    path = results / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (tmp_path / "outside").mkdir()
    if instead == "folder":
        (path / "mine").mkdir(parents=True)
    elif instead == "link":
        path.symlink_to(tmp_path / "outside")
    else:
        path.write_text("mine")
    said = report(results)
    assert said.status == 1, said.printed
    assert {student: kept.scores(results)[student, "ex1"] for student in V1} == V1
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("way", sorted(ANY.keys() - {"missing", "another exercise", "no exercise"}))
def test_damaged_rules_end_in_a_sentence(way: str, results: Path) -> None:
    """Without the rules of the course nobody's points are made up: the file is named, and nothing is written."""
    ANY[way](results / "batch.json")
    before = (results / "report.html").stat().st_mtime_ns
    said = report(results)
    assert said.status == 2, said.printed
    assert (results / "report.html").stat().st_mtime_ns == before


def test_rescore_leaves_damage_alone(results: Path) -> None:
    """The damaged are named, left as they are, and everybody else is checked again."""
    (place(results, HIS) / RESULT).write_text("[]")
    (place(results, "carl") / RECORD).write_text("{")
    (place(results, ODD) / "graded" / "run" / "request.json").write_text("{")
    (place(results, "dora") / "graded" / "known.json").write_text("[]")
    ran = grade("rescore", results, folder=results, COLUMNS="400")
    assert ran.status == 1, ran.printed
    assert "Traceback" not in ran.printed
    assert (place(results, HIS) / RESULT).read_text() == "[]"
    assert (place(results, "carl") / RECORD).read_text() == "{"
    given = kept.scores(results)
    assert {student: given[student, "ex1"] for student in V1} == NOW | {HIS: "", "carl": ""}


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_batch_mends_what_is_damaged(results: Path, tmp_path: Path) -> None:
    """The same command grades the damaged again, and those alone; what was damaged is kept, and nothing typed is lost."""
    for student, when in (
        (HIS, "2026-11-20 12:00:00 UTC"),
        ("carl", "2026-11-20 12:00:00 UTC"),
        (OTHER, "2026-11-22 12:30:00 UTC"),
    ):
        folder = tmp_path / "submitted" / student / "ex1"
        folder.mkdir(parents=True)
        shutil.copy(place(results, student) / "ex1.ipynb", folder)
        (folder / "timestamp.txt").write_text(when)
    (place(results, HIS) / RESULT).write_text("[]")
    (place(results, "carl") / RECORD).write_text("{")
    (place(results, OTHER) / "ex1.ipynb").write_text("gone")
    (results / "batch.json").write_text("[]")
    roster = tmp_path / "roster.csv"
    roster.write_text("id,name,exempt\nada,Ada,\ngus,Gus,ex1\nhal,Hal,ex2\n")
    options = ["--roster", roster, "--due", "2026-11-21T12:00+00:00", "--late-penalty", "10", "--jobs", "1"]
    ran = grade("batch", tmp_path / "submitted", "-o", results, *options, folder=tmp_path, COLUMNS="400")
    assert ran.status == 1, ran.printed
    given = kept.scores(results)
    assert {student: given[student, "ex1"] for student in V1} == V1 | {"carl": NOW["carl"]}
    assert given["gus", "ex2"] == "0"
    assert "ex1 carl: 8.24 of 20" in ran.printed.replace("Carl", "carl")
    assert (place(results, HIS) / "graded.damaged-1" / "result.json").read_text() == "[]"
    assert (place(results, "carl") / "hand-in.json.damaged-1").read_text() == "{"
    assert (place(results, OTHER) / "ex1.ipynb.damaged-1").read_text() == "gone"
    assert (results / "batch.json.damaged-1").read_text() == "[]"
    assert report(results).status == 1
