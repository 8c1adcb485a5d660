"""Every course system's files are read as it names them: whose they are, and when they came."""

from __future__ import annotations

import os
import unicodedata
import zipfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from graders.harness.course.batch import deposit
from graders.harness.course.discovery import HandIns, discover
from graders.harness.course.layouts import named
from graders.harness.course.layouts.nbgrader import timestamp
from graders.harness.course.layouts.pattern import PatternError
from graders.harness.course.recognition import LayoutError
from graders.harness.course.reconciliation import reconcile
from graders.harness.course.roster import read
from graders.harness.course.rules import Rules
from graders.harness.course.store import Store
from graders.harness.course.tree import TreeError
from tests.harness.course.test_discovery import laid, packed, solution

STAMP = b"20261120211405123"


def whose(found: HandIns) -> set[tuple[str, str, str]]:
    """Who handed in what: id, name and exercise."""
    return {(a.student.id, a.student.name, a.exercise) for a in found.attempts}


def given(tmp_path: Path, *names: str, **others: bytes) -> Path:
    """A folder with notebooks of these names."""
    return laid(tmp_path, dict.fromkeys(names, b"{}") | others, "folder")


def test_sakai(tmp_path: Path) -> None:
    """Sakai's folders are of people by their logins, and its time stamps are UTC."""
    person = "Exercise 3/Lovelace, Ada(alovelace)"
    files = {
        f"{person}/Submission attachment(s)/solution.ipynb": b"{}",
        f"{person}/timestamp.txt": STAMP,
        f"{person}/comments.txt": b"",
        f"{person}/Feedback Attachment(s)/hints.ipynb": b"{}",
        "Exercise 3/Ross, Bob(bross)/Submission attachment(s)/ex3.ipynb": b"{}",
        "Exercise 3/Twombly, Cy(ctwombly)/Cy Twombly_submissionText.html": b"<p>no file",
        "Exercise 3/grades.csv": b"",
    }
    found = discover(laid(tmp_path, files, "zip"))
    assert found.layout == "a Sakai bulk download"
    assert whose(found) == {
        ("alovelace", "Ada Lovelace", "ex3"),
        ("bross", "Bob Ross", "ex3"),
        ("ctwombly", "Cy Twombly", "ex3"),
    }
    submitted = {attempt.student.id: attempt.submitted for attempt in found.attempts}
    assert submitted["alovelace"] == datetime(2026, 11, 20, 21, 14, 5, 123000, UTC)
    assert {a.student.id for a in found.attempts if "no notebook" in a.problem} == {"ctwombly"}


def test_groups_of_the_roster(tmp_path: Path) -> None:
    """What comes under the name of a group is its members' work, whatever number the folder has; a person's own is theirs."""
    listed = tmp_path / "roster.csv"
    listed.write_text("Identifier,Full name,Group\nParticipant 55,Ada Lovelace,Team 8\nParticipant 56,Bob Ross,Team 7\n"
                      "Participant 57,Cy Twombly,Team 7\nParticipant 58,Dora,\n")  # fmt: skip
    roster = read(listed)
    names = (
        "Team 7_55_assignsubmission_file/ex3.ipynb",
        "Team 8_12_assignsubmission_file/ex3.ipynb",
        "Dora_58_assignsubmission_file/ex3.ipynb",
    )
    found = discover(given(tmp_path, *names), roster=roster)
    assert whose(found) == {
        ("55", "Ada Lovelace", "ex3"),
        ("56", "Bob Ross", "ex3"),
        ("57", "Cy Twombly", "ex3"),
        ("58", "Dora", "ex3"),
    }
    assert {attempt.student.id: attempt.group for attempt in found.attempts} == {
        "55": "",
        "56": "Team 7",
        "57": "Team 7",
        "58": "",
    }
    held = reconcile(found, roster)
    assert (len(held.handed_in), held.nothing, held.unlisted) == (4, (), ())


NO_TEAMS = {
    "a tutorial's folder of notebooks": ("ada,T1\nbob,T1", ["T1/ada.ipynb", "T1/bob.ipynb", "T2/cy.ipynb"]),
    "a tutorial's folder of folders": ("ada,Tut 1\neve,Tut 1\ncy,Do 8", ["Tut 1/ada/ex3.ipynb", "Do 8/cy/ex3.ipynb"]),
    "a number": ("ada,1\nbob,1\ncy,2", ["1/ex3.ipynb", "2/ex3.ipynb"]),
    "a crowd": ("\n".join(f"student{n},Red" for n in range(9)), ["Red/ex3.ipynb", "Blue/ex3.ipynb"]),
    "somebody's login": ("ada,B1,a1\nbob,A1,b1\ncy,A1,c1", ["a1/ex3.ipynb", "b1/ex3.ipynb"]),
}


