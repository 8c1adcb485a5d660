"""The `grade` commands for many hand-ins: `batch`, `rescore` and `report`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from graders.harness import lessons, options
from graders.harness.cli import exits
from graders.harness.cli.exercises import ExerciseName
from graders.harness.cli.exits import CourseCommand
from graders.harness.data.times import in_zone
from graders.harness.data.values import one_line
from graders.harness.imports import importing

if TYPE_CHECKING:
    from graders.harness.course.anonymity import Key
    from graders.harness.course.settings import Settings
    from graders.harness.course.store import Store
    from graders.harness.gradebooks.export import Wanted


def _exports(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[tuple[str, Path], ...]:
    """EXERCISE=FILE or FILE."""
    parts = (text.partition("=") for text in given)
    known = (part if part[0] in lessons.meant().names else ("", "", "".join(part)) for part in parts)
    return tuple((exercise, Path(path)) for exercise, _, path in known)


def _titles(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    parts = [text.partition("=") for text in given]
    if wrong := [
        text
        for text, (name, _, title) in zip(given, parts, strict=True)
        if name not in (*lessons.meant().names, "total") or not title
    ]:
        names = ", ".join(lessons.meant().names)
        raise click.BadParameter(f"{wrong[0]!r} is not EXERCISE=TITLE; exercises are {names} and total")
    return {name: title for name, _, title in parts}


_folder = click.Path(path_type=Path, file_okay=False)
_file = click.Path(path_type=Path, dir_okay=False)
_references = click.option(
    "--references", type=_folder, help="The reference solutions, whose model answers are put beside written answers."
)
_gradebook = click.option(
    "--gradebook",
    "gradebooks",
    multiple=True,
    metavar="[EXERCISE=]FILE",
    callback=_exports,
    help="Canvas's export of the gradebook, or Moodle's grading worksheet: scores are put into a copy of it.",
)
_column = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="EXERCISE=TITLE",
    callback=_titles,
    help="To which column of it an exercise (or total) goes.",
)
_scale = click.option("--scale", is_flag=True, help="Convert points where a column of it is worth others.")
_isolation = options.isolation("bubblewrap", "none only on a machine that may be lost.")
_jobs = click.option("--jobs", type=click.IntRange(1), help="Hand-ins that are graded at a time.")


def _graders() -> list[str]:
    """What checks need, to be imported before workers are forked."""
    lesson = lessons.meant()
    return [name for name in (lesson.libraries, *(one.rubric for one in lesson.outlines.values())) if name]


def _moment(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    try:
        when = datetime.fromisoformat(text) if text else None
        if when:
            in_zone(when)  # its zone may be the course's, but a clock must know it
        return when
    except ValueError:
        raise click.BadParameter(f"{text!r} is no date and time; write it as 2026-11-30T23:59+01:00") from None


@click.command(cls=CourseCommand)
@click.argument("hand_ins", metavar="HAND-INS", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, metavar="RESULTS", type=_folder, help="Where everything is kept.")
@click.option("--exercise", type=ExerciseName(), help="All hand-ins are for this one.")
@click.option(
    "--layout",
    metavar="NAME",
    help="How HAND-INS is laid out, if that is not recognised: canvas, moodle, folders, …, or '{group}/{name}_{id}/*'.",
)
@click.option("--check", is_flag=True, help="Say whose the hand-ins are and who is missing, and grade nothing.")
@_isolation
@options.python()
@click.option(
    "--own-file",
    "own_files",
    multiple=True,
    metavar="NAME",
    help="A module that hand-ins import is a file of the students' own, and not a package that is missing here (repeat).",
)
@_jobs
@options.check_limit()
@options.profile()
@click.option(
    "--time-limit", type=click.IntRange(10), default=900, show_default=True, help="Seconds that a notebook may run."
)
@click.option("--roster", type=_file, help="CSV file of the students: who is missing, exempt, or has more time.")
@click.option(
    "--attempts", type=click.Choice(["last", "best"]), help="Which counts: the last, unless it is said otherwise."
)
@click.option("--due", callback=_moment, metavar="TIME", help="Hand-ins are late after 2026-11-30T23:59+01:00.")
@click.option(
    "--late-penalty",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Points lost for each day late.",
)
@click.option("--set", "change", is_flag=True, help="Options may change what RESULTS/course.toml says.")
@click.option(
    "--anonymous", "key", metavar="KEY", type=_file, help="Keep no names in RESULTS, but in this file: who is who."
)
@_references
@_gradebook
@_column
@_scale
def batch(
    hand_ins: Path,
    output: Path,
    exercise: str | None,
    layout: str | None,
    check: bool,
    isolation: str,
    python: Path | None,
    own_files: tuple[str, ...],
    jobs: int | None,
    check_limit: float | None,
    profile: Path | None,
    time_limit: int,
    roster: Path | None,
    attempts: str | None,
    due: datetime | None,
    late_penalty: float | None,
    change: bool,
    key: Path | None,
    references: Path | None,
    **gradebook: Any,
) -> None:
    """Grade all HAND-INS that a course system gave, and write gradebooks, feedback and a report to RESULTS.

    HAND-INS is what Canvas, Moodle, Gradescope, nbgrader, Sakai, ILIAS, Blackboard, Brightspace or GitHub Classroom gave,
    as a zip file or a folder; a folder per student; or a folder of notebooks. The same command again goes on where it
    stopped, and grades only what is new.
    """
    from dataclasses import replace

    from graders.harness.course import forkserver

    if not check:
        forkserver.prepare(_graders())
    with importing():
        from graders.harness import grade as grading
        from graders.harness.cli import batch_progress
        from graders.harness.course import anonymity, layouts, settings
        from graders.harness.course import roster as lists
        from graders.harness.course.batch import deposit
        from graders.harness.course.discovery import HandIns, discover
        from graders.harness.course.marking import awaited
        from graders.harness.course.order import Order
        from graders.harness.course.reconciliation import reconcile
        from graders.harness.course.rules import Rules
        from graders.harness.course.store import Store
        from graders.harness.course.workers import crew
        from graders.harness.run.interpreter import interpreter

    console = Console(file=sys.stdout)
    asked, its_python = lessons.meant().read_profile(profile)
    before = settings.read(output)
    given = settings.Settings(
        lesson=lessons.asked(),
        attempts=attempts,
        late_penalty=late_penalty,
        python=str(python.expanduser().absolute()) if python else None,
        own_files=tuple(dict.fromkeys((*before.own_files, *own_files))),
    )
    decided = before.with_(given)
    place = decided.python or its_python
    other = interpreter(Path(place)) if place else None
    store = Store(output)
    asked_layout = layouts.named(layout) if layout else None
    if output.resolve().is_relative_to(hand_ins.resolve()):
        raise click.UsageError("RESULTS would lie among the HAND-INS; name a folder elsewhere: -o ../results")

    def look() -> tuple[HandIns, lists.Roster]:
        known = lists.read(roster) if roster else lists.Roster() if key else store.roster
        found = discover(hand_ins, exercise, asked_layout, known)
        found.keep(before.exercises or lessons.meant().names)
        batch_progress.recognised(found, reconcile(found, known), console)
        return found, known

    if check:
        look()
        return
    with _at_work(store, console):
        before = settings.read(output)  # results of an earlier version have one only now
        with console.status("Looking at the hand-ins…"):
            found, known = look()
            if key:
                found, known = anonymity.hide(found, known, anonymity.Key(key, output))
            meant = {attempt.exercise for attempt in found.attempts} | ({exercise} if exercise else set())
            exercises = tuple(name for name in lessons.meant().names if name in meant)
            lessons.meant().ensure_decides(asked, exercises, calibrated=True)
            given = replace(given, due=dict.fromkeys(exercises, in_zone(due, before.zone)) if due else {})
            if not change:
                _agreed(output, before, given)
            decided = before.with_(given)
            rules = decided.rules(Rules(exercises))
            strays = tuple(f"{stray.file}: {stray.problem}" for stray in found.strays)
            store.extend(Order(rules, known, found.layout, strays, anonymous=key is not None))
            todo = deposit(found, rules, store)
            todo += [stored for stored in awaited(store) if stored not in todo]
            settings.write(output, decided)
        within = grading.setting(isolation, asked, check_limit, other)
        within = replace(within, time_limit=float(time_limit), own_files=decided.own_files)
        batch_progress.watch(todo, store, crew(within, jobs), console)
        ended = _publish(store, references, console, _wanted(**gradebook))
    sys.exit(ended)


@click.command(cls=CourseCommand)
@click.argument("results", type=_folder)
@_jobs
@options.check_limit()
@_references
@click.option("--dry-run", is_flag=True, help="Only say what would change; ends with 1 if a total would.")
def rescore(results: Path, jobs: int | None, check_limit: float | None, references: Path | None, dry_run: bool) -> None:
    """Check the stored runs in RESULTS again with the graders of now, and say whose points changed and why.

    No notebook is executed. Of a result that changes, the earlier one is kept beside it, in the folder `earlier`.
    """
    from graders.harness.course import forkserver

    forkserver.prepare(_graders())
    with importing():
        from graders.harness.cli import rescoring
        from graders.harness.course.store import Store
        from graders.harness.course.workers import crew
        from graders.harness.data.documents import DamagedError
        from graders.harness.grade import setting

    console = Console(file=sys.stdout)
    store = Store(results)
    store.order()
    for stored in store.attempts():
        with suppress(DamagedError):  # which is said of that hand-in, and keeps nobody else from being graded
            profile = lessons.meant().profile_in(stored.graded)
            lessons.meant().ensure_decides(profile, (stored.exercise,))
    those = crew(setting("none", check_limit=check_limit), jobs)
    if dry_run:
        ended = rescoring.watch(store, those, console, dry=True)
        console.print("Nothing was written.")
        sys.exit(ended)
    with _at_work(store, console):
        rescoring.watch(store, those, console)
        ended = _publish(store, references, console)
    sys.exit(ended)


@click.command(cls=CourseCommand)
@click.argument("results", type=_folder)
@click.option("--names", metavar="KEY", type=_file, help="The file that --anonymous made: put the names back.")
@click.option(
    "-o", "--output", metavar="FOLDER", type=_folder, help="Write it here; what has names must not go to RESULTS."
)
@_references
@_gradebook
@_column
@_scale
def report(results: Path, names: Path | None, output: Path | None, references: Path | None, **gradebook: Any) -> None:
    """Make the gradebooks, the feedback and the report of RESULTS again, with the points entered meanwhile."""
    from graders.harness.course.anonymity import Key
    from graders.harness.course.store import Store

    store = Store(results)
    store.order()
    if names and (output is None or output.resolve().is_relative_to(results.resolve())):
        raise click.UsageError("--names needs -o FOLDER, a folder outside of RESULTS")
    key = Key(names, results) if names else None
    console = Console(file=sys.stdout)
    with _at_work(store, console):
        ended = _publish(store, references, console, _wanted(**gradebook), key, output)
    sys.exit(ended)


def _agreed(results: Path, before: Settings, given: Settings) -> None:
    """Ask whether options may change what is decided, or refuse where nobody can be asked."""
    from graders.harness.course import settings

    changes = [what for _, what in before.changed(given)]
    if changes and sys.stdin.isatty() and click.confirm(f"{results / settings.FILE}: {', '.join(changes)}?"):
        return
    settings.ensure_said(results, before, given)


@contextmanager
def _at_work(store: Store, console: Console) -> Iterator[None]:
    """Keeps others from the results; Ctrl-C ends what is in flight, and nothing else is lost."""
    from graders.harness.course import takeover

    try:
        with store.locked():
            if store.taken_over:
                kept = "An earlier version made these results. As they were, they are kept in"
                console.print(f"{kept} {store.root / takeover.COPY}.", style="yellow", highlight=False)
            yield
    except KeyboardInterrupt:
        console.print("Stopped. What was finished is kept; the same command goes on from here.")
        sys.exit(exits.STOPPED)


@click.command()
@click.argument("results", type=_folder)
@click.argument("person")
@click.confirmation_option(prompt="Hand-ins, results, points and feedback of this person will be gone for good. Go on?")
def forget(results: Path, person: str) -> None:
    """Remove all that RESULTS knows of PERSON, named by id, login or name, and make everything else again."""
    from graders.harness.course import forgetting, people, settings
    from graders.harness.course.marking import course
    from graders.harness.course.store import Store

    settings.mean_lesson(results)
    store = Store(results)
    console = Console(file=sys.stdout)
    with _at_work(store, console):
        student = people.named(person, [record.student for record in course(store).gradebook.records])
        for left in forgetting.forget(student, store):
            console.print(Text(left, "yellow"))
        _publish(Store(results), None, console)


@click.command()
@click.argument("exercise", type=ExerciseName())
@click.argument("archive", type=_file)
@click.option(
    "--wheel",
    "wheels",
    required=True,
    multiple=True,
    type=_file,
    help="The graders' wheel from `make wheel`, with the instructors' beside it. Once more for that of another lesson.",
)
@click.option(
    "--constraints", default="constraints.txt", show_default=True, type=_file, help="The versions to install."
)
@_isolation
def autograder(exercise: str, archive: Path, wheels: tuple[Path, ...], constraints: Path, isolation: Any) -> None:
    """Pack the graders of EXERCISE into ARCHIVE, a zip file to upload to Gradescope as the assignment's autograder."""
    from graders.harness.data.saving import save
    from graders.harness.gradebooks.autograder import pack

    save(pack(exercise, wheels, constraints, isolation), archive)
    click.echo(f"{archive}: upload it to Gradescope as the autograder of the assignment for {exercise}.")


def _wanted(gradebooks: tuple[tuple[str, Path], ...], columns: dict[str, str], scale: bool) -> Wanted:
    from graders.harness.gradebooks.export import Wanted

    return Wanted(gradebooks, columns, scale)


def _publish(
    store: Store,
    references: Path | None,
    console: Console,
    wanted: Wanted | None = None,
    names: Key | None = None,
    to: Path | None = None,
) -> exits.Exit:
    """Write everything that is made of the results, and say what is in them; how that ends."""
    from graders.harness.cli.batch_progress import summary
    from graders.harness.cli.publish import publish
    from graders.harness.course import settings
    from graders.harness.report import wording

    with console.status("Writing gradebooks, feedback and the report…"):
        made, notes = publish(store, to or store.root, references, wanted, names)
        questions = wording.missing(made.gradebook)
        settings.write(store.root, settings.read(store.root), [*questions])
    for question in questions:
        console.print(Text(one_line(question, 300), "magenta"))
    summary(made.gradebook, notes, to or store.root, console)
    return exits.of_course(made.gradebook, questions)
