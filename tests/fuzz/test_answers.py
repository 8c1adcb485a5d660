"""Written answers of any text under any name, and files of points of any bytes."""

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graders.harness.course.answers import COLUMNS, Answer, PointsError, read_points, with_points, write
from tests.fuzz.strategies import NASTY, assert_explained, mutated, texts

ROW = ["ex1", "ada", "1", "Why?", "So.", "", "a0123456789abcde", "2", "1,5"]
numbers = st.sampled_from(["", "0", "1,5", "2", "3", "-1", "nan", "inf", "1e400", "١", "1_0", "x" * 5000, "9" * 5000])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("course")


def table(header: list[str], rows: list[list[str]]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([header, *rows])
    return file.getvalue().encode("utf-8", "surrogatepass")


fields = st.lists(numbers | texts, max_size=10)
rows = st.lists(st.sampled_from([ROW]) | st.permutations(ROW) | fields, max_size=3)
tables = st.builds(table, st.just(list(COLUMNS)) | st.permutations(COLUMNS) | fields, rows)


@given(tables | mutated([table(list(COLUMNS), [ROW])]) | st.binary(max_size=80))
@example(table(["points", *COLUMNS[:-1]], [["1"]]))
@example(table(list(COLUMNS), [["ex1", "ada", "1", "", "", "", "", "inf", "inf"]]))
def test_read_points(place: Path, content: bytes) -> None:
    """A file of points gives numbers in their range, or an error that explains itself."""
    path = place / "points.csv"
    path.write_bytes(content)
    try:
        points = read_points(path)
    except PointsError as error:
        assert_explained(error)
        return
    assert all(0 <= given < float("inf") for given in points.values())


stems = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=9) | st.sampled_from(
    ["=1+1", "-ada", "@a", "\n"]
)
answers = st.builds(
    Answer,
    st.sampled_from(["ex1", "ex4"]),
    # As the name of a folder comes, where a name that is no text becomes halves of characters.
    stems.map(lambda stem: os.fsdecode(stem.encode("utf-8", "surrogatepass"))),
    st.integers(1, 9),
    st.just("Why?"),
    st.text() | st.sampled_from([text for text in NASTY if text.isascii()]),
    st.text(),
    st.sampled_from([1.0, 2.5, 100.0]),
)


@given(st.lists(answers, max_size=4, unique_by=lambda answer: answer.entry), st.data())
@example([Answer("ex1", "ada", 1, "Why?", "a" * 200_000, "", 1.0)], None)
@example([Answer("ex1", "-ada", 1, "Why?", "So.", "", 1.0)], None)
@example([Answer("ex1", "ad\udce4", 1, "Why?", "So.", "", 1.0)], None)
def test_points_stay(place: Path, found: list[Answer], data: st.DataObject | None) -> None:
    """Points that were entered are those of the same answer of the same hand-in, whatever its text and its name."""
    given = [replace(a, points=data.draw(st.sampled_from([0.0, 0.5, a.of])) if data else 0.5) for a in found]
    path = place / "written-answers.csv"
    write(given, path)
    assert with_points(found, read_points(path)) == given


@given(st.lists(answers, max_size=3))
def test_no_formula(place: Path, found: list[Answer]) -> None:
    """No text of a hand-in reaches the spreadsheet as a formula."""
    path = place / "written-answers.csv"
    write(found, path)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        for row in list(csv.reader(file))[1:]:
            assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in row)
