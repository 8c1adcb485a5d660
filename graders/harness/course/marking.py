"""The course: everybody's grades, made of the stored results, the roster, and the points that a person gave."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from nbformat import NotebookNode

from graders.harness import lessons
from graders.harness.course import settings
from graders.harness.course.answers import Answer, answers_in, read_points, with_points
from graders.harness.course.journal import Journal
from graders.harness.course.order import Order
from graders.harness.course.people import match
from graders.harness.course.roster import Entry
from graders.harness.course.rules import Rules
from graders.harness.course.store import Store
from graders.harness.course.stored import Stored
from graders.harness.course.tree import natural
from graders.harness.course.weights import max_score, weighted
from graders.harness.data.documents import DamagedError
from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError
from graders.harness.marks import Grade, Gradebook, Record, Status, Student
from graders.harness.release import untouched
from graders.harness.run.notebook import read as read_notebook

ANSWERS = "written-answers.csv"
"""The file in a folder of results in which a person enters points for written answers."""
_NEVER = datetime.min.replace(tzinfo=UTC)
_TOLD_BY = {
    "time": "the newest",
    "upload": "the last that was uploaded",
    "work": "the last in which anything was filled in",
}


@dataclass(frozen=True)
class Course:
    """A gradebook, with the written answers that count in it, and what it was made for."""

    gradebook: Gradebook
    answers: tuple[Answer, ...]
    order: Order


def course(store: Store, references: Path | None = None) -> Course:
    """Bring together what a folder of results holds.

    The questions of the written answers are those of the assignments; the reference solutions in the folder
    ``references`` add the model answers. Raises :class:`StoreError`, and :class:`PointsError` for a broken file of points.
    """
    order = store.order()
    rules, roster = settings.read(store.root).rules(order.rules), order.roster
    points = store.root / ANSWERS
    marker = _Marker(
        rules,
        {name: read_notebook((references or lessons.meant().notebooks) / f"{name}.ipynb") for name in rules.exercises},
        read_points(points) if points.is_file() else {},
        Journal(store.root),
    )
    entries = {entry.student.id: entry for entry in roster.entries}
    attempts: dict[str, list[Stored]] = {student: [] for student in entries}
    exercises: dict[Student, set[str]] = defaultdict(set)
    for stored in store.attempts():
        exercises[stored.student].add(stored.exercise)
    people = match(exercises, roster)
    for stored in store.attempts():
        entry = people.entry(stored.student)
        known = entries.setdefault(entry.student.id, entry)
        attempts.setdefault(known.student.id, []).append(stored)
    for student, mine in attempts.items():
        entry = entries[student]
        if not entry.student.name and mine:  # the course system's folders may say more than the roster
            entries[student] = replace(entry, student=replace(entry.student, name=mine[-1].student.name))
    marked = [marker.mark(entries[student], mine) for student, mine in attempts.items()]
    marked.sort(key=lambda one: natural(one[0].student.shown.casefold()))
    titles = {name: lessons.meant().exercise(name).title for name in rules.exercises}
    gradebook = Gradebook(titles, tuple(record for record, _ in marked))
    return Course(gradebook, tuple(answer for _, answers in marked for answer in answers), order)


def awaited(store: Store) -> list[Stored]:
    """The attempts that a person has chosen to count, and that are not graded yet."""
    if not any(entry.kind == "attempt" for entry in Journal(store.root).entries):
        return []
    grades = [grade for record in course(store).gradebook.records for grade in record.grades.values()]
    counting = {grade.folder for grade in grades if grade.status is Status.TROUBLE}
    return [stored for stored in store.attempts() if stored.status is None and stored.graded in counting]


class _Marker:
    """Gives grades for attempts, by the rules of a course and the points that a person gave."""

    def __init__(
        self,
        rules: Rules,
        solved: Mapping[str, NotebookNode],
        points: Mapping[str, float],
        journal: Journal,
    ) -> None:
        self.rules, self.solved, self.points, self.journal = rules, solved, points, journal
        self.blank = {
            name: Grade(
                name,
                Status.MISSING,
                max_score(name, rules.weights.get(name, {})),
                sum(answer.of for answer in answers_in(name, "", notebook, notebook)),
            )
            for name, notebook in solved.items()
        }

    def mark(self, entry: Entry, attempts: Sequence[Stored]) -> tuple[Record, list[Answer]]:
        """A student's record, and the answers in the attempts that count."""
        grades, answers = {}, []
        for name in self.rules.exercises:
            mine = [stored for stored in attempts if stored.exercise == name]
            grades[name], counted = self._exercise(entry, sorted(mine, key=_age), self.blank[name])
            answers += counted
        last = max(attempts, key=_age, default=None)
        return Record(entry.student, grades, last.student if last else None), answers

    def _exercise(self, entry: Entry, attempts: Sequence[Stored], blank: Grade) -> tuple[Grade, list[Answer]]:
        if self.journal.exempt(entry.student.id, blank.exercise, blank.exercise in entry.exempt):
            return replace(blank, status=Status.EXEMPT), []
        if not attempts:
            return blank, []
        # Nobody knows when an attempt with a damaged record came: it may be the last
        lost = [stored for stored in attempts if stored.damage and stored.number > attempts[-1].number]
        chosen = self.journal.attempt(entry.student.id, blank.exercise)
        wanted = attempts if self.rules.attempts == "best" else (lost or attempts)[-1:]
        wanted = [stored for stored in attempts if stored.number == chosen] or wanted
        graded = [self._attempt(entry, stored, blank) for stored in wanted]
        # Of equal ones the first, which is the least late; one without a score is better than none. Undecided points may
        # still be earned: that an attempt is not the best is not known before.
        grade, answers = max(graded, key=lambda one: -1.0 if one[0].score is None else one[0].score + one[0].undecided)
        place = attempts.index(wanted[graded.index((grade, answers))])
        if damage := next((one.damage for one, _ in graded if one.damage), ""):
            grade = replace(grade, damage=damage, note=damage)
        if not chosen and (worked := _worked_on(attempts[: place + 1])):
            note = f"What counts is the assignment as it was handed out; in attempt {worked} something was filled in."
            grade = replace(grade, note=" ".join(filter(None, (grade.note, note))))
        return replace(grade, attempt=place + 1, attempts=len(attempts)), answers

    def _attempt(self, entry: Entry, stored: Stored, blank: Grade) -> tuple[Grade, list[Answer]]:
        days = self.rules.days_late(stored.exercise, stored.submitted, entry.due, entry.student)
        late = stored.late or days > 0
        try:
            result = stored.result
        except DamagedError as error:
            damage = f"{error.problem} {error.fix}"
            known = replace(blank, submitted=stored.submitted, late=late, file=stored.file)
            return replace(known, status=Status.TROUBLE, note=damage, damage=damage), []
        unknown = "It came late, and nobody knows by how much: no points were taken for that."
        uncounted = stored.late and not stored.submitted and self.rules.late_penalty
        grade = replace(
            blank,
            status=stored.status or Status.TROUBLE,
            result=result,
            submitted=stored.submitted,
            late=late,
            file=stored.file,
            note=" ".join(filter(None, (stored.problem, stored.fix, unknown if uncounted else "", _among(stored))))
            if stored.status
            else "It is not graded yet.",
            folder=stored.graded,
            missing=stored.missing if stored.status is Status.TROUBLE else (),
            group=stored.group,
        )
        if grade.result is None:
            return grade, []
        own = weighted(grade.result, self.rules.weights.get(stored.exercise, {}))
        grade = self.journal.checked(entry.student.id, replace(grade, result=own, graded_as=grade.result.id))
        answers = with_points(self._answers(entry.student, stored), self.points)
        given = self.journal.holding(entry.student.id, stored.exercise, "answer")
        answers = [
            replace(a, points=min(given[f"{a.question}"].value or 0.0, a.of)) if f"{a.question}" in given else a
            for a in answers
        ]
        if answers and all(answer.points is not None or answer.blank for answer in answers):
            grade = replace(grade, written=sum(answer.points or 0.0 for answer in answers))
        return replace(grade, penalty=min(self.rules.penalty(days, grade.of), grade.earned or 0.0)), answers

    def _answers(self, student: Student, stored: Stored) -> list[Answer]:
        return answers_in(stored.exercise, student.id, read_notebook(stored.notebook), self.solved[stored.exercise])


def _among(stored: Stored) -> str:
    """Which of several notebooks it is that came at once; "" where there is only one."""
    if not stored.others:
        return ""
    which = _TOLD_BY.get(stored.told_by, "the last by name: the files' times do not tell which is the newest")
    name, *others = (one_line(PurePosixPath(file).name, 100) for file in (stored.file, *stored.others[:5]))
    return f"{len(stored.others) + 1} notebooks came at once; this is {name}, {which}. Not this: {', '.join(others)}."


def _worked_on(attempts: Sequence[Stored]) -> int | None:
    """The number of the last attempt in which something was filled in, where in the very last nothing was; else None."""
    *earlier, last = attempts
    if not earlier or not _untouched(last):
        return None
    return next((stored.number for stored in reversed(earlier) if _untouched(stored) is False), None)


def _untouched(stored: Stored) -> bool | None:
    """Whether nothing was filled in; None where the notebook cannot be read, as where it was refused."""
    with suppress(ExplainedError, OSError):
        return untouched(read_notebook(stored.notebook), stored.exercise)
    return None


def _age(stored: Stored) -> tuple[datetime, int]:
    return stored.submitted or _NEVER, stored.number
