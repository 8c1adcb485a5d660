"""A notebook of one's own: graded into the folder .grade, shown, and graded again whenever it is saved."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil  # type: ignore[import-untyped]  # publishes no types
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from graders.harness import lessons
from graders.harness.cli.progress import progress
from graders.harness.errors import ExplainedError, TroubleError
from graders.harness.report import terminal, timings

if TYPE_CHECKING:
    from graders.harness.grade import Setting
    from graders.harness.result import Result

EXIT_UNGRADABLE = 2
POLL = 0.5
"""Seconds between two looks at a file that is watched."""


class NoNotebookError(ExplainedError):
    """No notebook was named, and none or several are there."""


def find_notebook(name: str, folder: Path) -> Path:
    """The notebook of an exercise in ``folder`` or in its ``assignments`` folder."""
    for place in (folder, folder / "assignments"):
        found = sorted(path for path in place.glob(f"{name}*.ipynb") if path.is_file())
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(path.name for path in found)
            raise NoNotebookError(
                f"There are several notebooks for {name}: {listed}.", f"Name one: grade {name} {found[0]}"
            )
    raise NoNotebookError(
        f"There is no notebook {name}*.ipynb in {folder} or in its assignments folder.",
        f"Go to the folder with your notebook, or name it: grade {name} PATH",
    )


@dataclass(frozen=True)
class OwnNotebook:
    """A notebook of one's own, and how it is graded: everything is kept in the folder .grade."""

    name: str
    notebook: Path
    parameters: dict[str, Any]
    within: Setting
    console: Console
    verbose: bool = False
    only: tuple[str, ...] = ()
    timings: bool = False

    @property
    def folder(self) -> Path:
        """What is kept of it."""
        # Of "...ipynb" the stem is "..", which is the folder of all results, and would be emptied
        stem = self.notebook.stem if self.notebook.stem.strip(".") else self.notebook.name
        return Path.cwd() / ".grade" / self.name / stem

    def grade(self) -> Result:
        """Run and check it, and print the feedback."""
        files = self._look()
        from graders.harness import grade as grading

        before = time.time() - psutil.Process().create_time()
        with progress(self.console, self.name) as watcher:

            def once() -> Result:
                return grading.grade(
                    self.name,
                    self.notebook,
                    self.folder,
                    self.parameters,
                    watcher,
                    within=self.within,
                    only=self.only,
                    beside=files,
                )

            try:
                result = once()
            except TroubleError:  # which may be over
                result = once()
            if result.faulty:  # perhaps for want of memory or time, which there may be now
                result = grading.rescore(self.name, self.folder, watcher, self.only, self.within.checking)
        checked, title = time.monotonic(), lessons.meant().exercise(self.name).title
        terminal.render(result, self.console, title=title, verbose=self.verbose)
        if not self.parameters and self.within.profile == lessons.meant().standard:
            practised = any(check.practised for check in result.checks)
            also = " It decides those that have no points here." if practised else ""
            same = f"Your instructor's run makes the same checks, in a sandbox without network.{also}"
            self.console.print(Text(same, style="dim"))
        faults = self.folder / "grader-faults.log"
        if faults.exists():
            self.console.print("The grader itself failed in a check. Tell your instructor and send")
            self.console.print(terminal.line(faults))
        if self.timings:
            timings.render(result, self.console, before, time.monotonic() - checked)
        return result

    def _look(self) -> bytes:
        """Say at once what does not compile, and which files are not there; returns those that belong to the notebook."""
        from graders.harness.run import beside, notebook, source

        cells = source.code(notebook.read(self.notebook))
        broken = next((cell for cell in cells if cell.fault), None)
        if broken and broken.fault and (self.within.python is None or self.within.python.speaks_ours):
            self.console.print(terminal.line(f"{broken.says}."), style="red")
            self.console.print(Padding(terminal.line(broken.fault.text), (0, 0, 0, 2)), style="dim")
            self.console.print("The notebook will stop there. What stands before it is run and graded.")
        if absent := [name for name in beside.needed(cells) if not (self.notebook.parent / name).exists()]:
            listed = ", ".join(absent[:5])
            self.console.print(terminal.line(f"The notebook reads what is not beside it: {listed}."), style="yellow")
        return beside.of_own(self.notebook, cells)

    def page(self, result: Result) -> Path:
        """The same feedback as an HTML file, with pictures and curves."""
        from graders.harness.data.saving import save
        from graders.harness.data.values import clean
        from graders.harness.marks import Grade, Record, Status, Student
        from graders.harness.report import figures
        from graders.harness.report.html import student_page

        worth = result.max_score + result.undecided
        grade = Grade(self.name, Status.GRADED, worth, 0.0, result, folder=self.folder)
        record = Record(Student(self.notebook.name), {self.name: grade})
        titles = {self.name: lessons.meant().exercise(self.name).title}
        path = self.folder / "feedback.html"
        save(clean(student_page(record, titles, {self.name: figures.of(grade)})).encode(), path)
        return path


def _content(path: Path) -> bytes | None:
    """None while there is no file, as when an editor puts a new one in the place of the old one."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def open_page(page: Path) -> None:
    """Show a page in the browser, where there is a desktop to have one."""
    desktop = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if desktop and sys.stdout.isatty():
        click.launch(str(page))


def watched(own: OwnNotebook, once: Callable[[bool], int]) -> int:
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
