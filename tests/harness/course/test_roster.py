"""Lists of students are read as course systems write them, and people are found in them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from graders.harness.course.roster import RosterError, read
from graders.harness.marks import Student

CANVAS = """Student,ID,SIS User ID,SIS Login ID,Section,ex3 (77)
,,,,,Manual Posting
    Points Possible,,,,,39
"Lovelace, Ada",101,1815,ada,S1,
"Müller, Zoë",102,1816,zoe,S1,12
"Student, Test",999,,test,S1,
"""
MOODLE = """Identifier,Full name,ID number,Email address,Status,Grade,Maximum grade
Participant 4711,Ada Lovelace,1815,ada@example.org,Submitted,,39
Participant 12,Zoë Müller,1816,zoe@example.org,No submission,,39
"""


def roster(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "students.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_canvas(tmp_path: Path) -> None:
    """Canvas's export of its gradebook is a roster; the row of points and the test student are nobody."""
    listed = read(roster(tmp_path, CANVAS))
    assert [(e.student.id, e.student.name) for e in listed.entries] == [
        ("101", "Lovelace, Ada"),
        ("102", "Müller, Zoë"),
    ]
    by = [
        Student("101"),
        Student("x", login="ZOE"),
        Student("x", sis_id="1815"),
        Student("lovelaceada"),
        Student("zoe"),
    ]
    assert [e.student.id for s in by if (e := listed.find(s))] == ["101", "102", "101", "101", "102"]
    assert listed.find(Student("test")) is None


def test_moodle(tmp_path: Path) -> None:
    """Moodle's worksheet is a roster, whose participants go by the number that their folders have."""
    listed = read(roster(tmp_path, MOODLE))
    assert [e.student.id for e in listed.entries] == ["4711", "12"]
    found = listed.find(Student("4711", "Ada Lovelace"))
    assert found
    assert found.student.email == "ada@example.org"


def test_own(tmp_path: Path) -> None:
    """Our own columns say what does not count for whom, and who has more time; semicolons and a mark of UTF-8 are read."""
    text = "\ufeffid;name;exempt;due\n1;Ada;ex1 ex2;2026-11-30 23:59\n2;Bob;all;2026-11-30T23:59+01:00\n3;Carl;;\n"
    ada, bob, carl = read(roster(tmp_path, text)).entries
    assert ada.exempt == {"ex1", "ex2"}
    assert ada.due == datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    assert bob.exempt == {"ex1", "ex2", "ex3", "ex4"}
    assert bob.due == datetime(2026, 11, 30, 22, 59, tzinfo=UTC)
    assert (carl.exempt, carl.due) == (frozenset(), None)


def test_what_two_share_tells_neither(tmp_path: Path) -> None:
    """A name that two students have finds neither of them; what they do not share still does."""
    listed = read(roster(tmp_path, "id,name,login\n1,Ada Lovelace,ada\n2,Ada Lovelace,lovelace\n"))
    assert listed.find(Student("x", "Ada Lovelace")) is None
    found = listed.find(Student("x", "Ada Lovelace", login="lovelace"))
    assert found
    assert found.student.id == "2"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("points\n3\n", "no column that says who"),
        ("", "no column that says who"),
        ("id,exempt\n1,sometimes\n", "row 2: 'sometimes' names no exercises"),
        ("id,due\n1,tomorrow\n", "row 2: 'tomorrow' is no date"),
    ],
)
def test_refused(tmp_path: Path, text: str, says: str) -> None:
    """A list that cannot be used is refused in a sentence that names the row."""
    with pytest.raises(RosterError, match=says):
        read(roster(tmp_path, text))


def test_no_text(tmp_path: Path) -> None:
    """What is no text, or not there, is refused."""
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("x.csv", "nothing.csv"):
        with pytest.raises(RosterError):
            read(tmp_path / name)
