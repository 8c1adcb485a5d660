"""A batch on the terminal: what was recognised, a line for each hand-in that is finished, and how long it will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from graders.harness import lessons
from graders.harness.course.batch import Finished, SetAside, Tested, grade
from graders.harness.course.discovery import HandIns
from graders.harness.course.once import Done
from graders.harness.course.reconciliation import Reconciliation
from graders.harness.course.store import Store
from graders.harness.course.stored import Stored
from graders.harness.course.workers import Crew
from graders.harness.data.values import one_line
from graders.harness.marks import Gradebook, Status, Student
from graders.harness.report.wording import faulty, score

NAMED = 12
"""People who are named in a line; of more the number is said."""


def recognised(found: HandIns, held: Reconciliation, console: Console) -> None:
    """Say which layout was recognised, what could not be assigned, and who of the roster handed in."""
    counts = Counter(attempt.exercise for attempt in found.attempts)
    listed = ", ".join(f"{count} for {name}" for name, count in sorted(counts.items()))
    students = counted(len(found.students), "student")
    console.print(f"This is {found.layout}: {counted(len(found.attempts), 'hand-in')} of {students} ({listed}).")
    for stray in found.strays[:20]:
        console.print(Text(f"Left out: {one_line(stray.file, 200)}: {stray.problem}.", "yellow"))
    if len(found.strays) > 20:
        console.print(Text(f"Left out: {len(found.strays) - 20} more; batch.json lists them.", "yellow"))
    for line, style in _reconciled(held):
        console.print(Text(line, style))


def _reconciled(held: Reconciliation) -> Iterator[tuple[str, str]]:
    """What is known of everybody, a line each, with its colour."""
    if held.listed:
        came = f"{len(held.handed_in)} of {counted(held.listed, 'student')} on the list handed in a notebook"
        yield f"{came}{'.' if held.nothing or held.instead or held.unlisted else ', and nobody else did.'}", ""
    if held.instead:
        those = [f"{_who(student)} ({one_line(problem, 80).rstrip('.')})" for student, problem in held.instead.items()]
        yield f"Something else than a notebook came from {_listed(those)}.", "yellow"
    if held.nothing:
        yield f"Nothing came from {_listed(map(_who, held.nothing))}.", "yellow"
    if held.listed and held.unlisted:
        yield f"On nobody's list, but handed in: {_listed(map(_who, held.unlisted))}.", "yellow"
    for doubt in held.doubts:
        yield f"{doubt}.", "yellow"


def _who(student: Student) -> str:
    return one_line(student.shown, 40)


def _listed(names: Iterable[str]) -> str:
    """Some names, and how many more there are."""
    known = list(names)
    shown = ", ".join(known[:NAMED])
    return shown if len(known) <= NAMED else f"{shown} and {len(known) - NAMED} more"


def watch(todo: Sequence[Stored], store: Store, crew: Crew, console: Console) -> None:
    """Grade, and show how far it has come."""
    expected = _Expected(todo, crew.jobs)
    with progress(console) as shown:
        first = "putting the sandbox to the test…" if crew.sandboxed else "graded"
        task = shown.add_task(first, total=len(todo), left=expected.left())
        for event in grade(todo, store, crew):
            if isinstance(event, Tested):
                shown.update(task, description="graded")
                continue
            if isinstance(event, SetAside):
                line = f"{named(event.stored)}: set aside, to be tried once more alone: {event.problem}"
                shown.console.print(Text(line, "yellow"))
                continue
            expected.finished(event)
            shown.console.print(_line(event))
            shown.update(task, advance=1, left=expected.left())


def progress(console: Console) -> Progress:
    """A bar with how far it has come; its tasks have a field ``left``, a text."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("{task.fields[left]}"), console=console)


def summary(gradebook: Gradebook, notes: Sequence[str], results: Path, console: Console) -> None:
    """Say what has become of all hand-ins, what to know of the files, and where to look."""
    table = Table("exercise", *(Column(status, justify="right") for status in Status), Column("mean"), box=None)
    for name in gradebook.exercises:
        grades = [record.grades[name] for record in gradebook.records]
        scores = [grade.score for grade in grades if grade.status is Status.GRADED and grade.score is not None]
        mean = f"{sum(scores) / len(scores):.1f} of {grades[0].of:g}" if scores else ""
        counts = Counter(grade.status for grade in grades)
        table.add_row(name, *(str(counts[status] or "") for status in Status), mean)
    console.print()
    console.print(table)
    console.print(
        f"Open {results / 'report.html'}; each student's feedback is in {results / 'feedback'}.", highlight=False
    )
    for note in notes:
        console.print(Text(note, "dim"))
    grades = [grade for record in gradebook.records for grade in record.grades.values()]
    damaged = [(r.student, g) for r in gradebook.records for g in r.grades.values() if g.damage]
    for student, one in damaged:
        line = f"Set aside: {one.exercise} {one_line(student.shown, 40)}: {one_line(one.damage, 600)}"
        console.print(Text(line, "magenta"))
    if waiting := [grade for grade in grades if grade.undecided and not faulty(grade)]:
        what = counted(len(waiting), "hand-in")
        console.print(f"[cyan]{what} {'has' if len(waiting) == 1 else 'have'} undecided points: you decide them.[/]")
    trouble = [g for g in grades if not g.damage and (g.status is Status.TROUBLE or faulty(g))]
    if trouble:
        what = counted(len(trouble), "hand-in")
        console.print(f"[magenta]{what} could not be graded in full for reasons of the machine or the graders.[/]")
        console.print("The report says why. The same command again tries them again.")


class _Expected:
    """How long the rest of a batch will take, from what hand-ins for the same exercise took."""

    def __init__(self, todo: Iterable[Stored], jobs: int) -> None:
        self.waiting = Counter(stored.exercise for stored in todo)
        self.jobs = jobs
        self.took: dict[str, list[float]] = {}

    def finished(self, event: Finished) -> None:
        self.waiting[event.stored.exercise] -= 1
        result = event.stored.result
        if event.done is Done.EXECUTED and result:
            self.took.setdefault(event.stored.exercise, []).append(result.run["seconds"])
        elif event.done is not Done.EXECUTED:
            self.took.setdefault(event.stored.exercise, []).append(0.0)

    def left(self) -> str:
        outlines, seconds = lessons.meant().outlines, 0.0
        for name, count in self.waiting.items():
            took = self.took.get(name)
            seconds += count * (sum(took) / len(took) if took else outlines[name].seconds)
        return f"about {_duration(seconds / self.jobs)} left" if seconds else ""


def _line(event: Finished) -> Text:
    stored = event.stored
    if stored.status is Status.TROUBLE:
        why = "undecided" if stored.missing else "not graded, not the student's fault"
        return Text(f"{named(stored)}: {why}: {stored.problem}", "magenta")
    if stored.result is None:
        return Text(f"{named(stored)}: refused: {stored.problem}", "yellow")
    result = stored.result
    how = "" if event.done is Done.EXECUTED else f", {event.done}"
    ended = "" if result.run["ended"] == "completed" else f", {result.run['ended'].replace('_', ' ')}"
    points = score(result)
    return Text(f"{named(stored)}: {points} ({result.run['seconds']:.0f} s{ended}{how})")


def named(stored: Stored) -> str:
    """Which hand-in it is, on one line."""
    return f"{stored.exercise} {one_line(stored.student.shown, 40)}"


def counted(number: int, noun: str) -> str:
    """Such as: 1 hand-in, 2 hand-ins."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
