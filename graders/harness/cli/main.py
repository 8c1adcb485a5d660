"""The `grade` command."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from graders.harness import DISTRIBUTION, lessons, options
from graders.harness.cli import own
from graders.harness.cli.batch import autograder, batch, forget, report, rescore
from graders.harness.cli.exercises import ExerciseName, named
from graders.harness.cli.lesson import lesson
from graders.harness.cli.mark import mark
from graders.harness.cli.own_notebook import EXIT_UNGRADABLE
from graders.harness.cli.progress import progress
from graders.harness.data.saving import DiskFullError
from graders.harness.data.scratch import Scratch
from graders.harness.errors import ExplainedError, TroubleError
from graders.harness.machine.packages import explained
from graders.harness.report import terminal, wording
from graders.harness.run import MARK

EXIT_FAULT = 3


class _Commands(click.Group):
    """Exercises are commands of their own: `grade ex3`; others are the lesson's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        try:
            lesson = lessons.meant()
        except lessons.LessonError:  # several are installed, and none is said
            of_lessons = [f"{name}/{one}" for name in lessons.installed() for one in lessons.load(name).names]
            return sorted([*of_lessons, *self.commands])
        return sorted([*lesson.names, "all", *(command.name for command in lesson.commands()), *self.commands])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        name = named(cmd_name)
        lesson = lessons.meant()
        if name in lesson.names:
            return own.exercise(name)
        if name == "all":
            return own.every()
        return next((command for command in lesson.commands() if command.name == name), None)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except ExplainedError as error:  # of the lesson that is asked for, before there is a command
            terminal.complain(error)
            ctx.exit(EXIT_UNGRADABLE)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ExplainedError as error:
            terminal.complain(error)
            ctx.exit(EXIT_FAULT if isinstance(error, TroubleError | DiskFullError) else EXIT_UNGRADABLE)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if os.environ.get("GRADE_DEBUG"):
                raise
            if isinstance(error, ImportError) and (reason := explained(error)):
                terminal.complain(reason)
                ctx.exit(EXIT_UNGRADABLE)
            problem = f"The graders failed ({type(error).__name__}: {error})."
            terminal.complain(ExplainedError(problem, "Run it with GRADE_DEBUG=1 and report what it says."))
            ctx.exit(EXIT_FAULT)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=DISTRIBUTION)
@click.option(
    "--lesson",
    metavar="NAME|PATH",
    expose_value=False,
    is_eager=True,
    callback=lambda ctx, parameter, given: given and lessons.mean(given),
    help="The lesson that is meant, if several are installed, or the folder or file of one that is not.",
)
def main() -> None:
    """Grade the exercises of a lesson."""
    if os.environ.get(MARK):  # a notebook with `!grade` in it would grade itself without end
        click.echo("This notebook is being graded.")
        sys.exit(0)
    _quiet()


