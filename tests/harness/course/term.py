"""A generated term: what people with odd names hand in over three weeks, what six downloads hold of it, and what everybody has.

It knows no lesson. Which exercises there are, what each is worth, and notebooks with the points that they earn come from
outside. What everybody has to have is computed here, from the list of what was handed in, and from nothing of the product's.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

BEGIN = datetime(2026, 11, 2, 8, tzinfo=UTC)
PENALTY = 10
"""Per cent of an exercise's points for each day that has begun."""
FIRST = (
    "Ada", "Zoë", "Bjørn", "Nguyễn", "小龍", "نور", "Mary-Jane", "Łukasz", "Σοφία", "Ivan", "José María", "Neu",
    "Anna", "Jean-Luc", "Ngozi",
)  # fmt: skip
LAST = (
    "O'Brien",
    "Müller-Ørsted",
    "van der Berg",
    "Neu",
    "Final",
    "Kopie",
    "李",
    "Àlvarez Peña",
    "Ó Súilleabháin",
    "X",
)


@dataclass(frozen=True)
class Work:
    """A notebook and the points that it earns, from outside."""

    notebook: bytes
    points: float


@dataclass(frozen=True)
class Person:
    """Someone of the course. Sections are "A" and "B"; ``team`` is 0 for who works alone."""

    number: int
    first: str
    last: str
    section: str
    team: int

    @property
    def login(self) -> str:
        return f"u{self.number:03}"


@dataclass(frozen=True)
class HandedIn:
    """A notebook that a person handed in, alone or for their team."""

    person: Person
    exercise: str
    when: datetime
    work: Work


@dataclass(frozen=True)
class Download:
    """What an instructor fetches: an exercise of some sections, in a layout, as it is at that time."""

    at: datetime
    exercise: str
    sections: str
    layout: Callable[[Person, HandedIn, int], Iterator[tuple[str, bytes]]]
    last_alone: bool


def sakai(person: Person, one: HandedIn, number: int) -> Iterator[tuple[str, bytes]]:
    place = f"{one.exercise}/{person.last}, {person.first}({person.login})"
    yield f"{place}/Submission attachment(s)/{one.exercise}.ipynb", one.work.notebook
    yield f"{place}/timestamp.txt", f"{one.when:%Y%m%d%H%M%S}000".encode()


def ilias(person: Person, one: HandedIn, number: int) -> Iterator[tuple[str, bytes]]:
    team = f"Team {person.team}/" if person.team else ""
    place = f"{one.exercise}/Abgaben/{team}{person.last}_{person.first}_{person.login}_{person.number}"
    yield f"{place}/{one.when.astimezone():%Y%m%d%H%M%S}_{one.exercise}.ipynb", one.work.notebook


def nbgrader(person: Person, one: HandedIn, number: int) -> Iterator[tuple[str, bytes]]:
    place = f"submitted/{person.login}/{one.exercise}"
    yield f"{place}/{one.exercise}.ipynb", one.work.notebook
    yield f"{place}/timestamp.txt", f"{one.when:%Y-%m-%d %H:%M:%S} UTC".encode()


def brightspace(person: Person, one: HandedIn, number: int) -> Iterator[tuple[str, bytes]]:
    at = one.when.astimezone()
    time = f"{at:%b} {at.day}, {at.year} {at.hour % 12 or 12}{at:%M %p}"
    place = f"{90_000 + person.number}-77 - {person.first} {person.last} - {time}"
    yield f"{place}/{one.exercise}.ipynb", one.work.notebook


def blackboard(person: Person, one: HandedIn, number: int) -> Iterator[tuple[str, bytes]]:
    name = f"gradebook_2026_{one.exercise}_{person.login}_attempt_{one.when.astimezone():%Y-%m-%d-%H-%M-%S}"
    yield f"{name}_{one.exercise}.ipynb", one.work.notebook