@pytest.mark.parametrize(("rows", "names"), NO_TEAMS.values(), ids=NO_TEAMS.keys())
def test_what_is_no_team(tmp_path: Path, rows: str, names: list[str]) -> None:
    """A column of tutorials gives nobody the work of another, and neither does a group that is called as somebody is."""
    listed = tmp_path / "roster.csv"
    listed.write_text(f"name,group,login\n{rows}\n")
    roster = read(listed)
    found = discover(given(tmp_path / "with", *names), "ex3", roster=roster)
    assert whose(found) == whose(discover(given(tmp_path / "without", *names), "ex3"))
    assert not any(attempt.group for attempt in found.attempts)


VERSIONS = {
    "beyond the exercise": (
        "",
        ["ada_ex3.ipynb", "ada_ex3_final.ipynb", "ada_ex3_neu_2.ipynb", "bob_ex3.ipynb"],
        {"ada": 3},
    ),
    "a number and a copy": (
        "",
        ["ada_ex3.ipynb", "ada_ex3 (1).ipynb", "ada_ex3_v2.ipynb", "bob_ex3.ipynb"],
        {"ada": 3},
    ),
    "before the exercise": (
        "",
        ["ada_ex3.ipynb", "ada_v2_ex3.ipynb", "Copy of ada_ex3.ipynb", "bob_ex3.ipynb"],
        {"ada": 3},
    ),
    "of another exercise": ("", ["ada_ex1.ipynb", "ada_ex3_final.ipynb", "bob_ex3.ipynb"], {"ada": 2}),
    "of the roster alone": (
        "Ada Lovelace\nBob",
        ["ada lovelace_ex3_final.ipynb", "bob_ex3.ipynb"],
        {"ada lovelace": 1},
    ),
    "folders": ("", ["ada/ex3.ipynb", "ada (1)/ex3.ipynb", "bob/ex3.ipynb"], {"ada": 2}),
    "a surname": ("Ada\nAda Neu", ["ada_ex3.ipynb", "ada_neu_ex3.ipynb", "bob_ex3.ipynb"], {"ada": 1, "ada_neu": 1}),
    "a surname beyond it": (
        "Ada\nAda Neu",
        ["ada_ex3.ipynb", "ada_ex3_neu.ipynb", "b_ex3.ipynb"],
        {"ada": 1, "ada__neu": 1},
    ),
    "perhaps a surname": ("", ["ada_ex3.ipynb", "ada_final_ex3.ipynb", "bob_ex3.ipynb"], {"ada": 1, "ada_final": 1}),
    "no surname": ("Ada\nBob", ["ada_ex3.ipynb", "ada_final_ex3.ipynb", "bob_ex3.ipynb"], {"ada": 2}),
    "nobody": ("", ["eve_ex3_final.ipynb", "bob_ex3.ipynb"], {"eve__final": 1}),
    "two kinds of people": ("", ["Anna Neu/ex3.ipynb", "Anna/ex3.ipynb"], {"Anna": 1, "Anna Neu": 1}),
}


@pytest.mark.parametrize(("listed", "names", "people"), VERSIONS.values(), ids=VERSIONS.keys())
def test_versions_of_a_persons_file(tmp_path: Path, listed: str, names: list[str], people: dict[str, int]) -> None:
    """A version beside a name is that person's, if somebody is known to be called so; and nobody loses a surname."""
    (tmp_path / "roster.csv").write_text(f"name\n{listed}\n")
    found = discover(given(tmp_path, *names), roster=read(tmp_path / "roster.csv") if listed else None)
    mine = Counter(attempt.student.id for attempt in found.attempts)
    assert {student: mine[student] for student in people} == people
    assert mine.total() == len(names)


