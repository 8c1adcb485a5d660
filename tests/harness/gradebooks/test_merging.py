"""Which row of a course system is about which student."""

import pytest

from graders.harness.gradebooks.merging import pair, positive
from graders.harness.marks import Student


@pytest.mark.parametrize(
    "student",
    [
        Student("7"),
        Student("x", sis_id="S-7"),
        Student("x", login="ADA "),
        Student("x", "Ada Lovelace"),
        Student("x", "lovelaceada"),
        Student("x", "LOVELACE, ADA"),
        Student("ada"),
        Student("S-7"),
        Student("Lovelace Ada"),
    ],
)
def test_known_by_any_sign(student: Student) -> None:
    """A student is found by id, SIS id, login or name, the name in either order, or by an id that is any of these."""
    rows = [Student("8", "Ross, Bob", "bob", "S-8"), Student("7", "Lovelace, Ada", "ada", "S-7")]
    assert pair(rows, [student]) == {1: 0}


def test_the_id_decides() -> None:
    """What is surer wins: an id before a login, a login before a name, whatever the others say."""
    rows = [Student("1", "Ann", "bea"), Student("2", "Bea", "ann")]
    assert pair(rows, [Student("1", "Bea", "ann"), Student("2", "Ann", "bea")]) == {0: 0, 1: 1}
    assert pair(rows, [Student("x", "Ann", "ann"), Student("y", "Bea", "bea")]) == {1: 0, 0: 1}


def test_what_two_share_tells_neither() -> None:
    """Two of the same name are not told apart by it, in the file or in the gradebook, but by what else is known."""
    twins = [Student("1", "Ada", "one"), Student("2", "Ada", "two")]
    assert pair(twins, [Student("x", "Ada")]) == {}
    assert pair([Student("1", "Ada")], [Student("x", "Ada"), Student("y", "Ada")]) == {}
    assert pair(twins, [Student("x", "Ada", "two")]) == {1: 0}
    assert pair([Student("1", "Kim, Lee")], [Student("x", "Kim Lee"), Student("y", "Lee Kim")]) == {}


def test_a_number_of_one_kind_is_not_taken_for_another() -> None:
    """Somebody's id is not looked for among SIS ids when more than the id is known of them."""
    assert pair([Student("1", "Ada", sis_id="55")], [Student("55", "Bob")]) == {}


def test_nameless_people_are_not_the_same() -> None:
    """What is empty, or has no letter in it, is nothing in common."""
    assert pair([Student("1", "🦊")], [Student("2", "🐙")]) == {}
    assert pair([Student("1")], [Student("2")]) == {}


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("10", 10.0),
        (" 10.50 ", 10.5),
        ("10,5", 10.5),
        ("1,000.00", 1000.0),
        ("1.000,5", 1000.5),
        ("1,500", 1.5),
        ("", None),
        ("0", None),
        ("(read only)", None),
        ("-3", None),
    ],
)
def test_points_with_a_point_or_a_comma(text: str, points: float | None) -> None:
    """Points are read as course systems write them in any language, and nothing else is."""
    assert positive(text) == points
