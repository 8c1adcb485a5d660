"""A kill and a full disk, at every point at which something is written, cost nothing that was there, and leave nothing half."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import pytest

from graders.harness.course import forgetting, people, settings
from graders.harness.course.answers import read_points
from graders.harness.course.discovery import Attempt
from graders.harness.course.journal import Entry, Journal
from graders.harness.course.marking import ANSWERS, course
from graders.harness.course.roster import Roster
from graders.harness.course.store import Store
from graders.harness.marks import Student, folder_name
from tests import faults
from tests.command import Ran, grade
from tests.harness.course import kept

Fault = Callable[[Callable[[], object], int], bool]
FAULTS: dict[str, Fault] = {
    "killed": faults.killed,
    "full": faults.full,
    "full for a moment": lambda operation, at: faults.full(operation, at, on=False),
}
every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
ADA, CY = "ada", Student("cy", "Cy")


@contextmanager
def memory() -> Iterator[Path]:
    """A folder in memory, if there is one: a disk would take ten times as long."""
    with TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def place() -> Iterator[Path]:
    with memory() as folder:
        yield folder


@pytest.fixture(scope="module")
def before() -> Iterator[Path]:
    """Results of two students, with points for an answer of each and an entry of a person."""
    with memory() as folder:
        yield _results(folder)


def _results(folder: Path) -> Path:
    results = kept.unpacked("results-v1", folder)
    for folder in (results / "hand-ins").iterdir():
        if folder.name not in map(folder_name, (ADA, "dora")):
            shutil.rmtree(folder)
    shutil.rmtree(results / "feedback")
    store = Store(results)
    store.write_order(replace(store.order(), roster=Roster()))
    settings.write(results, settings.Settings(late_penalty=10.0))
    Journal(results).add(Entry("dora", "ex2", "exempt", "", 1.0, "ill", "Grace"))
    assert report(results).status == 0
    file = results / ANSWERS
    file.write_bytes(re.sub(rb",2(\r?\n)$", rb",1.5\1", file.read_bytes()))  # the last points, of ada's answer
    return results


def struck(before: Path, place: Path, fault: Fault, operation: Callable[[Path], object]) -> Iterator[tuple[Path, bool]]:
    """For each point a copy of the results, after the operation was struck there, and whether it was: the last one was not."""
    for at in count(1):
        results = place / f"{at}"
        shutil.copytree(before, results)
        hit = fault(lambda results=results: operation(results), at)  # type: ignore[misc]
        yield results, hit
        shutil.rmtree(results)
        if not hit:
            assert at > 3
            break


def report(results: Path) -> Ran:
    return grade("report", results, folder=results.parent)


def mark(results: Path, by: str = "Grace") -> Ran:
    given = ("--check", "cross_attention_layers", "1", "--reason", "The data set was broken.", "--by", by)
    return grade("mark", results, ADA, "ex1", *given, folder=results.parent)


def refused(said: list[Ran]) -> bool:
    """Whether the command ended in a sentence about the disk and a status that blames the machine, and not as if all was well.

    A folder that is there need not be made: a command goes on if there is room again after that.
    """
    assert (said[-1].status, "The disk is full" in said[-1].printed) in ((3, True), (0, False)), said[-1].printed
    return said[-1].status == 3


@every_fault
def test_mark(before: Path, place: Path, fault: Fault) -> None:
    """What was entered before is there, what is entered is there as a whole or not at all, and can be entered again."""
    known = Journal(before).entries
    said: list[Ran] = []
    for results, _ in struck(before, place, fault, lambda results: said.append(mark(results))):
        journal = Journal(results)
        assert journal.entries[:1] == known
        if fault is not faults.killed:
            assert (journal.unread, len(journal.entries)) == (0, len(known) + (not refused(said)))
        done = mark(results)
        assert done.status == 0, done.printed
        journal = Journal(results)
        assert journal.entries[:1] == known
        assert [entry.value for entry in journal.holding(ADA, "ex1", "check").values()] == [1]


@every_fault
def test_settings(before: Path, place: Path, fault: Fault) -> None:
    """The rules are those from before or the new ones, and no others."""
    old = settings.read(before)
    new = replace(old, late_penalty=20.0)
    for results, hit in struck(before, place, fault, lambda results: settings.write(results, new)):
        assert settings.read(results) in ((old, new) if hit else (new,))
        settings.write(results, new)
        assert settings.read(results) == new
        assert not [*results.glob("*.partial")]


def _first(results: Path) -> Path:
    return results / "hand-ins" / folder_name(ADA) / "ex1" / "1"


def _as_it_is(results: Path) -> None:
    """Nothing is wrong with what is kept."""


def _no_record(results: Path) -> None:
    (_first(results) / "hand-in.json").write_text("{")


def _no_notebook(results: Path) -> None:
    (_first(results) / "ex1.ipynb").write_text("{")


@pytest.mark.parametrize("damage", [_as_it_is, _no_record, _no_notebook])
@pytest.mark.parametrize("fault", [faults.killed, faults.full])
def test_deposit(before: Path, place: Path, fault: Fault, damage: Callable[[Path], None]) -> None:
    """Hand-ins that are kept stay, a new one is kept whole or not at all, and is one attempt if it is kept again."""
    first, content, files = (_first(before) / "ex1.ipynb").read_bytes(), b"{}\n", b"an archive"
    when = datetime(2026, 11, 20, 12, tzinfo=UTC)
    shutil.copytree(before, damaged := place / "damaged")
    damage(damaged)

    def deposit(results: Path) -> object:
        store = Store(results)
        store.deposit(Attempt(Student(ADA), "ex1", "ex1/ex1.ipynb", "path", submitted=when), first)
        return store.deposit(Attempt(CY, "ex1", "cy.ipynb", "path"), content, files)

    for results, hit in struck(damaged, place, fault, deposit):
        there = {stored.student.id: stored for stored in Store(results).attempts()}
        assert {"dora"} < there.keys() <= {ADA, folder_name(ADA), "dora", "cy"}
        assert "cy" in there or hit
        assert all((_first(results) / name).is_file() for name in ("hand-in.json", "ex1.ipynb"))
        for _ in range(2):
            deposit(results)
            ada, cy, dora = sorted(Store(results).attempts(), key=lambda stored: stored.student.id)
            assert (ada.number, cy.number, dora.number) == (1, 1, 1)
            assert not ada.damage + cy.damage + dora.damage
            assert (ada.notebook.read_bytes(), cy.notebook.read_bytes()) == (first, content)
            assert (cy.folder / "beside.zip").read_bytes() == files
        assert not [*(results / "hand-ins").rglob("*.partial")]


@pytest.mark.parametrize("fault", [faults.killed, faults.full])
def test_report(before: Path, place: Path, fault: Fault) -> None:
    """Every file is the one from before or the new one, what a person gave stays, and the next report writes all that is left."""
    old, new = place / "old", place / "new"
    shutil.copytree(before, old)
    shutil.rmtree(old / "hand-ins" / folder_name("dora"))
    shutil.copytree(old, new)
    assert report(new).status == 0
    points, contents = read_points(old / ANSWERS), (_files(old), _files(new))
    said: list[Ran] = []
    for results, hit in struck(old, place, fault, lambda results: said.append(report(results))):
        assert fault is faults.killed or refused(said) is hit
        now = _files(results)
        assert now.keys() >= contents[0].keys()
        for name, content in now.items():
            assert content in [known.get(name) for known in contents], name
        ElementTree.parse(results / "gradebooks" / "junit.xml")
        assert read_points(results / ANSWERS) == points
        assert len(Journal(results).entries) == 1
        assert report(results).status == 0
        assert _files(results) == contents[1]


def test_forget(before: Path, place: Path) -> None:
    """Killed anywhere, it is done again by the same name, or the next command ends it; nobody else loses anything."""

    def forget(results: Path) -> None:
        store = Store(results)
        with store.locked():
            student = people.named(ADA, [record.student for record in course(store).gradebook.records])
            list(forgetting.forget(student, store))

    for results, _ in struck(before, place, faults.killed, forget):
        with suppress(people.PeopleError):
            forget(results)
        assert [stored.student.id for stored in Store(results).attempts()] == ["dora"]
        assert not list(results.rglob(f"*{folder_name(ADA)}*"))
        assert len(read_points(results / ANSWERS)) == len(read_points(before / ANSWERS)) - 1
        assert len(Journal(results).entries) == 1


def _files(results: Path) -> dict[str, bytes]:
    """What counts: neither what was being written nor what says when it was made."""
    paths = [path for path in results.rglob("*") if path.is_file() and path.suffix != ".partial"]
    return {str(path.relative_to(results)): path.read_bytes() for path in paths if path.name != "junit.xml"}


def test_two_at_once(before: Path, place: Path) -> None:
    """Of two people who enter points at once each has all that was accepted in the journal, and nothing is mixed up."""
    shutil.copytree(before, results := place / "results")
    known = Journal(results).entries

    def many(by: str) -> int:
        child = os.fork()
        if child:
            return child
        try:
            os._exit(sum(mark(results, by).status == 0 for _ in range(10)))
        finally:
            os._exit(255)

    ended = {
        by: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, by in [(many("A"), "A"), (many("B"), "B")]
    }
    journal = Journal(results)
    assert (journal.entries[: len(known)], journal.unread) == (known, 0)
    assert {by: sum(entry.by == by for entry in journal.entries) for by in ended} == ended
    assert 255 not in ended.values()
    assert sum(ended.values()) > 0
