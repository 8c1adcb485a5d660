"""Scores in a Canvas gradebook, read back as Canvas reads it."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from graders.harness.gradebooks.canvas import TOTAL, merge
from graders.harness.gradebooks.sheet import SheetError
from graders.harness.marks import Status, Student
from tests.harness.gradebooks.courses import ADA, BOB, CY, DEE, EVE, HOSTILE, book, course, grade, record

HEADER = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
TITLES = ["Essay (900)", "Exercise 1: Layers (901)", "ex3 (903)", "Everything (909)"]
TOTALS = ["Assignments Current Score", "Current Score", "Final Grade (2026)"]
POINTS = ["    Points Possible", "", "", "", "", "20", "12", "12.0", "24", *["(read only)"] * 3]


def line(student: Student, *cells: str) -> list[str]:
    name = ", ".join(reversed(student.name.split()))
    return [name, student.id, student.sis_id, student.login, "A", *(cells or ("5", "", "", "")), "1", "2", "C"]


def export(path: Path, *lines: Sequence[str], header: Sequence[str] = HEADER, **dialect: str) -> Path:
    """What Canvas exports, as it does."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, **({"lineterminator": "\n"} | dialect))  # type: ignore[arg-type]
    writer.writerows([[*header, *TITLES, *TOTALS], *lines])
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    people = [line(one) for one in (DEE, ADA, BOB, CY, EVE)]
    return export(tmp_path / "grades.csv", POINTS, *people, line(Student("999", "Test Student")))


def canvas(content: bytes, known: Sequence[str] = TITLES) -> tuple[dict[str, dict[str, str]], list[str]]:
    """What Canvas imports: grades by the student's id and the assignment's, and the assignments that it would make."""
    text = content.decode()
    ids = {re.fullmatch(r".*\s\((\d+)\)", title)[1] for title in known}  # type: ignore[index]
    delimiter = ";" if text.partition("\n")[0].count(";") else ","
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    header = rows[0]
    assert "Student" in header[0] or (header[0], header[1]) == ("LastName", "FirstName")
    first = header.index("Section") + 1
    assert not [title for title in header if re.search("Current Score|Final Grade", title)]
    found = {i: re.fullmatch(r"(.*)\s\((\d+)\)", header[i]) for i in range(first, len(header))}
    new = [header[i] for i, match in found.items() if not match or match[2] not in ids]
    grades = {}
    for row in rows[1:]:
        if "Points Possible" in row[0] or all(re.fullmatch(r"\s*(Manual Posting.*)?\s*", cell) for cell in row):
            continue
        said = {match[2]: row[i].strip() for i, match in found.items() if match}
        numbers = {key: re.sub(r"^(\d+)[.,](\d+)$", r"\1.\2", value) for key, value in said.items()}
        grades[row[header.index("ID")]] = numbers
    return grades, new


def test_scores_reach_the_right_students(exported: Path) -> None:
    """Each score, written answers and penalty in it, is its student's; what has no score, or is missing, stays as it was."""
    merged = merge(exported, course())
    grades, new = canvas(merged.content)
    assert grades == {
        "104": {"901": "0", "903": "1.8"},
        "101": {"901": "8.75", "903": "10.3"},
        "102": {"901": "", "903": "7.25"},
        "103": {"901": "", "903": "EX"},
        "105": {"901": "EX", "903": "EX"},
        "999": {"901": "", "903": ""},
    }
    assert new == []
    assert merged.columns == {"ex1": "Exercise 1: Layers (901)", "ex3": "ex3 (903)"}
    assert merged.provisional == ((BOB, "ex3"),)
    assert (merged.unplaced, merged.unmatched, merged.kept, merged.renamed) == ((), (), (), ())


def test_rows_are_as_they_came(tmp_path: Path) -> None:
    """Rows come in their order with the cells that say who they are about, byte for byte, and nothing but our columns."""
    names = [name.replace("\ud800", "") for name in HOSTILE]
    lines = [[name, str(i), "", f"login{i}", "A, B", "5", "1", "2", "3", "4", "5", "C"] for i, name in enumerate(names)]
    path = export(tmp_path / "grades.csv", POINTS, *lines)
    expected = path.read_bytes().decode()
    for theirs, ours in (
        (",5,1,2,3,4,5,C\n", ",8.75\n"),
        (",20,12,12.0,24,(read only),(read only),(read only)\n", ",12.0\n"),
        (",".join(["", *TITLES, *TOTALS]), ",ex3 (903)"),
    ):
        expected = expected.replace(theirs, ours)
    everybody = book(*(record(Student(str(i), name), grade("ex3")) for i, name in enumerate(names)))
    assert merge(path, everybody).content.decode() == expected


