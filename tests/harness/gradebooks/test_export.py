"""All files for course systems at once: who is who in each of them, and no file in the place of another."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import replace
from pathlib import Path

from graders.harness.gradebooks.export import Wanted, export
from graders.harness.marks import Student
from tests.harness.gradebooks.courses import ADA, BOB, book, grade, record

MOODLE = "a Moodle zip of submissions"
WORKSHEET = """Identifier,Full name,Grade,Maximum grade,Last modified (grade)
Participant 4711,Ada Lovelace,,12,-
Participant 101,Somebody Else,,12,-
"""
CANVAS = """Student,ID,SIS Login ID,Exercise 1 (901)
    Points Possible,,,"1,012.00"
"Lovelace, Ada",101,ada,
"""


def handed_in(student: Student, number: str, name: str = "Ada Lovelace"):
    """A record of somebody whose hand-in has another number than the roster."""
    return replace(record(student, grade("ex1", file="ex1.ipynb", attempts=1)), handed_in_as=Student(number, name))


def test_moodle_gets_its_own_numbers(tmp_path: Path) -> None:
    """Feedback and scores go to the participant's number, though the roster has the university's, and someone else's is equal."""
    (tmp_path / "grades.csv").write_text(WORKSHEET)
    gradebook = book(handed_in(ADA, "4711"))
    wanted = Wanted((("ex1", tmp_path / "grades.csv"),))
    export(gradebook, {ADA.id: "<p>well done"}, MOODLE, wanted, tmp_path)
    with zipfile.ZipFile(tmp_path / "gradebooks" / "moodle-feedback.zip") as archive:
        assert archive.namelist() == ["Ada Lovelace_4711_assignsubmission_file/feedback.html"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "gradebooks" / "grades.csv").read_text())))
    assert [row["Grade"] for row in rows] == ["8.75", ""]


def test_moodle_without_names(tmp_path: Path) -> None:
    """Where names are hidden, feedback goes back by the number alone."""
    blind = replace(handed_in(Student("4711"), "4711", ""), student=Student("4711"))
    export(book(blind), {"4711": "<p>"}, MOODLE, Wanted(), tmp_path)
    with zipfile.ZipFile(tmp_path / "gradebooks" / "moodle-feedback.zip") as archive:
        assert archive.namelist() == ["Participant_4711_assignsubmission_file/feedback.html"]


def test_files_of_one_name(tmp_path: Path) -> None:
    """Two worksheets of one name both come out, and neither takes the place of a file of ours."""
    for folder, name in (("a", "Grades.csv"), ("b", "grades.csv"), ("b", "gradebook.csv")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(WORKSHEET)
    files = [("ex1", tmp_path / "a" / "Grades.csv"), ("ex3", tmp_path / "b" / "grades.csv")]
    files.append(("ex1", tmp_path / "b" / "gradebook.csv"))
    people = record(ADA, grade("ex1"), grade("ex3")), record(BOB, grade("ex1"), grade("ex3"))
    notes = export(book(*people), {}, "a folder", Wanted(tuple(files)), tmp_path)
    made = {path.name: path.read_text() for path in (tmp_path / "gradebooks").glob("*.csv")}
    assert {"Grades.csv", "grades-ex3.csv", "gradebook-ex1.csv"} < made.keys()
    assert "Participant" not in made["gradebook.csv"]
    assert "Participant" in made["gradebook-ex1.csv"]
    assert any(note.startswith("grades-ex3.csv: ") for note in notes)


def test_canvas_without_a_section(tmp_path: Path) -> None:
    """A gradebook of Canvas's without the column of sections, and with points in groups of digits, is one."""
    (tmp_path / "canvas.csv").write_text(CANVAS)
    notes = export(
        book(record(ADA, grade("ex1"))),
        {},
        "a Canvas zip",
        Wanted((("", tmp_path / "canvas.csv"),), scale=True),
        tmp_path,
    )
    rows = list(csv.DictReader(io.StringIO((tmp_path / "gradebooks" / "canvas.csv").read_text())))
    assert [row["Exercise 1 (901)"] for row in rows] == ["1,012.00", "737.92"]
    assert not any(note.startswith("brightspace.csv") for note in notes)
