"""Over a term every hand-in is booked to whom it belongs, with the days that it was late, and nothing is unaccounted for."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
import psutil
import pytest

from graders.harness.course.batch import deposit
from graders.harness.course.discovery import discover
from graders.harness.course.people import match
from graders.harness.course.reconciliation import reconcile
from graders.harness.course.roster import read
from graders.harness.course.rules import Extension, Rules
from graders.harness.course.store import Store
from tests.harness.course import tiny
from tests.harness.course.term import PENALTY, Download, Person, Term, Work
from tests.harness.course.test_discovery import packed
from tests.harness.course.test_faults import memory
from tests.patience import PATIENCE


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
    for number, download in term.downloads.items():
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


class Office:
    """Who grades a term: the real commands, with a lesson whose notebooks take no time, and what is killed on the way."""

    def __init__(self, place: Path, size: int, downloads: Sequence[int]) -> None:
        self.place, self.results = place, place / "results"
        self.lesson = tiny.write(place / "lesson")
        sources = {"answer = 0": 0, "1 / 0": 0, **{f"answer = {n}": n for n in range(1, tiny.MOST + 1)}}
        work = {
            name: [
                Work(tiny.notebook(source.replace("answer", f"{name}_answer")), float(points))
                for source, points in sources.items()
            ]
            for name in tiny.NAMES
        }
        self.term = Term(dict.fromkeys(tiny.NAMES, float(tiny.MOST)), work, size, downloads)
        (place / "roster.csv").write_bytes(self.term.roster())
        self.results.mkdir()
        (self.results / "course.toml").write_text("\n".join(self._rules()), "utf-8")

    def _rules(self) -> list[str]:
        due = [f"{name} = {when:%Y-%m-%dT%H:%M:%SZ}" for name, when in self.term.due.items()]
        more = [
            f'[[extensions]]\nperson = "{person.login}"\nexercise = "{name}"\ndue = {when:%Y-%m-%dT%H:%M:%SZ}'
            for (person, name), when in self.term.extensions.items()
        ]
        return [f'lesson = "{self.lesson}"\nattempts = "last"\nlate_penalty = {PENALTY}\n[due]', *due, *more]

    def download(self, number: int, download: Download, kills: Sequence[float]) -> None:
        """Grade a download, with the same command again after each kill."""
        waiting = [*kills]
        archive = self.place / f"{number}.zip"
        archive.write_bytes(packed(self.term.files(download)))
        while True:
            status = self._command(
                "batch", archive, "-o", self.results, "--roster", self.place / "roster.csv",
                limit=waiting.pop() if waiting else None,
            )  # fmt: skip
            if status is not None:
                assert status == 0, (self.place / "log").read_text()[-3000:]
                return

    def mark(self, person: Person, name: str, by: str, *entry: object) -> None:
        """Enter what a marker decides."""
        arguments = ("mark", self.results, person.login, name, *entry, "--by", by, "--reason", "we looked at it")
        assert self._command(*arguments) == 0, (self.place / "log").read_text()[-3000:]

    def report(self) -> None:
        """Write what markers entered last into the gradebooks."""
        assert self._command("report", self.results) == 0

    def _command(self, *arguments: object, limit: float | None = None) -> int | None:
        """The exit status of a command; None if it is killed after so many seconds."""
        with (self.place / "log").open("a") as log:
            command = [sys.executable, "-m", "graders", *map(str, arguments)]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.place)
            try:
                return process.wait(limit or PATIENCE)
            except subprocess.TimeoutExpired:
                assert limit, "a command hangs"
                process.kill()
                process.wait()
                return None

    def after(self, number: int) -> None:
        """What markers enter once a download is graded, and before the next comes."""
        term, (first, second, third) = self.term, self.term.exercises
        entered = {1: first, 2: second, 5: third}.get(number)
        for (person, name), points in term.overruled.items():
            if name == entered:
                self.mark(person, name, "Grace", "--check", "answer", points)
        for person, name in term.exempt:
            if name == entered:
                self.mark(person, name, "Grace", "--exempt")
        for (person, name), attempt in term.chosen.items():
            if name == entered:
                self.mark(person, name, "Emmy", "--attempt", attempt)


@pytest.mark.parametrize(
    ("size", "downloads", "kills"),
    [
        pytest.param(8, (1, 3, 5), 1, id="8 people"),
        pytest.param(120, range(6), 10, id="120 people", marks=pytest.mark.campaign),
    ],
)
def test_totals_of_a_term(tmp_path: Path, size: int, downloads: Sequence[int], kills: int) -> None:
    """Downloads, repeated and late hand-ins, teams, extensions, two markers and a batch that is killed: every total is right."""
    chance = random.Random(os.urandom(8))
    office = Office(tmp_path, size, downloads)
    times = [chance.uniform(2, 4 + size / 4) for _ in range(kills)]
    for turn, (number, download) in enumerate(office.term.downloads.items()):
        office.download(number, download, times[turn :: len(downloads)])
        office.after(number)
    office.download(number, download, ())  # grades the attempts that markers chose
    office.report()
    table = (office.results / "gradebooks" / "gradebook.csv").read_text("utf-8-sig").splitlines()
    rows = {row["login"]: row for row in csv.DictReader(table)}
    names = {download.exercise for download in office.term.downloads.values()}
    assert rows.keys() == {person.login for person in office.term.people}
    for person in office.term.people:
        row = rows[person.login]
        got = {name: float(row[f"{name}_score"]) if row[f"{name}_score"] else None for name in names}
        assert got == {name: office.term.points(person, name) for name in names}, person
        assert float(row["total"]) == office.term.total(person), person
    assert not [one for one in psutil.process_iter(["cmdline"]) if f"{tmp_path}" in " ".join(one.info["cmdline"] or ())]
