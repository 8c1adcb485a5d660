"""`grade lesson`: for authors of lessons."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from graders.harness import lessons
from graders.harness.cli import own
from graders.harness.cli.progress import progress
from graders.harness.data.scratch import Scratch


@click.group()
def lesson() -> None:
    """Write a lesson, and find out whether it is right."""


@lesson.command()
@click.argument("name")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
def new(name: str, folder: Path | None) -> None:
    """Write the package of a lesson NAME into FOLDER, or into a new folder of its name: one exercise, which works."""
    from graders.harness.new_lesson import write

    folder = folder or Path(name)
    write(name, folder)
    click.echo(f"{folder}: README.md there says what is what.")
    click.echo(f"Go on with: grade lesson check {folder}")


@lesson.command()
@click.argument("path", required=False, metavar="[NAME|PATH]")
@click.option("--exercise", "exercises", multiple=True, metavar="EXERCISE", help="Only this one (repeat).")
@click.option("--all", "everything", is_flag=True, help="Grade the whole zoo, and not only what is sampled of it.")
@own.device
def check(path: str | None, exercises: tuple[str, ...], everything: bool, device: str | None) -> None:
    """Find out whether a lesson is right: the one that is meant, or NAME, or that in PATH.

    Its rubrics and notebooks are held against each other. Then its graders are put to the test with the reference solutions, on
    all that hand-ins may meet, with hand-ins of its zoo, and with the assignments as they are handed out, which earn nothing.
    """
    meant = lessons.mean(path) if path else lessons.meant()
    from graders.harness import grade as grading
    from graders.harness import trial, zoo
    from graders.harness.report.trial import render

    names = [*exercises] or [*meant.names]
    if unknown := [name for name in names if name not in meant.names]:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(meant.names)}.", param_hint="--exercise")
    console = Console(file=sys.stdout)
    with console.status("looking at rubrics, notebooks and the zoo"):
        rows = [trial.Row(name, fault.problem, fault.fix, False) for name, fault in trial.faults(meant, names)]
    if rows:  # what is graded nevertheless says nothing new, and takes its time
        sys.exit(render(rows, console))
    with Scratch("lesson") as place:
        for isolation in ("none", "bubblewrap"):
            graded = trial.references(
                meant,
                names,
                Path(place) / isolation,
                own.given((), device),
                grading.setting(isolation),
                partial(progress, console),
            )
            rows += trial.tried_references(isolation != "none", graded)
        keeper = zoo.Keeper(Path(place) / "zoo")
        try:
            with console.status("") as status:
                for number, row in enumerate(trial.tried_zoo(names, keeper, everything), start=1):
                    rows.append(row)
                    status.update(f"{number} hand-ins graded")
        finally:
            keeper.close()
    sys.exit(render(rows, console))
