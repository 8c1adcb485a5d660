"""The `grade` commands for one's own notebooks: `grade ex3`, and `grade all`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Column, Table

from graders.harness import lessons, options
from graders.harness.cli.own_notebook import EXIT_UNGRADABLE, OwnNotebook, find_notebook, open_page, watched
from graders.harness.errors import ExplainedError
from graders.harness.imports import importing
from graders.harness.report import terminal, wording

if TYPE_CHECKING:
    from graders.harness.profile import Profile
    from graders.harness.run.interpreter import Interpreter


def _before_run(
    exercise: str | None,
    parameters: dict[str, Any],
    isolation: str,
    console: Console,
    python: Interpreter | None,
    runs: int = 2,
) -> None:
    """Refuse what cannot come to anything on this machine, before torch is waited for, and warn of what may not.

    Meanwhile what will run the notebook, ``runs`` times at once, imports torch, too.
    """
    from graders.harness.data import files
    from graders.harness.machine.examination import before_run
    from graders.harness.report.doctor import show
    from graders.harness.run import cores, isolations

    lesson = lessons.meant()
    root = lesson.fixtures.root
    if all(path.is_relative_to(root) for path in files.named_by([*parameters.values()])):
        kept_in = isolations.isolation(isolation, [root], python, lesson.shared_files)
        kept_in.warm_up(cores.sharing(cores.at_a_time(runs)))
    for finding in before_run(exercise, parameters, isolation, Path.cwd()):
        show(finding, console)


def given(parameters: tuple[str, ...], device: str | None) -> dict[str, Any]:
    """NAME=VALUE as a mapping, with the device; a value that is no Python literal is taken as text."""
    parsed: dict[str, Any] = {}
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"{parameter!r} is not NAME=VALUE", param_hint="--parameter")
        try:
            parsed[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed[name] = value
    return parsed | ({"DEVICE": device} if device else {})


def _asked(profile: Path | None, python: Path | None, **options: Any) -> tuple[Profile, Interpreter | None]:
    """What to grade with, and the Python that notebooks run in; all of it is on this machine."""
    from graders.harness.run.interpreter import interpreter

    asked, its_python = lessons.meant().read_profile(profile, **options)
    place = python or its_python
    return asked, interpreter(Path(place)) if place else None


_verbose = click.option("--verbose", is_flag=True, help="Also say what passing checks saw.")
device = options.device()
profile = options.profile()


def _of_lesson(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that the lesson adds."""
    for option in reversed(lessons.meant().profile_options()):
        command = option(command)
    return command


isolation = options.isolation("none", "bubblewrap is a sandbox, for notebooks that are not your own.")


def exercise(name: str) -> click.Command:
    """The command that grades a notebook of an exercise."""

    @click.command(name, short_help=f"Run and grade a notebook of exercise {name[2:]}.")
    @click.argument("notebook", required=False, type=click.Path(path_type=Path))
    @click.option("--html", is_flag=True, help="Also make a page with pictures and curves, and open it.")
    @click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the result here.")
    @click.option("--only", multiple=True, metavar="CHECK", help="Make only this check, and those it needs (repeat).")
    @click.option("--timings", is_flag=True, help="Also say where the time went.")
    @click.option("--watch", is_flag=True, help="Grade again whenever the notebook is saved, until Ctrl-C.")
    @_verbose
    @click.option(
        "-p",
        "--parameter",
        "parameters",
        multiple=True,
        metavar="NAME=VALUE",
        help="Run it with this parameter instead.",
    )
    @device
    @profile
    @_of_lesson
    @isolation
    @options.python()
    @options.check_limit()
    def command(
        notebook: Path | None,
        html: bool,
        json_file: Path | None,
        only: tuple[str, ...],
        timings: bool,
        watch: bool,
        verbose: bool,
        parameters: tuple[str, ...],
        device: str | None,
        profile: Path | None,
        isolation: str,
        python: Path | None,
        check_limit: float | None,
        **of_lesson: Any,
    ) -> None:
        if notebook:  # what is no notebook is refused before seconds are spent on importing torch
            from graders.harness.run.notebook import read

            read(notebook)
        # Taken now: while checks run, their own output is caught.
        console = Console(file=sys.stdout)
        parsed = given(parameters, device)
        asked, other = _asked(profile, python, **of_lesson)
        with importing():
            everything = {**asked.parameters.get(name, {}), **parsed}
            _before_run(name, everything, isolation, console, other, runs=1 if only else 2)
            from graders.harness import grade as grading

        notebook = notebook or find_notebook(name, Path.cwd())
        if json_file and not json_file.absolute().parent.is_dir():
            raise grading.GradingError(
                f"There is no folder {json_file.parent}.", "Make it, or write the result elsewhere."
            )
        grading.ensure_checks(name, only)
        within = grading.setting(isolation, asked, check_limit, other)
        own = OwnNotebook(name, notebook, parsed, within, console, verbose, only, timings)

        def once(first: bool) -> int:
            result = own.grade()
            if json_file:
                result.save(json_file)
            if html:
                page = own.page(result)
                console.print(terminal.line(f"The page with pictures and curves: {page}"), soft_wrap=True)
                if first:
                    open_page(page)
            return result.exit_status

        sys.exit(watched(own, once) if watch else once(True))

    command.help = (
        f"Run NOTEBOOK afresh on the grading fixtures and grade it as {name}.\n\n"
        f"Without NOTEBOOK, looks for {name}*.ipynb here, then in assignments/."
    )
    return command


def every() -> click.Command:
    """The command that grades the notebooks of all exercises."""

    @click.command("all")
    @click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False, exists=True))
    @_verbose
    @device
    @profile
    @isolation
    @options.python()
    @_of_lesson
    def command(
        folder: Path,
        verbose: bool,
        device: str | None,
        profile: Path | None,
        isolation: str,
        python: Path | None,
        **of_lesson: Any,
    ) -> None:
        """Grade the notebooks of all exercises in FOLDER, one after the other."""
        console = Console(file=sys.stdout)
        parsed = given((), device)
        asked, other = _asked(profile, python, **of_lesson)
        with importing():
            _before_run(None, {**_changes(asked), **parsed}, isolation, console, other)
            from graders.harness import grade as grading

        within = grading.setting(isolation, asked, python=other)

        table = Table("exercise", "notebook", Column("points", justify="right"), box=None)
        statuses = []
        for name in lessons.meant().names:
            try:
                notebook = find_notebook(name, folder)
                result = OwnNotebook(name, notebook, parsed, within, console, verbose).grade()
            except ExplainedError as error:  # one missing notebook must not keep the others from being graded
                terminal.complain(error)
                table.add_row(name, "", "not graded")
                statuses.append(EXIT_UNGRADABLE)
            else:
                table.add_row(name, terminal.line(notebook.name), wording.score(result))
                statuses.append(result.exit_status)
        console.print()
        console.print(table)
        sys.exit(max(statuses))

    return command


def _changes(profile: Profile) -> dict[str, Any]:
    """All parameters that it changes, of whichever exercise."""
    return {name: value for own in profile.parameters.values() for name, value in own.items()}