@pytest.mark.parametrize("said", ["Gruppe 1", "Group 1", "group_1", "Team 1", "équipe 1"])
def test_the_number_of_a_group(tmp_path: Path, said: str) -> None:
    """A group that has a number alone on the roster is found under the word for a group and the number, and under no other."""
    (tmp_path / "roster.csv").write_text("name,group\nAda,1\nBob,1\nCy,2\nDora,2\nEve,11\n")
    names = f"{said}/ex3.ipynb", f"{said.replace('1', '2')}/ex3.ipynb", "Eve/ex3.ipynb"
    found = discover(given(tmp_path, *names), roster=read(tmp_path / "roster.csv"))
    groups = {attempt.student.id: attempt.group for attempt in found.attempts}
    assert groups == dict.fromkeys(("Ada", "Bob"), said) | dict.fromkeys(("Cy", "Dora"), names[1].partition("/")[0]) | {
        "Eve": ""
    }


@pytest.mark.parametrize("newest", ["own", "team"])
def test_ones_own_beside_the_teams(tmp_path: Path, newest: str) -> None:
    """Of one's own hand-in and that of one's team the newest counts for oneself, the others keep the team's, and it is said."""
    (tmp_path / "roster.csv").write_text("id,name,group\n1,Ada Lovelace,Team 7\n2,Bob Ross,Team 7\n3,Cy,\n")
    place = given(tmp_path, "Team 7/ex3.ipynb", "Lovelace, Ada/ex3.ipynb", "Cy/ex3.ipynb")
    (place / "Team 7" / "ex3.ipynb").write_bytes(b"[]")
    old = place / ("Team 7" if newest == "own" else "Lovelace, Ada") / "ex3.ipynb"
    os.utime(old, (when := datetime(2026, 11, 1, tzinfo=UTC).timestamp(), when))
    todo = deposit(discover(place, roster=read(tmp_path / "roster.csv")), Rules(("ex3",)), Store(tmp_path / "results"))
    by = {stored.student.id: stored for stored in todo}
    assert {student: stored.group for student, stored in by.items()} == {
        "1": "" if newest == "own" else "Team 7",
        "2": "Team 7",
        "Cy": "",
    }
    assert by["1"].notebook.read_bytes() == (b"{}" if newest == "own" else b"[]")
    assert by["2"].notebook.read_bytes() == b"[]"
    assert not by["2"].others
    (other,) = by["1"].others
    assert other.endswith("(of Team 7)" if newest == "own" else "(their own)")


def test_ilias(tmp_path: Path) -> None:
    """ILIAS names people and times; what one member of a team hands in is all members' work."""
    alone = "assignment/Abgaben/Lovelace_Ada_alovelace_815/20261120211405_ex3.ipynb"
    found = discover(given(tmp_path / "alone", alone, "assignment/Abgaben/Ross_Bob_bross_816/20261121090000_ex3.ipynb"))
    assert whose(found) == {("alovelace", "Ada Lovelace", "ex3"), ("bross", "Bob Ross", "ex3")}
    assert found.attempts[0].submitted == datetime(2026, 11, 20, 21, 14, 5).astimezone()  # this machine's
    team = "assignment/Abgaben/Team 17"
    names = f"{team}/Lovelace_Ada_alovelace_815/20261120211405_ex3.ipynb", f"{team}/Ross_Bob_bross_816/notes.txt"
    assert whose(discover(given(tmp_path / "team", *names))) == {
        ("alovelace", "Ada Lovelace", "ex3"),
        ("bross", "Bob Ross", "ex3"),
    }


def test_blackboard(tmp_path: Path) -> None:
    """Blackboard's attempts are one student's, by time; the note beside each says who that is."""
    start = "gradebook_2026-LORA_Exercise203"
    files = {
        f"{start}_alovelace_attempt_2026-11-20-21-14-05_ex3.ipynb": b"{}",
        f"{start}_alovelace_attempt_2026-11-21-08-00-00_ex3.ipynb": b"[]",
        f"{start}_alovelace_attempt_2026-11-20-21-14-05.txt": b"Name: Ada Lovelace (alovelace)\nAssignment: x\n",
        f"{start}_b_ross_attempt_2026-11-20-21-14-05_ex3.ipynb": b"{}",
    }
    found = discover(laid(tmp_path, files, "zip"))
    assert whose(found) == {("alovelace", "Ada Lovelace", "ex3"), ("b_ross", "", "ex3")}
    last = max(found.attempts, key=lambda attempt: attempt.number)
    assert (last.student.id, last.number, found.content(last)) == ("alovelace", 2, b"[]")


