"""Scores for Brightspace."""

import csv
import io

from graders.harness.gradebooks.brightspace import export
from graders.harness.marks import Student
from tests.harness.gradebooks.courses import HOSTILE, book, course, grade, record


def rows(content: bytes) -> list[dict[str, str]]:
    """What Brightspace imports: people without the mark before them, and no row that is cut off."""
    found = list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))
    for row in found:
        assert row.pop("End-of-Line Indicator") == "#"
        for known in {"OrgDefinedId", "Username"} & row.keys():
            assert row[known] == "" or row[known][0] == "#"
            row[known] = row[known].removeprefix("#")
    return found


def test_scores_reach_the_right_users() -> None:
    """Each score is in the row of its user, under its item; what has no score, or is missing, is empty."""
    made = export(course(), {"ex1": "Layers, part 1", "ex3": "Style"})
    assert made.content.splitlines()[0] == (
        b'OrgDefinedId,Username,"Layers, part 1 Points Grade",Style Points Grade,End-of-Line Indicator'
    )
    points = {
        row["OrgDefinedId"]: (row["Layers, part 1 Points Grade"], row["Style Points Grade"])
        for row in rows(made.content)
    }
    assert points == {
        "S-1": ("8.75", "10.3"),
        "S-2": ("", "7.25"),
        "S-3": ("", ""),
        "S-4": ("0", "1.8"),
        "S-5": ("", ""),
    }
    assert [row["Username"] for row in rows(made.content)] == ["ada", "bob", "cy", "dee", "eve"]
    assert made.unplaced == ()


def test_numbers_keep_their_zeros_and_names_do_no_harm() -> None:
    """Every number and login comes back as it is, marked as Brightspace marks it, and marked once."""
    known = ["0012", "#0013", *(name.replace("\ud800", "") for name in HOSTILE)]
    made = export(book(*(record(Student(str(i), login=name), grade("ex3")) for i, name in enumerate(known))))
    assert [row["Username"] for row in rows(made.content)] == [name.removeprefix("#") for name in known]
    assert "OrgDefinedId" not in rows(made.content)[0]


def test_who_has_neither_number_nor_login_is_told() -> None:
    """Somebody whom Brightspace could not know is left out, and named."""
    made = export(book(record(Student("1", "Ada"), grade("ex3")), record(Student("2", sis_id="7"), grade("ex3"))))
    assert made.unplaced == (Student("1", "Ada"),)
    assert [row["OrgDefinedId"] for row in rows(made.content)] == ["7"]
