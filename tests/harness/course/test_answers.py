"""Written answers, from hand-ins to the file of points and back."""

import csv
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from graders.harness.course.answers import PointsError, answers_in, collect, read_points, with_points, write

SOLUTION = "*Your answer:*\n\n### BEGIN SOLUTION\nBecause text meets picture there.\n### END SOLUTION"


def notebook(answer: str, cell_id: str = "answer-why") -> nbformat.NotebookNode:
    tags = {"tags": ["written-answer"], "points": 2}
    return new_notebook(
        cells=[
            new_code_cell("x = 1", metadata={"tags": ["parameters"]}),
            new_markdown_cell("**Why?**"),
            new_markdown_cell(answer, id=cell_id, metadata=tags),
        ]
    )


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A reference solution, and three graded hand-ins."""
    (tmp_path / "references").mkdir()
    nbformat.write(notebook(SOLUTION), tmp_path / "references" / "ex1.ipynb")
    hand_ins = {
        "ada": notebook("*Your answer:*\n\nWords reach it there, ünïcode too."),
        "bob": notebook('=HYPERLINK("http://evil")', cell_id="lost-its-id"),
        "cy": notebook("*Your answer:*\n\n…\n"),
    }
    for name, content in hand_ins.items():
        folder = tmp_path / ".grade" / "ex1" / name / "run"
        folder.mkdir(parents=True)
        nbformat.write(content, folder / "notebook.ipynb")
    return tmp_path


def answers(course: Path) -> dict[str, str]:
    return {a.hand_in: a.answer for a in collect(course / ".grade", course / "references")}


def test_collected(course: Path) -> None:
    """Each answer is found, by its cell's id or by order, beside question and model answer; an untouched one is empty."""
    found = collect(course / ".grade", course / "references")
    assert [a.hand_in for a in found] == ["ada", "bob", "cy"]
    assert "ünïcode" in found[0].answer
    assert "evil" in found[1].answer
    assert found[2].answer == ""
    assert {(a.asked, a.guide, a.of) for a in found} == {("**Why?**", "Because text meets picture there.", 2.0)}


def enter(path: Path, points: dict[str, str]) -> None:
    """A person opens the file in a spreadsheet and fills in the last column."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows([row | {"points": points.get(row["hand_in"], "")} for row in rows])


def test_points_stay(course: Path) -> None:
    """Points that were entered are kept when answers are collected again, but not for an answer that was changed."""
    path = course / "points.csv"
    found = collect(course / ".grade", course / "references")
    write(found, path)
    enter(path, {"ada": "1,5", "bob": "2"})
    again = with_points(found, read_points(path))
    assert [a.points for a in again] == [1.5, 2.0, None]
    write(again, path)
    nbformat.write(notebook("something else"), course / ".grade" / "ex1" / "ada" / "run" / "notebook.ipynb")
    later = with_points(collect(course / ".grade", course / "references"), read_points(path))
    assert [a.points for a in later] == [None, 2.0, None]


def saved(path: Path, delimiter: str, encoding: str, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    """Save the file as a spreadsheet does."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [change(row) for row in csv.DictReader(file)]
    with path.open("w", encoding=encoding, errors="replace", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(reversed(rows))


@pytest.mark.parametrize(
    ("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16"), (",", "cp1252"), (";", "cp1252")]
)
@pytest.mark.parametrize(
    "change",
    [
        lambda row: row | {"answer": row["answer"].replace("\n", "\r\n")},
        lambda row: row | {"hand_in": row["hand_in"].lstrip("0"), "answer": row["answer"][:10]},
        lambda row: {name: row[name] for name in ("points", "entry", "hand_in")},
    ],
    ids=["ends of lines", "cut", "columns deleted"],
)
def test_spreadsheets(
    course: Path, delimiter: str, encoding: str, change: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    """Points stay whatever a spreadsheet does to the file: another separator, another encoding, cut cells, other rows first."""
    path = course / "points.csv"
    found = collect(course / ".grade", course / "references")
    write(found, path)
    enter(path, {"ada": "1,5", "bob": "2"})
    saved(path, delimiter, encoding, change)
    again = with_points(found, read_points(path))
    assert [a.points for a in again] == [1.5, 2.0, None]
    write(again, path)
    assert [a.points for a in with_points(found, read_points(path))] == [1.5, 2.0, None]


@pytest.mark.parametrize("content", [b'entry,points\n"a1,2\n', b"exercise,points\nex1,2\n", b"\0\0\xff"])
def test_what_cannot_be_read_stays(course: Path, content: bytes) -> None:
    """A file of points that cannot be read is refused, and stays as it is."""
    path = course / "points.csv"
    path.write_bytes(content)
    with pytest.raises(PointsError):
        read_points(path)
    with pytest.raises(PointsError):
        write(collect(course / ".grade", course / "references"), path)
    assert path.read_bytes() == content


def test_without_the_column_that_tells(course: Path) -> None:
    """Points in a file from before that column are those of the same answers."""
    path = course / "points.csv"
    found = collect(course / ".grade", course / "references")
    write(found, path)
    enter(path, {"ada": "1"})
    saved(path, ",", "utf-8", lambda row: {name: value for name, value in row.items() if name != "entry"})
    assert [a.points for a in with_points(found, read_points(path))] == [1.0, None, None]


@pytest.mark.parametrize("left", ["*Your answer:*", "*Your answer:*\n\n", "", "…", "*your answer*: ..."])
def test_blank(left: str) -> None:
    """Where nothing but the prompt is left there is no answer, though the cell has lost its tag."""
    handed_in = notebook(left)
    del handed_in.cells[2].metadata["tags"]
    [answer] = answers_in("ex1", "dee", handed_in, notebook(SOLUTION))
    assert answer.blank
    handed_in.cells[2].source += " Because."
    assert not answers_in("ex1", "dee", handed_in, notebook(SOLUTION))[0].blank


def test_no_formula(course: Path) -> None:
    """An answer that begins like a formula reaches the spreadsheet as text."""
    path = course / "points.csv"
    write(collect(course / ".grade", course / "references"), path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert [row["answer"][0] for row in csv.DictReader(file) if row["hand_in"] == "bob"] == ["'"]


@pytest.mark.parametrize("entered", ["3", "-1", "nan", "two"])
def test_impossible_points(course: Path, entered: str) -> None:
    """Points out of range, or no number, are refused with the row that holds them."""
    path = course / "points.csv"
    write(collect(course / ".grade", course / "references"), path)
    enter(path, {"bob": entered})
    with pytest.raises(PointsError, match="row 3"):
        read_points(path)


def test_another_file(tmp_path: Path) -> None:
    """A file that holds something else is refused, not overwritten."""
    (tmp_path / "points.csv").write_text("a,points\n1,2\n")
    with pytest.raises(PointsError, match="not a file of written answers"):
        read_points(tmp_path / "points.csv")
