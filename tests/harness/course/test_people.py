"""People on the roster are found again in what course systems call them, and nobody is taken for somebody else."""

from __future__ import annotations

import pytest

from graders.harness.course.people import PeopleError, contradict, match
from graders.harness.course.roster import Entry, Roster
from graders.harness.marks import Student

ADA, BOB = Student("1815", "Ada Lovelace", "alovelace", "77", "ada@x.org"), Student("1816", "Bob Ross")


def found(*handed_in: Student, listed: tuple[Student, ...] = (ADA, BOB), exercise: str = "ex1") -> dict[str, str]:
    """Whom on the list those who handed in are, by their ids."""
    people = match({student: {exercise} for student in handed_in}, Roster(tuple(map(Entry, listed))))
    return {student: entry.student.id for student, entry in people.entries.items()}


@pytest.mark.parametrize(
    "student",
    [
        Student("1815"),
        Student("x", login="ALOVELACE"),
        Student("x", sis_id="77"),
        Student("ada@x.org"),
        Student("x", "Ada Lovelace"),
        Student("x", "Lovelace, Ada"),
        Student("101", "lovelaceada"),
        Student("ada lovelace"),
        Student("Lovelace_Ada"),
        Student("x", "ADA\u00a0LOVELACE"),
    ],
)
def test_found(student: Student) -> None:
    """Someone is found by id, login, number, e-mail or name, however the name is turned and written."""
    assert found(student) == {student.id: "1815"}


def test_numbers_of_different_systems() -> None:
    """A number that is another person's on the list tells nothing where the name says who it is."""
    assert found(Student("1815", "Bob Ross")) == {"1815": "1816"}


def test_number_against_name() -> None:
    """Where a number is one person's and the name nobody's, it is asked: the work is booked to neither."""
    with pytest.raises(PeopleError, match=r"hand-in of Cy Twombly has the number 1815, which is Ada Lovelace's"):
        found(Student("1815", "Cy Twombly"))


def test_two_of_one_name() -> None:
    """Two who hand in the same exercise are two people, whatever their names: one is found by the number, none by chance."""
    here, elsewhere = Student("1815", "Ada Lovelace"), Student("12", "Ada Lovelace")
    assert found(here, elsewhere) == {"1815": "1815"}
    people = match({student: {"ex1"} for student in (Student("11", "Ada Lovelace"), elsewhere)}, Roster((Entry(ADA),)))
    assert not people.entries
    assert people.doubts == (
        "2 people called Ada Lovelace handed in (11, 12), and one is on the list: 11, 12 are not taken for that one",
    )


def test_one_person_in_two_systems() -> None:
    """Who is numbered otherwise for another exercise is the same person if the name is."""
    handed_in = {Student("11", "Ada Lovelace"): {"ex1"}, Student("alo", "Lovelace, Ada"): {"ex2"}}
    people = match(handed_in, Roster((Entry(ADA),)))
    assert {student: entry.student.id for student, entry in people.entries.items()} == {"11": "1815", "alo": "1815"}


def test_twins_on_the_list() -> None:
    """A name that two on the list share finds neither; what they do not share still does."""
    twins = Student("1", "Ada Lovelace", "ada"), Student("2", "Lovelace, Ada", "lovelace")
    assert found(Student("x", "Ada Lovelace"), listed=twins) == {}
    assert found(Student("x", "Ada Lovelace", "lovelace"), listed=twins) == {"x": "2"}


@pytest.mark.parametrize(
    ("name", "other", "expected"),
    [
        ("Ada Lovelace", "Lovelace, Ada", False),
        ("Ada King Lovelace", "Ada Lovelace", False),
        ("lovelaceada", "Ada Lovelace", False),
        ("Bob Ross", "Robert Ross", False),
        ("", "Ada Lovelace", False),
        ("O'Brien, Mary", "obrienmary", False),
        ("Bob Ross", "Ada Lovelace", True),
        ("王小明", "李娜", True),
    ],
)
def test_contradict(name: str, other: str, expected: bool) -> None:
    """Names contradict each other when they have nothing in common."""
    assert contradict(name, other) is expected