def test_brightspace(tmp_path: Path) -> None:
    """Brightspace's folders are attempts of one person, and their times are read."""
    found = discover(
        given(
            tmp_path,
            "12345-67890 - Ada Lovelace - Nov 20, 2026 1114 PM/ex3.ipynb",
            "12345-67890 - Ada Lovelace - Nov 21, 2026 907 AM/ex3.ipynb",
            "12346-67890 - Mary-Jane O'Brien - 21 November, 2026 907 AM/ex3.ipynb",
            **{"index.html": b"<html>"},
        )
    )
    assert whose(found) == {("12345", "Ada Lovelace", "ex3"), ("12346", "Mary-Jane O'Brien", "ex3")}
    times = [a.submitted.astimezone().strftime("%d %H:%M") for a in found.attempts if a.submitted]
    assert times == ["20 23:14", "21 09:07", "21 09:07"]


@pytest.mark.parametrize(
    ("names", "people"),
    [
        (("ex1-adal/notebook.ipynb", "ex3-adal/notebook.ipynb", "ex1-bobr/notebook.ipynb"), {"adal", "bobr"}),
        (("lora-ex1-adal/n.ipynb", "lora-ex3-adal/n.ipynb", "lora-ex1-bob-r/n.ipynb"), {"adal", "bob-r"}),
        (("Aufgabe1_Mueller.ipynb", "TP3_Dupont.ipynb", "Übung 3 Schmidt.ipynb"), {"Mueller", "Dupont", "Schmidt"}),
        (("T1/ada/ex1.ipynb", "T1/bob/ex1.ipynb", "T2/cy/ex1.ipynb"), {"ada", "bob", "cy"}),
        (("ada/ex1/work.ipynb", "ada/ex2/work.ipynb", "bob/ex1/work.ipynb"), {"ada", "bob"}),
        (("J. Doe/ex1.ipynb", "J. Smith/ex1.ipynb"), {"J. Doe", "J. Smith"}),
        (("ex1-j.doe/n.ipynb", "ex1-j.smith/n.ipynb", "ex2-j.doe/n.ipynb"), {"j.doe", "j.smith"}),
    ],
)
def test_people(tmp_path: Path, names: tuple[str, ...], people: set[str]) -> None:
    """A name is read without the exercise's, in the words of many languages, and below the folders of tutorials."""
    found = discover(given(tmp_path, *names))
    assert {a.student.id for a in found.attempts} == people
    assert len(found.attempts) == len(names)


def test_levels_in_doubt(tmp_path: Path) -> None:
    """Where it is not clear which folders are the students', it is asked, and a pattern answers."""
    names = "Monday/ada/ex1.ipynb", "Monday/bob/ex1.ipynb", "Friday/cy/ex1.ipynb"
    with pytest.raises(LayoutError, match="not clear which folders") as asked:
        discover(given(tmp_path, *names))
    assert "--layout" in asked.value.fix
    found = discover(tmp_path / "given", layout=named("{group}/{id}/**"))
    assert {a.student.id for a in found.attempts} == {"ada", "bob", "cy"}
    assert {a.student.id for a in discover(tmp_path / "given", layout=named("{id}/**")).attempts} == {
        "Monday",
        "Friday",
    }


def test_archives_of_each_exercise(tmp_path: Path) -> None:
    """A folder of what Canvas gave for each exercise, and a zip of such zips, are the people's in them."""
    first = packed({"lovelaceada_101_9001_work.ipynb": b"{}", "rossbob_102_9002_work.ipynb": b"{}"})
    third = packed({"lovelaceada_101_9003_work.ipynb": b"{}", "twomblycy_103_link.html": b"<a>"})
    for kind in ("folder", "zip"):
        found = discover(laid(tmp_path / kind, {"ex1.zip": first, "ex3.zip": third}, kind))
        assert found.layout == "a Canvas zip of submissions in each of 2 archives"
        assert {(a.student.id, a.exercise) for a in found.attempts} == {("101", "ex1"), ("102", "ex1"), ("101", "ex3")}
        assert found.content(found.attempts[0]) == b"{}"
        assert [stray.file for stray in found.strays] == ["ex3/twomblycy_103_link.html"]


