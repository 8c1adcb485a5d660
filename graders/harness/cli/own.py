"""The `grade` commands for one's own notebooks: `grade ex3`, and `grade all`."""

from __future__ import annotations

import ast
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from graders.harness.cli import options
from graders.harness.errors import ExplainedError
from graders.harness.report import terminal, wording
from graders.lesson import EXERCISES
from graders.lora import options as lesson_options

if TYPE_CHECKING:
    from graders.harness.grade import Setting
    from graders.harness.result import Result
    from graders.lora.profile import Profile

EXIT_UNGRADABLE = 2
POLL = 0.5
"""Seconds between two looks at a file that is watched."""
_STEP = re.compile(r"(?<![\d./])(\d+)/(\d+)(?![\d./])")


@contextmanager
def progress(console: Console, what: str) -> Iterator[Any]:
    """Shows how far grading has come, on one line that goes away."""
    from graders.harness.grade import Watcher

    def line(text: str) -> Text:
        shown = terminal.line(f"{what}: {text}")
        shown.truncate(console.width - 4, overflow="ellipsis")
        return shown

    with console.status(line("starting…")) as status:

        def on_run(now: Any) -> None:
            step = _STEP.search(now.text)  # as progress bars write it
            said = f", step {step[1]} of {step[2]}" if step else f": {now.text}" if now.text else ""
            status.update(line(f"cell {now.cell} of {now.of}{said}" if now.cell else "starting…"))

        yield Watcher(on_run, lambda title: status.update(line(f"checking: {title}")))


def _before_run(exercise: str | None, parameters: dict[str, Any], isolation: str, console: Console) -> None:
    """Refuse what cannot come to anything on this machine, before torch is waited for, and warn of what may not."""
    from graders.harness.machine.examination import before_run
    from graders.harness.report.doctor import show

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


def _asked(profile: Path | None, model: str | None) -> Profile:
    """What to grade with; all of it is on this machine."""
    from graders.lora.profile import STANDARD

    return lesson_options.named(profile, model).profile() if profile or model else STANDARD


@dataclass(frozen=True)
class _Own:
    """A notebook of one's own, and how it is graded: everything is kept in the folder .grade."""

    name: str
    notebook: Path
    parameters: dict[str, Any]
    within: Setting
    console: Console
    verbose: bool = False
    only: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """What is kept of it."""
        # Of "...ipynb" the stem is "..", which is the folder of all results, and would be emptied
        stem = self.notebook.stem if self.notebook.stem.strip(".") else self.notebook.name
        return Path.cwd() / ".grade" / self.name / stem

    def grade(self) -> Result:
        """Run and check it, and print the feedback."""
        from graders.harness import grade as grading
        from graders.lora.profile import STANDARD

        with progress(self.console, self.name) as watcher:
            result = grading.grade(
                self.name, self.notebook, self.folder, self.parameters, watcher, within=self.within, only=self.only
            )
            if result.faulty:  # perhaps for want of memory or time, which there may be now
                result = grading.rescore(self.name, self.folder, watcher, self.only, self.within.checking)
        title = grading.module_of(self.name).EXERCISE.title
        terminal.render(result, self.console, title=title, verbose=self.verbose)
        if not self.parameters and self.within.profile == STANDARD:
            practised = any(check.practised for check in result.checks)
            also = " It decides those that have no points here." if practised else ""
            same = f"Your instructor's run makes the same checks, in a sandbox without network.{also}"
            self.console.print(Text(same, style="dim"))
        faults = self.folder / "grader-faults.log"
        if faults.exists():
            self.console.print("The grader itself failed in a check. Tell your instructor and send")
            self.console.print(terminal.line(faults))
        return result

    def page(self, result: Result) -> Path:
        """The same feedback as an HTML file, with pictures and curves."""
        from graders.harness.data.saving import save
        from graders.harness.data.values import clean
        from graders.harness.grade import module_of
        from graders.harness.marks import Grade, Record, Status, Student
        from graders.harness.report import exhibits
        from graders.harness.report.html import student_page

        worth = result.max_score + result.undecided
        grade = Grade(self.name, Status.GRADED, worth, 0.0, result, folder=self.folder)
        record = Record(Student(self.notebook.name), {self.name: grade})
        titles = {self.name: module_of(self.name).EXERCISE.title}
        path = self.folder / "feedback.html"
        save(clean(student_page(record, titles, {self.name: exhibits.of(grade)})).encode(), path)
        return path


