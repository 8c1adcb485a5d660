"""Whoever they are and whatever they are called: no hand-in is lost, none is booked to two people, and nothing crashes."""

import csv
import io
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from graders.harness.course.discovery import HandIns, discover
from graders.harness.course.people import PeopleError, match
from graders.harness.course.reconciliation import reconcile
from graders.harness.course.roster import Roster, RosterError, read
from graders.harness.errors import ExplainedError

names = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"), min_size=1, max_size=300
).filter(lambda name: name.strip() == name and not name.startswith((".", "__MACOSX")))
"""What a course system may call somebody."""
likely = st.sampled_from(
    [
        "Ada Lovelace",
        "Lovelace, Ada",
        "ada",
        "Ada",
        "Zoë",
        "Zoe\u0308",
        "final",
        "Kopie",
        "(1)",
        "1",
        "12",
        "Team 7",
        "T1",
        "ex1",
    ]
)
people = st.lists(
    st.tuples(names | likely, st.integers(1, 10**9)),
    min_size=1,
    max_size=8,
    unique_by=(lambda one: unicodedata.normalize("NFC", one[0]), lambda one: one[1]),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("people")


def packed(place: Path, files: list[str]) -> Path:
    """An archive with a notebook of each name."""
    path = place / "given.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(files):
            archive.writestr(name, f'{{"n": {number}}}')
    return path


def listed(place: Path, rows: list[tuple[object, ...]]) -> Roster:
    """The roster of these rows, the first of which names the columns."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path = place / "roster.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    return read(path)


def assert_accounted(found: HandIns) -> None:
    """Each file is one person's, or one group's, or is named among those that are left out."""
    whose: dict[str, set[str]] = {}
    for attempt in found.attempts:
        whose.setdefault(attempt.path, set()).add(attempt.group or attempt.student.id)
    left = {stray.file for stray in found.strays}
    assert all(len(people) == 1 for people in whose.values())
    assert {*whose} | left >= {*found.tree.files}


@given(people)
@example([("Team 7", 55), ("Ada Lovelace", 7)])
def test_a_number_of_the_same_system(place: Path, those: list[tuple[str, int]]) -> None:
    """Where the list has the numbers of the course system, everybody is found by theirs, whatever their name."""
    found = discover(packed(place, [f"{name}_{number}_assignsubmission_file/ex1.ipynb" for name, number in those]))
    assert_accounted(found)
    assert {attempt.student.id for attempt in found.attempts} == {f"{number}" for _, number in those}
    assert all(f"_{attempt.student.id}_" in attempt.path for attempt in found.attempts)
    roster = listed(place, [("id", "name"), *((number, name) for name, number in those)])
    assume(len(roster.entries) == len(those))  # nobody is called "Points Possible"
    people = match(found.exercises, roster)
    assert all(people.entry(student).student.id == student.id for student in found.exercises)
    held = reconcile(found, roster)
    assert (len(held.handed_in), held.nothing, held.unlisted) == (len(those), (), ())


@given(
    people,
    st.sampled_from(["{name}/ex1.ipynb", "{name}_ex1.ipynb", "T1/{name}/ex1.ipynb", "ex1-{name}/a.ipynb"]),
    st.data(),
)
def test_whatever_the_layout(place: Path, those: list[tuple[str, int]], pattern: str, data: st.DataObject) -> None:
    """Of hand-ins and a list that have nothing to do with each other nothing is lost, and nobody gets two people's work."""
    found_names = [pattern.format(name=name) for name, _ in those]
    team = st.sampled_from(["", "Team 7", "T1", *(name for name, _ in those)])
    rows = [(number, name, data.draw(team)) for name, number in data.draw(people)]
    try:
        roster = listed(place, [("id", "name", "group"), *rows])
        found = discover(packed(place, found_names), roster=roster)
    except ExplainedError:  # which asks a person
        return
    assert_accounted(found)
    try:
        held = reconcile(found, roster)
    except (PeopleError, RosterError):
        return
    entries = [*held.handed_in, *held.unlisted, *held.instead]
    assert len({*entries}) == len(entries)