def test_students_archives(tmp_path: Path) -> None:
    """An archive for each student is that student's, whatever is in it."""
    both = packed({"ex1.ipynb": b"{}", "ex2.ipynb": b"{}"})
    found = discover(laid(tmp_path, {"ada.zip": both, "bob.zip": both}, "folder"))
    assert {(a.student.id, a.exercise) for a in found.attempts} == {
        (who, exercise) for who in ("ada", "bob") for exercise in ("ex1", "ex2")
    }


def test_canvas_without_files(tmp_path: Path) -> None:
    """Links and typed texts are hand-ins of Canvas's without a notebook, however many they are."""
    links = [f"student{n}_{n}_link.html" for n in range(101, 107)]
    names = ("lovelaceada_201_9001_ex1.ipynb", "twomblycy_LATE_202_text.html", *links)
    found = discover(given(tmp_path, *names), "ex1")
    assert found.layout == "a Canvas zip of submissions"
    assert len(found.attempts) == 8
    problems = {a.student.id: a.problem for a in found.attempts if a.problem}
    assert problems.keys() == {"202", *map(str, range(101, 107))}
    assert [a.student.id for a in found.attempts if a.late] == ["202"]


def test_canvas_anonymous(tmp_path: Path) -> None:
    """Canvas's hidden names are ids, and what is late is late, wherever the file's name says so."""
    names = "LATE_anon_Zq7Y2_9002_ex1.ipynb", "anon_12345_9003_ex1.ipynb", "anon_Ab1_LATE_9004_ex1.ipynb"
    found = discover(given(tmp_path, *names))
    assert {(a.student.id, a.student.name, a.late) for a in found.attempts} == {
        ("Zq7Y2", "", True),
        ("12345", "", False),
        ("Ab1", "", True),
    }


@pytest.mark.parametrize("word", ["Participant", "Teilnehmer-in", "Pârticipânt of a language that nobody knows"])
def test_moodle_blind(tmp_path: Path, word: str) -> None:
    """Where Moodle hides names, in whatever language, nobody is called what it calls all of them."""
    names = (f"{word}_{number}_assignsubmission_file/ex1.ipynb" for number in (4711, 4712))
    assert whose(discover(given(tmp_path, *names))) == {("4711", "", "ex1"), ("4712", "", "ex1")}


def test_typed_in_moodle(tmp_path: Path) -> None:
    """Who typed a text in place of a file has handed in, but no notebook."""
    name = "Ada Lovelace_4711_assignsubmission_onlinetext/onlinetext.html"
    found = discover(given(tmp_path, name, "Bob Ross_4712_assignsubmission_file/ex1.ipynb"), "ex1")
    assert {(a.student.id, bool(a.problem)) for a in found.attempts} == {("4711", True), ("4712", False)}


def test_nearly_everything(tmp_path: Path) -> None:
    """A layout that explains a part only is not taken for granted: what speaks for it is shown, and it can be named."""
    names = "lovelaceada_101_9001_ex1.ipynb", "rossbob_102_9002_ex1.ipynb", "cy.ipynb"
    with pytest.raises(LayoutError, match=r"lovelaceada_101_9001_ex1\.ipynb is lovelaceada's") as asked:
        discover(given(tmp_path, *names))
    assert "--layout canvas" in asked.value.fix
    found = discover(tmp_path / "given", layout=named("canvas"))
    assert {a.student.id for a in found.attempts} == {"101", "102"}
    assert [stray.file for stray in found.strays] == ["cy.ipynb"]


def test_pattern(tmp_path: Path) -> None:
    """A pattern of one's own says who is who."""
    found = discover(
        given(tmp_path, "G1/Lovelace_Ada_815/sheet2.ipynb", "G2/Ross_Bob_816/sheet2.ipynb", "G2/readme.txt"),
        "ex2",
        named("{group}/{last}_{first}_{id}/*.ipynb"),
    )
    assert whose(found) == {("815", "Ada Lovelace", "ex2"), ("816", "Bob Ross", "ex2")}


@pytest.mark.parametrize("pattern", ["{nobody}/*", "*.ipynb", "{id}/{id}", "{id", "folder"])
def test_pattern_refused(pattern: str) -> None:
    """A pattern that names nobody, or what there is not, is refused with the fields that there are."""
    with pytest.raises(PatternError) as refused:
        named(pattern)
    assert refused.value.fix