def _content(path: Path) -> bytes | None:
    """None while there is no file, as when an editor puts a new one in the place of the old one."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _open(page: Path) -> None:
    """Show a page in the browser, where there is a desktop to have one."""
    desktop = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if desktop and sys.stdout.isatty():
        click.launch(str(page))


_verbose = click.option("--verbose", is_flag=True, help="Also say what passing checks saw.")
device = lesson_options.device()
profile = lesson_options.profile()
model = lesson_options.model()
isolation = options.isolation("none", "bubblewrap is a sandbox, for notebooks that are not your own.")


def exercise(name: str) -> click.Command:
    """The command that grades a notebook of an exercise."""

    @click.command(name, short_help=f"Run and grade a notebook of exercise {name[2:]}.")
    @click.argument("notebook", required=False, type=click.Path(path_type=Path))
    @click.option("--html", is_flag=True, help="Also make a page with pictures and curves, and open it.")
    @click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the result here.")
    @click.option("--only", multiple=True, metavar="CHECK", help="Make only this check, and those it needs (repeat).")
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
    @model
    @isolation
    @options.check_limit()
    def command(
        notebook: Path | None,
        html: bool,
        json_file: Path | None,
        only: tuple[str, ...],
        watch: bool,
        verbose: bool,
        parameters: tuple[str, ...],
        device: str | None,
        profile: Path | None,
        model: str | None,
        isolation: str,
        check_limit: float | None,
    ) -> None:
        if notebook:  # what is no notebook is refused before seconds are spent on importing torch
            from graders.harness.run.notebook import read

            read(notebook)
        # Taken now: while checks run, their own output is caught.
        console = Console(file=sys.stdout)
        parsed = given(parameters, device)
        asked = _asked(profile, model)
        _before_run(name, {**asked.parameters.get(name, {}), **parsed}, isolation, console)
        from graders.harness import grade as grading

        notebook = notebook or grading.find_notebook(name, Path.cwd())
        if json_file and not json_file.absolute().parent.is_dir():
            raise grading.GradingError(
                f"There is no folder {json_file.parent}.", "Make it, or write the result elsewhere."
            )
        grading.ensure_checks(name, only)
        within = grading.setting(isolation, asked, check_limit)
        own = _Own(name, notebook, parsed, within, console, verbose, only)

        def once(first: bool) -> int:
            result = own.grade()
            if json_file:
                result.save(json_file)
            if html:
                page = own.page(result)
                console.print(terminal.line(f"The page with pictures and curves: {page}"), soft_wrap=True)
                if first:
                    _open(page)
            return result.exit_status

        sys.exit(_watched(own, once) if watch else once(True))

    command.help = (
        f"Run NOTEBOOK afresh on the grading fixtures and grade it as {name}.\n\n"
        f"Without NOTEBOOK, looks for {name}*.ipynb here, then in assignments/."
    )
    return command


def _watched(own: _Own, once: Callable[[bool], int]) -> int:
    """Grade now and whenever the notebook is saved, until Ctrl-C; the exit status of the last time."""
    status, first = EXIT_UNGRADABLE, True
    try:
        seen = _content(own.notebook)  # before it is graded: it may be saved meanwhile
        while True:
            try:
                status = once(first)
            except ExplainedError as error:
                terminal.complain(error)
                status = EXIT_UNGRADABLE
            first = False
            own.console.print(terminal.line(f"Waiting for {own.notebook} to be saved; Ctrl-C ends."), style="dim")
            while (now := _content(own.notebook)) in (seen, None):
                time.sleep(POLL)
            seen = now
    except KeyboardInterrupt:
        own.console.print()
        return status


@click.command("all")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False, exists=True))
@_verbose
@device
@profile
@model
@isolation
def every(
    folder: Path, verbose: bool, device: str | None, profile: Path | None, model: str | None, isolation: str
) -> None:
    """Grade the notebooks of all exercises in FOLDER, one after the other."""
    console = Console(file=sys.stdout)
    parsed = given((), device)
    asked = _asked(profile, model)
    _before_run(None, {"MODEL": asked.model, **parsed}, isolation, console)
    from graders.harness import grade as grading

    within = grading.setting(isolation, asked)

    table = Table("exercise", "notebook", Column("points", justify="right"), box=None)
    statuses = []
    for name in EXERCISES:
        try:
            notebook = grading.find_notebook(name, folder)
            result = _Own(name, notebook, parsed, within, console, verbose).grade()
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
