"""Scores in a Moodle grading worksheet and feedback beside it, read back as Moodle reads them."""

import csv
import io
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from graders.harness.gradebooks.moodle import feedback_zip, folder, merge
from graders.harness.gradebooks.sheet import SheetError
from graders.harness.marks import Student
from tests.harness.gradebooks.courses import ADA, BOB, CY, DEE, EVE, HOSTILE, book, course, grade, record

ENGLISH = ["Identifier", "Full name", "Status", "Grade", "Maximum grade", "Last modified (grade)", "Feedback comments"]
GERMAN = ["ID", "Vollständiger Name", "Status", "Bewertung", "Bestwertung", "Zuletzt geändert (Bewertung)", "Feedback"]
BACKSLASH = 'Participant 99,Kurt,Submitted,@,12.00,-,"See ""G\\"odel, Escher"", page 5"\n'
"""A row with a comment as PHP writes it: it does not double a quotation mark after a backslash."""


def line(number: str, name: str, given: str = "", participant: str = "Participant ", comment: str = "") -> list[str]:
    return [f"{participant}{number}", name, "Submitted", given, "12.00", "-", comment]


def worksheet(path: Path, *lines: Sequence[str], header: Sequence[str] = ENGLISH, delimiter: str = ",") -> Path:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([header, *lines])
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


def fgetcsv(text: str, delimiter: str) -> list[list[str]]:
    """CSV as PHP reads it, character by character: after a backslash, a quotation mark ends nothing."""
    rows, row, cell, quoted, place = [], list[str](), "", False, 0
    while place < len(text):
        one = text[place]
        if quoted and one == "\\":
            cell, place = cell + text[place : place + 2], place + 1
        elif quoted and text[place : place + 2] == '""':
            cell, place = cell + '"', place + 1
        elif one == '"' and (quoted or not cell):
            quoted = not quoted
        elif not quoted and one == delimiter:
            row, cell = [*row, cell], ""
        elif not quoted and one == "\n":
            rows, row, cell = [*rows, [*row, cell]], [], ""
        else:
            cell += one
        place += 1
    return rows


def moodle(
    content: bytes, header: Sequence[str] = ENGLISH, participant: str = "Participant ", delimiter: str = ","
) -> dict[str, str]:
    """The grades that Moodle imports in a language, by the number of the participant."""
    text = content.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    columns, *rows = fgetcsv(text, delimiter)
    identifier, given = columns.index(header[0]), columns.index(header[3])
    assert header[5] in columns
    assert {len(row) for row in rows} == {len(columns)}
    return {row[identifier][len(participant) :]: row[given] for row in rows}


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    people = [line(one.id, one.name) for one in (DEE, ADA, BOB, CY, EVE)]
    return worksheet(tmp_path / "Grades.csv", *people, line("777", "Zoe Zed"))


def test_scores_reach_the_right_participants(downloaded: Path) -> None:
    """Each score is its participant's; who has none, is exempt or handed in nothing keeps an empty cell, which is no grade."""
    merged = merge(downloaded, course(), "ex3")
    assert moodle(merged.content) == {"104": "1.8", "101": "10.3", "102": "7.25", "103": "", "105": "", "777": ""}
    assert merged.unmatched == ("Participant 777",)
    assert merged.unplaced == ()
    assert merged.provisional == ((BOB, "ex3"),)
    assert merged.columns == {"ex3": "Grade"}
    assert merged.renamed == ()


def test_scores_are_not_lost_to_a_second_grading(tmp_path: Path) -> None:
    """A grade in Moodle stays for a student in trouble, and gives way to a score from here."""
    path = worksheet(tmp_path / "Grades.csv", line("102", "Bob Ross", "3.00"), line("101", "Ada", "3.00"))
    assert moodle(merge(path, course(), "ex1").content) == {"102": "3.00", "101": "8.75"}


def test_all_but_the_grades_stays(tmp_path: Path) -> None:
    """Names, dates and comments come back byte for byte, also where PHP writes CSV in its own way."""
    names = [name.replace("\ud800", "") for name in HOSTILE]
    path = worksheet(tmp_path / "Grades.csv", *(line(str(i), name, "@") for i, name in enumerate(names)))
    before = path.read_bytes() + BACKSLASH.encode()
    path.write_bytes(before)
    people = [record(Student(str(i)), grade("ex3")) for i in (*range(len(names)), 99)]
    content = merge(path, book(*people), "ex3").content
    assert content == before.replace(b",@,", b",8.75,")


def test_a_comment_with_a_backslash_moves_no_grade(tmp_path: Path) -> None:
    """A cell that PHP reads as one is one here: a comma after a quotation mark after a backslash is none of ours."""
    path = worksheet(tmp_path / "Grades.csv", line("101", "Ada"))
    path.write_text(path.read_text() + 'Participant 102,"Bob \\"the, painter",Submitted,,12.00,-,\n')
    content = merge(path, book(record(BOB, grade("ex3"))), "ex3").content
    assert moodle(content) == {"101": "", "102": "8.75"}


