"""How the commands for a whole course end: which exit status says what."""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from typing import Any

import click

from graders.harness.cli.exercises import mean_lesson_of
from graders.harness.errors import ExplainedError, MachineError, TroubleError
from graders.harness.machine.packages import explained
from graders.harness.marks import Gradebook, Status
from graders.harness.report import terminal
from graders.harness.report.wording import faulty


class Exit(IntEnum):
    """The exit statuses of `grade batch`, `rescore` and `report`, the worst first where several hold."""

    FAULT = 3
    NOTHING = 2
    OPEN = 1
    FINAL = 0


SAYS = {
    Exit.FINAL: "all grades are final",
    Exit.OPEN: "something is undecided, waits for a person's marks, or is asked",
    Exit.NOTHING: "nothing is graded: what was given cannot be",
    Exit.FAULT: "the machine or the graders failed; the same command tries again",
}
STOPPED = 130
"""The exit status after Ctrl-C."""


def of_course(gradebook: Gradebook, questions: Collection[str]) -> Exit:
    """How a command ends that has made a gradebook, with these questions to the instructor."""
    grades = [grade for record in gradebook.records for grade in record.grades.values()]
    waiting = [grade for grade in grades if not grade.final]
    # What waits for an answer, or whose stored files are damaged, is not the machine's fault now
    failed = [g for g in waiting if faulty(g) or (g.status is Status.TROUBLE and not (g.missing or g.damage))]
    if failed:
        return Exit.FAULT
    if waiting or questions:
        return Exit.OPEN
    return Exit.FINAL if any(grade.status is Status.GRADED for grade in grades) else Exit.NOTHING


def of_error(error: ExplainedError) -> Exit:
    """How a command ends that could not go on."""
    return Exit.FAULT if isinstance(error, MachineError | TroubleError) else Exit.NOTHING


class CourseCommand(click.Command):
    """A command that ends with an :class:`Exit`, and says in its help what that means."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        table = "\n".join(f"  {status:d}  {said}" for status, said in SAYS.items())
        super().__init__(*arguments, **{"epilog": f"\b\nExit status:\n{table}", **named})

    def invoke(self, context: click.Context) -> Any:
        """Run it; an error is said, and ends it with its status."""
        try:
            mean_lesson_of(context)
            return super().invoke(context)
        except (ExplainedError, ImportError) as error:
            reason = explained(error) if isinstance(error, ImportError) else error
            if reason is None:
                raise
            terminal.complain(reason)
            context.exit(of_error(reason))
