"""Lists of students are read as course systems write them, and people are found in them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from graders.harness.course.roster import RosterError, read

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


def test_moodle(tmp_path: Path) -> None:
    """Moodle's worksheet is a roster, whose participants go by the number that their folders have."""
    listed = read(roster(tmp_path, MOODLE))
    assert [e.student.id for e in listed.entries] == ["4711", "12"]
    assert listed.entries[0].student.email == "ada@example.org"


def test_own(tmp_path: Path) -> None:
    """Our own columns say what does not count for whom, and who has more time; semicolons and a mark of UTF-8 are read."""
    text = "\ufeffid;name;exempt;due\n1;Ada;ex1 ex2;2026-11-30 23:59\n2;Bob;all;2026-11-30T23:59+01:00\n3;Carl;;\n"
    ada, bob, carl = read(roster(tmp_path, text)).entries
    assert ada.exempt == {"ex1", "ex2"}
    assert ada.due == datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    assert bob.exempt == {"ex1", "ex2", "ex3", "ex4"}
    assert bob.due == datetime(2026, 11, 30, 22, 59, tzinfo=UTC)
    assert (carl.exempt, carl.due) == (frozenset(), None)


GITHUB = '"identifier","github_username","github_id","name"\n"ada1","adal","17","Ada Lovelace"\n"bob1","bobr","18","Bob Ross"\n'
LISTS = {
    "Moodle's participants": """First name,Surname,ID number,Email address,Roles
Ada,Lovelace,1815,a@x.org,Student
Cy,Twombly,9,cy@x.org,Teacher
""",
    "Moodle's participants, German": "Vorname;Nachname;ID-Nummer;E-Mail-Adresse\nAda;Lovelace;1815;a@x.org\n",
    "Moodle's participants, French": "Prénom,Nom de famille,Numéro d'identification\nAda,Lovelace,1815\n",
    "Moodle's participants, Spanish": "Nombre,Apellido(s),Número de ID\nAda,Lovelace,1815\n",
    "Brightspace's class list": """OrgDefinedId,Username,Last Name,First Name,End-of-Line Indicator
#1815,#ada,Lovelace,Ada,#
""",
    "Blackboard's": "Last Name\tFirst Name\tUsername\tStudent ID\nLovelace\tAda\tada\t1815\n",
    "Gradescope's": "First Name,Last Name,SID,Role\nAda,Lovelace,1815,Student\nCy,Twombly,9,TA\n",
    "a spreadsheet's": "sep=;\nid;first name;last name\n1815;Ada;Lovelace\n",
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_lists(tmp_path: Path, name: str, encoding: str) -> None:
    """Course systems' own lists, in their languages and as spreadsheets save them, are students with full names."""
    path = tmp_path / "students.csv"
    path.write_text(LISTS[name], encoding=encoding)
    [entry] = read(path).entries
    assert entry.student.name == "Ada Lovelace"
    assert "1815" in (entry.student.id, entry.student.sis_id)


def test_github_classroom(tmp_path: Path) -> None:
    """GitHub Classroom's identifiers are what they are, and the login is GitHub's."""
    listed = read(roster(tmp_path, GITHUB))
    assert [(e.student.id, e.student.login) for e in listed.entries] == [("ada1", "adal"), ("bob1", "bobr")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("points\n3\n", "no column that says who"),
        ("", "no column that says who"),
        ("id,exempt\n1,sometimes\n", "row 2: 'sometimes' names no exercises"),
        ("id,due\n1,tomorrow\n", "row 2: 'tomorrow' is no date"),
        ("id,due\n1,0001-01-01 00:00\n", "row 2: '0001-01-01 00:00' is no date"),
        ("id,name\nada,Ada\nada,Bob\n", "rows 2 and 3 are both about ada"),
        ('name\nAda\n"Bob\nCy\n', "row 3: it cannot be read as CSV"),
    ],
)
def test_refused(tmp_path: Path, text: str, says: str) -> None:
    """A list that cannot be used is refused in a sentence that names the row."""
    with pytest.raises(RosterError, match=says):
        read(roster(tmp_path, text))


def test_no_text(tmp_path: Path) -> None:
    """What is no text, or not there, is refused."""
    (tmp_path / "x.csv").write_bytes(b"\xff\x00\x00")
    for name in ("x.csv", "nothing.csv"):
        with pytest.raises(RosterError):
            read(tmp_path / name)