def test_what_canvas_settled_stays(tmp_path: Path) -> None:
    """Nobody who is excused in Canvas, or was not given the assignment, gets a score, and the caller learns of it."""
    path = export(tmp_path / "grades.csv", POINTS, line(ADA, "5", "EX", "N/A", ""), line(EVE, "5", "N/A", "", ""))
    merged = merge(path, course())
    grades, _ = canvas(merged.content)
    assert grades == {"101": {"901": "EX", "903": "N/A"}, "105": {"901": "N/A", "903": "EX"}}
    assert merged.kept == ((ADA, "ex1"), (ADA, "ex3"))


def test_scores_are_not_lost_to_a_second_grading(tmp_path: Path) -> None:
    """What is in Canvas stays for a student who is in trouble, or is missing here; a score here replaces one there."""
    path = export(tmp_path / "grades.csv", POINTS, *(line(one, "5", "3", "3", "") for one in (ADA, BOB, CY)))
    grades, _ = canvas(merge(path, course()).content)
    assert [grades[one]["901"] for one in ("101", "102", "103")] == ["8.75", "3", "3"]


def test_who_was_not_found_is_told(tmp_path: Path) -> None:
    """Students without a row, and rows without a student, are named; Canvas's test student is not missed."""
    stranger = Student("777", "Zoe Zed")
    path = export(tmp_path / "grades.csv", POINTS, line(ADA), line(stranger), line(Student("999", "Test Student")))
    merged = merge(path, book(record(ADA, grade("ex3")), record(BOB, grade("ex3"))))
    assert merged.unplaced == (BOB,)
    assert merged.unmatched == ("Zed, Zoe",)


def test_another_name_in_the_row_is_told(tmp_path: Path) -> None:
    """A student who is known by the id, and called otherwise there, gets the score, and the caller learns of it."""
    path = export(tmp_path / "grades.csv", POINTS, line(Student("101", "Zoe Zed", "ada")), line(BOB))
    merged = merge(path, course())
    assert canvas(merged.content)[0]["101"]["901"] == "8.75"
    assert merged.renamed == ((ADA, "Zed, Zoe"),)


@pytest.mark.parametrize(
    ("titles", "column"),
    [
        (["Ex3 (1)", "Ex30 (2)", "Exercise 3.1 (3)", "Sex3 (4)", "ex13 (5)", "Ex 4 (3)", "Vertex 3 (6)"], "Ex3 (1)"),
        (["Exercise 03 – Train (1)", "Exercise 1 (2)"], "Exercise 03 – Train (1)"),
        (["LoRA: exercise_3 (1)", "ex3 notes"], "LoRA: exercise_3 (1)"),
        (["Assignment 3 (7)", "EX-3, part two (1)"], "EX-3, part two (1)"),
    ],
)
def test_a_column_is_found_by_its_title(tmp_path: Path, titles: list[str], column: str) -> None:
    """The one assignment that has the exercise as a word is its column; numbers in longer words are others."""
    path = tmp_path / "grades.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        points = ["Points Possible", "", "", "", "", *["12"] * len(titles)]
        csv.writer(file).writerows([[*HEADER, *titles], points])
    assert merge(path, book(record(ADA, grade("ex3")))).columns == {"ex3": column}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"ex3": "ex33"}, "There is no column 'ex33'. grades.csv has these assignments: 'Essay (900)', 'Exercise 1"),
        ({"ex3": "Current Score"}, "There is no column 'Current Score'"),
        ({"ex3": "Final Grade (2026)"}, "There is no column"),
        ({"ex3": "Section"}, "There is no column 'Section'"),
        ({"ex9": "Essay"}, "There is no exercise 'ex9'"),
        ({"ex1": "ex3", "ex3": "ex3 (903)"}, "Two exercises go to the same column"),
    ],
)
def test_only_assignments_that_are_there(exported: Path, columns: dict[str, str], said: str) -> None:
    """A title of which Canvas would make a new assignment, or that is computed, is refused, and those that are there listed."""
    with pytest.raises(SheetError, match=re.escape(said)):
        merge(exported, course(), columns)


