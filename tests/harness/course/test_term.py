"""Over a term every hand-in is booked to whom it belongs, with the days that it was late, and nothing is unaccounted for."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest

from graders.harness.course.batch import deposit
from graders.harness.course.discovery import discover
from graders.harness.course.people import match
from graders.harness.course.reconciliation import reconcile
from graders.harness.course.roster import read
from graders.harness.course.rules import Extension, Rules
from graders.harness.course.store import Store
from tests.harness.course.term import PENALTY, Term, Work
from tests.harness.course.test_discovery import packed
from tests.harness.course.test_faults import memory


def _work(exercise: str) -> list[Work]:
    notebooks = (nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"{exercise} = {n}")]) for n in range(9))
    return [Work(nbformat.writes(one).encode(), float(n)) for n, one in enumerate(notebooks)]


def test_a_term(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six downloads in five layouts: what is kept of 120 people, and how late each is, is what the list of hand-ins says."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # waiting for the disk would take nearly all of the time
    with memory() as place:
        _ensure_right(place)


def _ensure_right(place: Path) -> None:
    names = ("ex1", "ex2", "ex3")
    term = Term(dict.fromkeys(names, 10.0), {name: _work(name) for name in names})
    (place / "roster.csv").write_bytes(term.roster())
    roster = read(place / "roster.csv")
    more = tuple(Extension(person.login, name, due) for (person, name), due in term.extensions.items())
    rules = Rules(names, "last", term.due, float(PENALTY), extensions=more)
    layouts = set()
    for number, download in enumerate(term.downloads):
        (place / f"{number}.zip").write_bytes(packed(term.files(download)))
        found = discover(place / f"{number}.zip", roster=roster)
        layouts.add(found.layout)
        held = reconcile(found, roster)
        assert (held.unlisted, held.doubts, found.strays) == ((), (), [])
        deposit(found, rules, Store(place / "results"))
    assert len(layouts) == 5
    attempts = Store(place / "results").attempts()
    people = match(
        {one.student: {a.exercise for a in attempts if a.student == one.student} for one in attempts}, roster
    )
    for person in term.people:
        for name in names:
            mine = [a for a in attempts if a.exercise == name and people.entry(a.student).student.login == person.login]
            came = term.came(person, name)
            mine.sort(key=lambda a: (a.submitted, a.number))
            assert [a.notebook.read_bytes() for a in mine] == [one.work.notebook for one in came], (person, name)
            student = people.entry(mine[0].student).student if mine else None
            late = [rules.days_late(name, a.submitted, None, student) for a in mine]
            assert late == [term.days_late(person, one) for one in came], (person, name)