class Term:
    """A term of ``size`` people and three exercises, each worth what ``worth`` says; ``work`` are notebooks of each.

    Of the six ``downloads`` it has those with these numbers.
    """

    def __init__(
        self,
        worth: Mapping[str, float],
        work: Mapping[str, Sequence[Work]],
        size: int = 120,
        downloads: Sequence[int] = range(6),
    ) -> None:
        chance = random.Random(0)
        self.worth = worth
        first, second, third = self.exercises = tuple(worth)
        week = timedelta(weeks=1)
        self.due = {name: BEGIN + week * number + timedelta(days=4) for number, name in enumerate(self.exercises)}
        self.people = [
            Person(
                n,
                FIRST[n % len(FIRST)],
                f"{LAST[n // len(FIRST) % len(LAST)]}{'' if n < 150 else n}",
                "A" if n % 2 else "B",
                n // 8 + 1 if n % 8 in (2, 4) else 0,
            )
            for n in range(size)
        ]
        those = (
            Download(BEGIN + week, first, "A", sakai, True),
            Download(BEGIN + week, first, "B", ilias, False),
            Download(BEGIN + 2 * week, second, "AB", nbgrader, True),
            Download(BEGIN + 2 * week, first, "A", sakai, True),
            Download(BEGIN + 3 * week, third, "A", brightspace, False),
            Download(BEGIN + 3 * week, third, "B", blackboard, False),
        )
        self.downloads = {number: those[number] for number in downloads}
        self.extensions = {
            (p, name): self.due[name] + timedelta(days=2) for p in self.people[::9] for name in (first, third)
        }
        self.exempt = {(p, second) for p in self.people[5::17]}
        """For whom an exercise does not count; a marker enters it between two downloads."""
        self.hand_ins = [*self._hand_ins(chance, work)]
        self.chosen = {(p, third): 1 for p in self.people[2::11] if self.came(p, third)}
        """The attempt that counts for those for whom another marker has decided that."""
        self.overruled = {
            (p, name): float(n % 8)
            for n, p in enumerate(self.people[4::13])
            for name in (first, third)
            if p.section == "B" and (p, name) not in self.chosen and self.came(p, name)
        }
        """Points that a marker has given in place of the grader's, once what counts had come in."""

    def _hand_ins(self, chance: random.Random, work: Mapping[str, Sequence[Work]]) -> Iterator[HandedIn]:
        for name in self.exercises:
            for person in self.people:
                if chance.random() < 0.05 and not person.team:  # ILIAS names those of a team who handed in anything
                    continue
                # Minutes are all that some systems tell; nobody hands in at the deadline, and no two of a team at once
                start = self.due[name] - timedelta(days=3, minutes=person.number % 59 + 1)
                for number in range(chance.choice((1, 1, 1, 2, 3))):
                    late = timedelta(days=chance.choice((0, 0, 0, 3, 4))) if number else timedelta()
                    when = start + timedelta(hours=5 * number) + late
                    yield HandedIn(person, name, when, chance.choice(work[name]))

    def files(self, download: Download) -> dict[str, bytes]:
        """What a download holds."""
        there = [
            one
            for one in self.hand_ins
            if one.exercise == download.exercise and one.person.section in download.sections and one.when <= download.at
        ]
        if download.last_alone:
            there = [*{one.person: one for one in sorted(there, key=lambda one: one.when)}.values()]
        return {name: content for n, one in enumerate(there) for name, content in download.layout(one.person, one, n)}

    def roster(self) -> bytes:
        """The list of students, as a CSV file."""
        file = io.StringIO()
        rows = csv.writer(file)
        rows.writerow(("login", "first name", "last name"))
        rows.writerows((person.login, person.first, person.last) for person in self.people)
        return file.getvalue().encode()

    def came(self, person: Person, exercise: str) -> list[HandedIn]:
        """What came in of a person, from the first to the last: their own, and of a team that hands in together all members'."""
        found = []
        for download in self.downloads.values():
            together = download.layout is ilias and person.team
            mine = [
                one
                for one in self.hand_ins
                if one.exercise == exercise == download.exercise
                and one.person.section in download.sections
                and one.when <= download.at
                and (one.person == person or (together and one.person.team == person.team))
            ]
            mine.sort(key=lambda one: one.when)
            found += mine[-1:] if download.last_alone else mine
        return sorted({one.when: one for one in found}.values(), key=lambda one: one.when)

    def days_late(self, person: Person, one: HandedIn) -> int:
        """Days that have begun since it was due for this person."""
        due = self.extensions.get((person, one.exercise), self.due[one.exercise])
        return max(0, math.ceil((one.when - due) / timedelta(days=1)))

    def points(self, person: Person, exercise: str) -> float | None:
        """What a person has to have for an exercise; None if it does not count."""
        if (person, exercise) in self.exempt:
            return None
        came = self.came(person, exercise)
        if not came:
            return 0.0
        one = came[self.chosen.get((person, exercise), len(came)) - 1]
        lost = self.worth[exercise] * PENALTY / 100 * self.days_late(person, one)
        earned = self.overruled.get((person, exercise), one.work.points)
        return round(max(0.0, earned - lost), 2)

    def total(self, person: Person) -> float:
        """What a person has to have in all."""
        return round(sum(self.points(person, name) or 0.0 for name in self.exercises), 2)
