"""`grade` in this process: its own code with the same arguments, but what takes seconds is imported once for many commands.

Where it matters how a command is started, what environment libraries are imported in, which terminal it has or what signal ends
it, tests start one.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from graders.harness.cli.main import main


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str
    printed: str
    """Both, in the order in which they were written."""

    @property
    def said(self) -> str:
        """The same on one line."""
        return " ".join(self.printed.split())


def grade(*arguments: object, folder: Path, **environment: str) -> Ran:
    """`grade` with these arguments, in a folder."""
    with contextlib.chdir(folder):
        runner = CliRunner(env={"COLUMNS": "200", **environment}, catch_exceptions=False)
        done = runner.invoke(main, [*map(str, arguments)], prog_name="grade")
    return Ran(done.exit_code, done.stdout, done.stderr, done.output)
