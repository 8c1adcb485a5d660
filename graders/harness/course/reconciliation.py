"""What came in, held against the roster: who handed in, who did not, and what belongs to nobody. Nothing is left unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graders.harness.course.discovery import HandIns
from graders.harness.course.people import match
from graders.harness.course.roster import Roster
from graders.harness.marks import Student


@dataclass(frozen=True)
class Reconciliation:
    """Everybody on the list and everybody who handed in, each in one of these.

    ``handed_in`` are those on the list with a notebook; ``instead`` are those, on the list or not, who handed in something
    else, with what is wrong with it; ``nothing`` are those on the list of whom nothing came; ``unlisted`` are those with a
    notebook who are not on the list. ``doubts`` are sentences about people who may be the same.
    """

    listed: int
    handed_in: tuple[Student, ...]
    instead: Mapping[Student, str]
    nothing: tuple[Student, ...]
    unlisted: tuple[Student, ...]
    doubts: tuple[str, ...]


def reconcile(found: HandIns, roster: Roster) -> Reconciliation:
    """Hold the hand-ins against the roster; raises :class:`PeopleError` where numbers and names contradict each other."""
    problems = {attempt.student: attempt.problem for attempt in found.attempts if attempt.problem}
    problems |= {stray.student: stray.problem for stray in found.strays if stray.student}
    right = {attempt.student for attempt in found.attempts if not attempt.problem}
    exercises = {student: set[str]() for student in problems} | found.exercises
    people = match(exercises, roster)
    came = {people.entry(student).student.id for student in exercises}
    on_list = [student for student in exercises if student.id in people.entries]
    reconciliation = Reconciliation(
        len(roster.entries),
        tuple(student for student in on_list if student in right),
        {student: problem for student, problem in problems.items() if student not in right},
        tuple(entry.student for entry in roster.entries if entry.student.id not in came),
        tuple(student for student in exercises if student in right and student.id not in people.entries),
        people.doubts,
    )
    counted = len(reconciliation.handed_in) + len(reconciliation.instead) + len(reconciliation.unlisted)
    assert counted == len(exercises), "somebody's hand-in is in none of the lists"
    return reconciliation
