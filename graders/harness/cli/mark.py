"""`grade mark`: what a person decides about one student's exercise, entered for good."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from graders.harness.cli.exercises import ExerciseName
from graders.harness.marks import Grade, Status

_REPORT = "`grade report {}` brings it into gradebooks, feedback and the report."


@click.command()
@click.argument("results", type=click.Path(path_type=Path, file_okay=False))
@click.argument("person")
@click.argument("exercise", type=ExerciseName())
@click.option("--check", nargs=2, metavar="CHECK POINTS", help="Points for a check, in place of the grader's.")
@click.option("--answer", nargs=2, metavar="QUESTION POINTS", help="Points for a written answer, by its number.")
@click.option("--attempt", type=click.IntRange(1), help="The attempt that counts, by its number.")
@click.option("--exempt/--counts", default=None, help="Whether the exercise counts for this student.")
@click.option("--reason", required=True, help="Why; the student reads it.")
@click.option("--by", default=getpass.getuser, show_default="you", help="Who decides.")
def mark(
    results: Path,
    person: str,
    exercise: str,
    check: tuple[str, str] | None,
    answer: tuple[str, str] | None,
    attempt: int | None,
    exempt: bool | None,
    reason: str,
    by: str,
) -> None:
    """Enter what you decide about PERSON's EXERCISE: by id, login or name.

    It is added to RESULTS/marks.jsonl and holds until you enter something else; POINTS "none" takes it back.
    """
    from graders.harness.course import people
    from graders.harness.course.journal import Entry, Journal, JournalError, ensure_graded, points_of
    from graders.harness.course.marking import course
    from graders.harness.course.store import Store

    store = Store(results)
    with store.locked():
        records = {record.student: record for record in course(store).gradebook.records}
        record = records[people.named(person, [*records])]
        grade, entries = record.grades.get(exercise), []
        if grade is None:
            raise JournalError(f"There is no {exercise} in these results.", f"There is: {', '.join(record.grades)}.")
        about = (record.student.id, exercise)
        if check:
            ensure_graded(grade)
            given = _points(check[1])
            was = points_of(grade.result, check[0], given)
            entries.append(Entry(*about, "check", check[0], given, reason, by, grade.graded_as, was.score, was.worth))
        if answer:
            entries.append(Entry(*about, "answer", answer[0], _points(answer[1]), reason, by))
        if attempt:
            if attempt > grade.attempts:
                raise JournalError(f"There is no attempt {attempt}.", f"There are {grade.attempts}.")
            entries.append(Entry(*about, "attempt", "", float(attempt), reason, by))
        if exempt is not None:
            entries.append(Entry(*about, "exempt", "", float(exempt), reason, by))
        if not entries:
            raise click.UsageError("Say what you decide: --check, --answer, --attempt, --exempt or --counts")
        journal = Journal(results)
        for entry in entries:
            journal.add(entry)
        after = next(r for r in course(store).gradebook.records if r.student.id == record.student.id).grades[exercise]
    click.echo(f"{record.student.shown}, {exercise}: {_score(grade)} → {_score(after)} of {after.of:g} points.")
    if after.status is Status.TROUBLE and attempt:
        click.echo(f"Attempt {attempt} was never graded: the next `grade batch … -o {results}` grades it.")
    click.echo(_REPORT.format(results))


def _score(grade: Grade) -> str:
    if grade.score is not None:
        return f"{grade.score:g}"
    return "no score yet" if grade.status is Status.TROUBLE else f"{grade.status}"


def _points(text: str) -> float | None:
    if text.lower() == "none":
        return None
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no number of points") from None