def test_in_german(tmp_path: Path) -> None:
    """A worksheet in another language keeps its headers; points have a decimal point, which Moodle reads in every language."""
    lines = [[*line("101", "Ada", participant="Teilnehmer/in")]]
    lines[0][4] = "12,00"
    path = worksheet(tmp_path / "Grades.csv", *lines, header=GERMAN, delimiter=";")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    content = merge(path, course(), "ex3").content
    assert moodle(content, GERMAN, "Teilnehmer/in", ";") == {"101": "10.3"}
    assert content.count(b"\r\n") == content.count(b"\n") == 2


def test_in_a_language_that_is_not_known(tmp_path: Path) -> None:
    """Where the column of grades has no name that is known, the columns are listed, and the user can say which it is."""
    polish = ["Identyfikator", "Nazwa", "Status", "Ocena", "Maksymalna", "Ostatnia modyfikacja (ocena)", "Komentarz"]
    path = worksheet(tmp_path / "Grades.csv", line("101", "Ada", participant="Uczestnik "), header=polish)
    with pytest.raises(
        SheetError, match=r"no column 'of grades by a name that is known'; it has 'Identyfikator'.*'Ocena'"
    ):
        merge(path, course(), "ex3")
    with pytest.raises(SheetError, match="no column 'Nota'"):
        merge(path, course(), "ex3", grade="Nota")
    content = merge(path, course(), "ex3", grade="Ocena").content
    assert moodle(content, polish, "Uczestnik ") == {"101": "10.3"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "Last modified (grade)",
            "Changed",
            "has no column 'Last modified .grade.', and Moodle takes no worksheet without it",
        ),
        (",Grade,", ",Points,", "has no column 'of grades"),
        ("Participant 101", "Ada", "row 2: 'Ada' is no identifier of Moodle's"),
        ("12.00", "Good\nBad", "row 2: there are 5 cells, and 7 in the header"),
        (",12.00,", ",,", "does not say after each grade how many points there are"),
        (",12.00,", ',"Poor\nGood",', "does not say after each grade"),
        (",12.00,", ",100.00,", "is for ex3, which is worth 12 points, and the column 100"),
    ],
)
def test_what_moodle_would_not_take_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    """A worksheet that Moodle would refuse, misread or silently pass over is refused in a sentence."""
    path = worksheet(tmp_path / "Grades.csv", line("101", "Ada"))
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SheetError, match=said):
        merge(path, course(), "ex3")


def test_scaling_is_asked_for(tmp_path: Path) -> None:
    """With scaling, and only then, the share of an assignment's points is that of the exercise's."""
    path = worksheet(tmp_path / "Grades.csv", line("101", "Ada"))
    path.write_text(path.read_text().replace(",12.00,", ",100.00,"))
    assert moodle(merge(path, course(), "ex3", scale=True).content) == {"101": "85.83"}


def test_an_exercise_that_is_not_there(downloaded: Path) -> None:
    """An exercise that the gradebook does not have is named with those that it has."""
    with pytest.raises(SheetError, match="There is no exercise 'ex2'"):
        merge(downloaded, course(), "ex2")


def participant(name: str) -> int | None:
    """Whose feedback Moodle takes a file of the archive for, by the parts of its path."""
    for part in name.split("/"):
        info = part.split("_", 4)
        if len(info) >= 4 and info[1].isdigit() and info[2:4] == ["assignsubmission", "file"]:
            return int(info[1])
    return None


def test_feedback_reaches_its_student(tmp_path: Path) -> None:
    """Each page is the file feedback.html in the folder that Moodle knows its student by, whatever the name is made of."""
    names = [re.sub("[/_\0\ud800]", " ", name) for name in HOSTILE]
    folders = {str(i): f"{name}_{i}_assignsubmission_file{'_' if i % 2 else ''}" for i, name in enumerate(names)}
    pages = {str(i): f"<p>{i}".encode() for i in range(len(names))}
    content = feedback_zip(folders | {"away": "Cy_500_assignsubmission_file"}, pages | {"nobody": b"no folder"})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        found = {participant(name): archive.read(name) for name in archive.namelist()}
        assert all(name.endswith("/feedback.html") for name in archive.namelist())
    assert found == {i: f"<p>{i}".encode() for i in range(len(names))}
    assert feedback_zip(folders, pages) == feedback_zip(folders, pages)


@pytest.mark.parametrize(
    "folder",
    ["ada", "../Ada_1_assignsubmission_file", "A\0_1_assignsubmission_file", "A_B_1_assignsubmission_file", "/etc"],
)
def test_folders_of_another_kind_are_refused(folder: str) -> None:
    """A folder that Moodle would not know, or that leads elsewhere, does not get into the archive."""
    with pytest.raises(SheetError, match="is no folder of a zip of submissions from Moodle"):
        feedback_zip({"1": folder}, {"1": b""})


@pytest.mark.parametrize("name", ["..\\..\\x", "C:\\x", "C:x", "a/b", "a_b", "..", "/etc/passwd", "\\\\host\\share"])
def test_names_are_no_paths(name: str) -> None:
    """Whatever somebody is called, their page lies in a folder of the archive's own, also for programs that know drives."""
    student = Student("123", name)
    archive = zipfile.ZipFile(io.BytesIO(feedback_zip({"123": folder(student)}, {"123": b"page"})))
    (entry,) = archive.namelist()
    assert entry.count("/") == 1
    assert not set(entry) & set("\\:")
    assert re.fullmatch(r"[^_/]+_123_assignsubmission_file/feedback\.html", entry)