def _quiet() -> None:
    """Keep the libraries' own progress bars and advice off the terminal."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@main.command()
@own.device
@own.isolation
def reference(device: str | None, isolation: str) -> None:
    """Grade every reference solution on everything that hand-ins may meet.

    Fails unless each gets full marks with every set of parameters.
    """
    from graders.harness import grade as grading
    from graders.harness.checking import CHECK_SECONDS
    from graders.harness.trial import references

    console = Console(file=sys.stdout)
    lesson = lessons.meant()
    place, within = Path.cwd() / ".grade" / "reference", grading.setting(isolation)
    graded = []
    for one in references(lesson, lesson.names, place, own.given((), device), within, partial(progress, console)):
        graded.append(one)
        mark = "[green]✓[/]" if one.right else "[red]✗[/]"
        console.print(f"{mark} {one.exercise}{one.parameters}: {wording.score(one.result)}", highlight=False)
        if not one.right:
            terminal.render(one.result, console, title=lesson.exercise(one.exercise).title)
    seconds, check = max(times for one in graded for times in one.times)
    console.print(
        f"The slowest check took {seconds:.1f} s: {check}. A check may take {CHECK_SECONDS:.0f} s.", highlight=False
    )
    sys.exit(0 if all(one.right for one in graded) else 1)


@main.command()
@click.option("--sandbox", is_flag=True, help="Fail as well if other people's notebooks cannot be run safely here.")
@click.option("--network", is_flag=True, help="Ask as well whether the Hugging Face Hub can be reached.")
@options.python()
def doctor(sandbox: bool, network: bool, python: Path | None) -> None:
    """Find out what is wrong with this machine, if anything is, and what helps.

    Looks at the packages, the models and data of the exercises, the GPU, memory, disk, and the cache of other models, and
    puts every promise of the sandbox to the test by an attempt to break it. Fails only if your own notebooks cannot be
    graded here, for which no sandbox is needed.
    """
    from graders.harness.machine.examination import examine
    from graders.harness.report.doctor import render
    from graders.harness.run.interpreter import interpreter

    other = interpreter(python) if python else None
    mine, others = render(examine(Path.cwd(), network=network, python=other), Console())
    sys.exit(0 if mine and (others or not sandbox) else 1)


@main.command()
@click.argument("folder", default="lora-exercises", type=click.Path(path_type=Path, file_okay=False))
def start(folder: Path) -> None:
    """Put the exercises, with the models and data that they need, into FOLDER. Nothing that is there is replaced."""
    from graders.harness.release import start as copy

    for notebook, new in copy(folder):
        click.echo(f"{notebook}{'' if new else ' is there already and stays as it is'}")
    click.echo(f"Go on with: cd {folder}, open assignments in Jupyter, and run grade ex1 whenever you want to know.")


@main.command("lessons")
def list_lessons() -> None:
    """List the lessons that are installed here."""
    table = Table("lesson", "version", "title", "exercises", "place", box=None)
    for name, point in lessons.installed().items():
        try:
            found = lessons.load(name)
        except lessons.LessonError as error:
            table.add_row(name, "", escape(error.problem), "", escape(point.value))
        else:
            table.add_row(name, found.version, found.title, ", ".join(found.names), escape(str(found.home)))
    Console().print(table, soft_wrap=True)


@main.command()
@click.option("--exercise", "exercises", multiple=True, type=ExerciseName(), help="Only this one (repeat).")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep notebooks, results and feedback here, and go on with what is here already.",
)
def zoo(exercises: tuple[str, ...], output: Path | None) -> None:
    """Grade every hand-in of the zoo and compare each verdict with what is known."""
    from graders.harness import zoo as keeping
    from graders.harness.report.zoo import render

    console = Console(file=sys.stdout)
    with Scratch("zoo") as place:
        keeper = keeping.Keeper((output or Path(place)).resolve())
        try:
            futures = [
                future
                for name in exercises or lessons.meant().names
                for pen in [keeping.load(name)]
                for future in keeper.grade(pen, pen.submissions).values()
            ]
            sys.exit(render(futures, console))
        finally:
            keeper.close()


@main.command("answers")
@click.argument("file", default="written-answers.csv", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--references",
    default="reference_solutions",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The reference solutions, which hold the questions and model answers.",
)
def collect_answers(file: Path, references: Path) -> None:
    """Collect the written answers of all hand-ins graded here into FILE, where a person enters points.

    Run it again after grading more, or after entering points: what was entered stays, and the points are added up.
    """
    from graders.harness.course import answers as written

    found = written.collect(Path.cwd() / ".grade", references)
    if not found:
        raise written.PointsError("No hand-in has been graded in this folder.", "Grade some first: grade all FOLDER")
    if file.exists():
        found = written.with_points(found, written.read_points(file))
    written.write(found, file)
    table = Table("exercise", "hand-in", Column("read", justify="right"), Column("points", justify="right"), box=None)
    for exercise, hand_in in dict.fromkeys((a.exercise, a.hand_in) for a in found):
        mine = [a for a in found if (a.exercise, a.hand_in) == (exercise, hand_in)]
        given = [a.points for a in mine if a.points is not None]
        table.add_row(
            exercise,
            terminal.line(hand_in),
            f"{len(given)} of {len(mine)}",
            f"{sum(given):g} of {sum(a.of for a in mine):g}",
        )
    console = Console()
    console.print(table)
    console.print(f"{escape(str(file))}: enter points in the last column, then run this again.", highlight=False)


@main.command()
@click.argument("lesson", required=False, metavar="[NAME|PATH]")
def release(lesson: str | None) -> None:
    """Write the assignments of a lesson from its reference solutions: of the one that is meant, or NAME, or that in PATH."""
    from graders.harness.release import release as make

    found = lessons.read(lesson or lessons.name_of_meant())  # without its assignments it is not valid
    for solution in sorted(found.solutions.glob("*.ipynb")) if found.solutions else ():
        assignment = found.notebooks / solution.name
        make(solution, assignment)
        click.echo(assignment)


for _command in (batch, rescore, report, mark, forget, autograder, lesson):
    main.add_command(_command)
