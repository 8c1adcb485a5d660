"""A CSV file like nbgrader's."""

import csv
import io
from datetime import datetime, timedelta, timezone

import pytest

from graders.harness.gradebooks.nbgrader import COLUMNS, export
from graders.harness.marks import Student
from tests.harness.gradebooks.courses import HOSTILE, book, course, grade, record


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))


def test_a_row_for_each_exercise_and_student() -> None:
    """The columns are nbgrader's, in its order, and so are the rows: exercise by exercise."""
    found = rows(export(course()))
    assert tuple(found[0]) == COLUMNS
    assert [(row["assignment"], row["student_id"]) for row in found] == [
        (exercise, str(number)) for exercise in ("ex1", "ex3") for number in range(101, 106)
    ]


def test_scores_are_those_of_nbgrader() -> None:
    """The score is the raw score less the penalty; nothing handed in is 0; where there is no score there is none."""
    found = {(row["assignment"], row["student_id"]): row for row in rows(export(course()))}
    for row in found.values():
        if row["score"]:
            expected = max(0.0, float(row["raw_score"]) - float(row["late_submission_penalty"]))
            assert float(row["score"]) == pytest.approx(expected)
        assert row["max_score"] == "12.0"
    assert found["ex3", "101"]["score"] == "10.3"
    assert found["ex3", "101"]["late_submission_penalty"] == "1.2"
    assert found["ex1", "103"]["score"] == "0.0"
    assert [found[key]["score"] for key in (("ex1", "102"), ("ex3", "103"), ("ex1", "105"))] == ["", "", ""]


def test_times_are_in_utc_without_saying_so() -> None:
    """A time is written as nbgrader writes it, and means UTC."""
    when = datetime(2026, 5, 3, 14, 5, 6, 789, tzinfo=timezone(timedelta(hours=2)))
    [row] = rows(export(book(record(Student("ada"), grade("ex1", submitted=when)))))
    assert datetime.fromisoformat(row["timestamp"]) == datetime(2026, 5, 3, 12, 5, 6, 789)


def test_names_are_not_taken_apart_by_guess() -> None:
    """A name is split where its comma is, and else stays whole."""
    people = [Student("1", "Beethoven, Ludwig van"), Student("2", "Ludwig van Beethoven"), Student("3")]
    found = rows(export(book(*(record(one, grade("ex1")) for one in people))))
    assert [(row["last_name"], row["first_name"]) for row in found] == [
        ("Beethoven", "Ludwig van"),
        ("Ludwig van Beethoven", ""),
        ("", ""),
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_do_no_harm(name: str) -> None:
    """No cell is a formula, and a name never makes a row or a column."""
    [row] = rows(export(book(record(Student(name, name, email=name), grade("ex1")))))
    assert tuple(row) == COLUMNS
    assert not [cell for cell in row.values() if cell.startswith(tuple("=+-@\t＝＋－＠"))]