def test_a_column_that_is_not_found_or_not_the_only_one_is_asked_for(tmp_path: Path, exported: Path) -> None:
    """Between several that fit nothing is guessed, nor where none does."""
    with pytest.raises(SheetError, match=r"There is no column whose title has ex2 as a word.*'Essay"):
        merge(exported, book(record(ADA, grade("ex2"))))
    text = exported.read_text().replace("Essay (900)", "Exercise 3 draft (900)")
    exported.write_text(text)
    with pytest.raises(SheetError, match="more than one column whose title has ex3 as a word"):
        merge(exported, book(record(ADA, grade("ex3"))))


def test_points_that_do_not_fit_are_not_scaled_silently(exported: Path) -> None:
    """Where Canvas has other points than the exercise both numbers are told; with scaling the share is the same."""
    columns = {"ex1": "Essay"}
    with pytest.raises(
        SheetError, match=re.escape("'Essay (900)' is for ex1, which is worth 12 points, and the column 20.")
    ):
        merge(exported, course(), columns)
    grades, _ = canvas(merge(exported, course(), columns, scale=True).content)
    assert grades["101"] == {"900": "14.58"}
    exported.write_text(exported.read_text().replace(",20,", ",,"))
    with pytest.raises(SheetError, match="is worth '' in Canvas"):
        merge(exported, course(), columns, scale=True)


def test_the_total_has_a_column_of_its_own(exported: Path) -> None:
    """A total is the sum, or nothing while an exercise of it is in trouble; with an exemption it is worth less, and told so."""
    everything = course()
    whole = book(*(one for one in everything.records if one.student not in (CY, EVE)))
    merged = merge(exported, whole, {TOTAL: "Everything"})
    grades, _ = canvas(merged.content)
    assert grades["101"] == {"909": "19.05"}
    assert grades["102"] == {"909": ""}
    assert grades["104"] == {"909": "1.8"}
    exempt = book(record(CY, grade("ex1"), grade("ex3", Status.EXEMPT)))
    with pytest.raises(SheetError, match="worth 12 points for Cy Twombly, and the column 24"):
        merge(exported, exempt, {TOTAL: "Everything"})
    grades, _ = canvas(merge(exported, exempt, {TOTAL: "Everything"}, scale=True).content)
    assert grades["103"] == {"909": "17.5"}
    grades, _ = canvas(merge(exported, book(everything.records[-1]), {TOTAL: "Everything"}).content)
    assert grades["105"] == {"909": "EX"}


def test_as_a_german_spreadsheet_has_it(tmp_path: Path) -> None:
    """A file with semicolons, a mark of its encoding and Windows line ends stays one, with the commas that belong to it."""
    points = [cell.replace(".", ",") for cell in POINTS]
    path = export(tmp_path / "grades.csv", points, line(ADA), delimiter=";", lineterminator="\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    content = merge(path, course()).content
    assert content.splitlines()[2] == b"Lovelace, Ada;101;S-1;ada;A;8,75;10,3"
    assert content.startswith(b"\xef\xbb\xbfStudent;ID;")
    assert content.count(b"\r\n") == content.count(b"\n") == 3
    assert canvas(content)[0]["101"] == {"901": "8.75", "903": "10.3"}


def test_rows_that_are_about_nobody(tmp_path: Path) -> None:
    """Rows above the students, and columns that a course has besides, are let alone."""
    posting = ["", "", "", "", "", "Manual Posting", "", "Manual Posting", "", "", "", ""]
    path = export(tmp_path / "grades.csv", posting, POINTS, line(ADA))
    merged = merge(path, course())
    assert merged.unmatched == ()
    assert canvas(merged.content)[0] == {"101": {"901": "8.75", "903": "10.3"}}


def test_last_and_first_names_apart(tmp_path: Path) -> None:
    """An export with two columns for the name is read, too."""
    header = ["LastName", "FirstName", "ID", "SIS User ID", "SIS Login ID", "Section"]
    points = ["    Points Possible", "", *POINTS[1:]]
    path = export(tmp_path / "grades.csv", points, ["Lovelace", "Ada", *line(Student("7"))[1:]], header=header)
    merged = merge(path, book(record(Student("x", "Ada Lovelace"), grade("ex3"))))
    assert canvas(merged.content)[0] == {"7": {"903": "8.75"}}


@pytest.mark.parametrize(
    "text",
    ["id,name,total\n1,Ada,5\n", "Identifier,Full name,Grade\nParticipant 1,Ada,\n", "Name,ID,Section,ex1 (1)\n"],
)
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    """What is no export of Canvas's gradebook is not taken for one."""
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(SheetError, match=r"other\.csv is no gradebook of Canvas"):
        merge(tmp_path / "other.csv", course())
