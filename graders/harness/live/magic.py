"""``%load_ext graders``, then ``%grade ex2``: the live kernel is graded, and the feedback shown below the cell."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.display import DisplayHandle

from graders.harness import lessons
from graders.harness.data.scratch import Scratch
from graders.harness.errors import ExplainedError
from graders.harness.live import feedback
from graders.harness.live.checker import Checker
from graders.harness.live.snapshot import take
from graders.harness.run.kernel import watchers


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """Say it in the notebook, where argparse would end the kernel."""
        raise UsageError(f"%grade: {message}. Write for example: %grade {lessons.meant().names[0]}")


@magics_class
class LiveGrading(Magics):
    """The magic, and the process that checks, which is started before it is needed."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell=shell)
        self._namespace: dict[str, Any] = shell.user_ns
        # A terminal cannot take back what it shows
        self._updates = type(shell).__name__ != "TerminalInteractiveShell"
        self._checker = Checker()

    @line_magic
    def grade(self, line: str) -> None:
        """Grade this kernel as it stands: `%grade ex2`, or `%grade ex2 --only loss` for some of the checks."""
        parser = _Parser(prog="%grade", add_help=False)
        parser.add_argument("exercise", choices=lessons.meant().names)
        parser.add_argument("--only", action="append", default=[], metavar="CHECK")
        try:
            given = parser.parse_args(shlex.split(line))
        except ValueError as error:  # a quotation mark that is not closed
            parser.error(str(error))
        shown = _Shown(self._updates)
        try:
            self._grade(given.exercise, given.only, shown)
        except ExplainedError as error:
            shown.end(feedback.complaint(error))
        except KeyboardInterrupt:  # wherever in the conversation it came
            self._checker.waiting = False
            raise
        finally:
            if not self._checker.waiting:
                self._checker.end()
                self._checker = Checker()

    def _grade(self, exercise: str, only: list[str], shown: _Shown) -> None:
        shown.wait(f"{exercise}: looking at your variables…")
        wanted = self._checker.ask(exercise)
        with Scratch("live") as place:
            folder = Path(place)
            unread = take(wanted, self._namespace, folder)
            graded = self._checker.check(folder, only, lambda title: shown.wait(f"{exercise}: checking: {title}"))
        shown.end(feedback.page(graded, wanted.hand_in, unread))

    def end(self) -> None:
        """End the process that checks."""
        self._checker.end()


class _Shown:
    """What stands below the cell: how far it has come, and then the feedback in its place."""

    def __init__(self, updates: bool) -> None:
        self._updates = updates
        self._handle: DisplayHandle | None = None

    def wait(self, text: str) -> None:
        """Say how far it has come."""
        if self._updates:
            self._show(feedback.waiting(text))

    def end(self, bundle: dict[str, str]) -> None:
        """Show the feedback."""
        self._show(bundle)

    def _show(self, bundle: dict[str, str]) -> None:
        if self._handle is None:
            self._handle = DisplayHandle()
            self._handle.display(bundle, raw=True)
        else:
            self._handle.update(bundle, raw=True)


_loaded: LiveGrading | None = None


def load(shell: InteractiveShell) -> None:
    """Add `%grade` to a shell, once."""
    global _loaded
    if _loaded is None:
        _loaded = LiveGrading(shell)
        with contextlib.suppress(ExplainedError):  # `%grade` says it
            watchers.begin(lessons.meant().watching)
        shell.register_magics(_loaded)
        shell.events.register("post_run_cell", _after_cell)


def unload(shell: InteractiveShell) -> None:
    """Take `%grade` away again."""
    global _loaded
    if _loaded is not None:
        shell.events.unregister("post_run_cell", _after_cell)
        shell.magics_manager.magics["line"].pop("grade", None)
        _loaded.end()
        _loaded = None


def _after_cell(result: object) -> None:
    watchers.watch()