def test_layout_that_does_not_fit(tmp_path: Path) -> None:
    """A layout that was named and explains nothing is refused, with an example of what it expects."""
    with pytest.raises(LayoutError, match="not a Moodle zip") as refused:
        discover(given(tmp_path, "ada/ex1.ipynb"), layout=named("moodle"))
    assert "assignsubmission_file" in refused.value.fix


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("cp850", ["João", "Müller", "Åse Ørsted", "Peña"]),
        ("cp1252", ["João", "Müller", "Renée", "Peña"]),
        ("cp1252", ["André"]),
        ("cp850", ["André"]),
        ("gbk", ["王小明", "李娜"]),
        ("shift_jis", ["山田太郎", "すずき"]),
        ("cp866", ["Иванов Иван"]),
        ("utf-8", ["王小明", "João"]),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, names: list[str]) -> None:
    """Names in an archive that does not say its encoding are read as the words that they are."""
    path = tmp_path / "given.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            stand_in = f"@{number}@".ljust(len(f"{name}/ex1.ipynb".encode(encoding)), "@")
            archive.writestr(stand_in, b"{}")
    content = path.read_bytes()
    for number, name in enumerate(names):
        raw = f"{name}/ex1.ipynb".encode(encoding)
        content = content.replace(f"@{number}@".ljust(len(raw), "@").encode(), raw)
    path.write_bytes(content)
    assert {a.student.id for a in discover(path).attempts} == set(names)


def test_one_name_in_two_forms(tmp_path: Path) -> None:
    """A name whose accents are composed once and apart once is one person's."""
    apart, composed = (unicodedata.normalize(form, "Zoë") for form in ("NFD", "NFC"))
    files = {f"{apart}/ex1.ipynb": b"{}", f"{composed}/ex2.ipynb": b"{}"}
    for kind in ("folder", "zip"):
        found = discover(laid(tmp_path / kind, files, kind))
        assert {a.student.id for a in found.attempts} == {"Zoë"}


def test_names_that_lead_outside(tmp_path: Path) -> None:
    """What would lie outside of the archive is left out and named; of two files of one name the last counts."""
    path = tmp_path / "given.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../evil/ex1.ipynb", "/abs/ex1.ipynb", "C:\\x\\ex1.ipynb", "ada/ex1.ipynb", "bob/ex1.ipynb"):
            archive.writestr(name, b"{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("ada/ex1.ipynb", b"[]")
    found = discover(path)
    assert {a.student.id for a in found.attempts} == {"ada", "bob"}
    assert found.content(found.attempts[0]) == b"[]"
    assert {stray.file for stray in found.strays} == {
        "../evil/ex1.ipynb",
        "/abs/ex1.ipynb",
        "C:/x/ex1.ipynb",
        "ada/ex1.ipynb",
    }


@pytest.mark.parametrize("what", ["encrypted", "damaged"])
def test_the_given_archive(tmp_path: Path, what: str) -> None:
    """When the archive that was given is damaged or encrypted, nobody is graded: the file in it is named."""
    path = laid(tmp_path, {"ada/ex1.ipynb": solution("ex1"), "bob/ex1.ipynb": solution("ex1")}, "zip")
    content = bytearray(path.read_bytes())
    if what == "encrypted":
        for at in [i for i in range(len(content)) if content[i : i + 4] == b"PK\x01\x02"]:
            content[at + 8] |= 1
    else:
        content[200:220] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(TreeError, match=r"given\.zip: ada/ex1\.ipynb: The archive is") as stopped:
        discover(path)
    assert "Nobody was graded" in stopped.value.fix


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-11-20 21:14:05.123456 CEST", 19),
        ("2026-11-20 21:14:05 EDT", 1),
        ("2026-11-20 21:14:05 PST", 5),
        ("2026-11-20 21:14:05 JST", 12),
        ("2026-11-20 21:14:05 America/Los_Angeles", 5),
        ("2026-11-20 21:14:05+01:00", 20),
        ("2026-11-20 21:14:05 UTC", 21),
        ("2026-11-20 21:14:05", 21),
        ("some time", None),
        ("2026-11-20 21:14:05 XYZ", None),
    ],
)
def test_nbgrader_times(text: str, hour: int | None) -> None:
    """nbgrader's times are read with the zone that they name, and not taken for others."""
    when = timestamp(text)
    assert (when.astimezone(UTC).hour if when else None) == hour
