"""The gradebook as a table for a spreadsheet."""

import csv
import io
from dataclasses import replace

import pytest

from graders.harness.gradebooks.table import export
from graders.harness.marks import Student
from graders.harness.result import CheckResult, Outcome
from tests.harness.gradebooks.courses import HOSTILE, book, course, grade, record


def rows(content: bytes) -> list[dict[str, str]]:
    assert content.startswith(b"\xef\xbb\xbf")  # or Excel takes it for another encoding
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))


def test_a_row_for_each_student() -> None:
    """Each student's points, what became of each exercise, and the sum, where every exercise that counts has a score."""
    ada, bob, cy, dee, eve = rows(export(course()))
    assert ada == {
        "id": "101",
        "name": "Ada Lovelace",
        "login": "ada",
        "ex1_score": "8.75",
        "ex1_of": "12",
        "ex1_status": "graded",
        "ex1_late": "",
        "ex1_written": "1.5",
        "ex1_undecided": "",
        "ex3_score": "10.3",
        "ex3_of": "12",
        "ex3_status": "graded",
        "ex3_late": "yes",
        "ex3_written": "1.5",
        "ex3_undecided": "",
        "total": "19.05",
        "of": "24",
    }
    assert (bob["ex1_score"], bob["ex1_status"], bob["ex3_written"], bob["total"]) == ("", "trouble", "", "")
    assert (cy["ex1_score"], cy["ex1_status"], cy["ex3_score"], cy["ex3_status"]) == ("0", "missing", "", "exempt")
    assert (dee["ex1_status"], dee["total"]) == ("refused", "1.8")
    assert (eve["total"], eve["of"], cy["of"]) == ("", "0", "12")


def test_undecided_points_are_no_score() -> None:
    """Where points are undecided the score and the total are empty, and the undecided points have a column."""
    fault = CheckResult("x", "X", Outcome.GRADER_FAULT, 0, 0, undecided=3)
    graded = grade("ex1")
    result = replace(graded.result, checks=(*graded.result.checks, fault))
    (row,) = rows(export(book(record(Student("1", "Ada"), replace(graded, result=result)))))
    assert (row["ex1_score"], row["ex1_undecided"], row["total"]) == ("", "3", "")


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("name", HOSTILE)
def test_names_do_no_harm(name: str, delimiter: str) -> None:
    """Whatever a student is called, it is a row on one line, without formulas, and without what cannot be seen."""
    content = export(book(record(Student(name, name, name), grade("ex1"))))
    assert len(content.splitlines()) == 2
    text = content.decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for cell in row]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t＝＋－＠"))]
    assert not set(text.replace("\r\n", "")) & set("\x00\x07\x1b\u202e\u202c\ufffd\r\n")


def test_names_that_are_only_unusual_stay() -> None:
    """Accents, scripts, families of emoji and apostrophes come through."""
    names = ["Zoë O'Neil", "家人", "می‌خواهم", "👩‍👩‍👧", 'Robert "Bobby", Tables']
    found = rows(export(book(*(record(Student(str(i), name), grade("ex1")) for i, name in enumerate(names)))))
    assert [row["name"] for row in found] == names
