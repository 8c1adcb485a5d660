"""Feedback for a terminal: where to go on, what is open in full, and what holds in a line each."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError
from graders.harness.report import wording
from graders.harness.report.reading import named, reading, together
from graders.harness.result import CheckResult, Outcome, Result

_COLOURS = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "red",
    Outcome.NOT_REACHED: "yellow",
    Outcome.AWAITING_REVIEW: "cyan",
    Outcome.GRADER_FAULT: "magenta",
}


def line(text: object) -> Text:
    """Text in which names may be a hand-in's: on one line, without what steers terminals."""
    return Text(one_line(str(text), 1000))


def complain(error: ExplainedError) -> None:
    """Say on standard error why it cannot go on, and what to do."""
    console = Console(stderr=True)
    console.print(Text.assemble(("Cannot go on:", "red"), " ", line(error.problem)))
    console.print(Text.assemble(("What to do:", "dim"), "   ", line(error.fix)))


def plain(text: str) -> Text:
    """Text from a hand-in, with control characters, which could steer the terminal, made visible."""
    return Text(wording.visible(text))


def _detail(check: CheckResult, exercise: str) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for label, text in wording.facts(check):
        table.add_row(label, plain(text))
    table.add_row("alone", plain(f"grade {exercise} --only {check.id}"))
    return table


def _line(outcome: Outcome, title: str, points: str) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=1)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_row(Text(wording.MARKS[outcome][0], _COLOURS[outcome]), plain(title), Text(points, _COLOURS[outcome]))
    return table


def render(result: Result, console: Console, *, title: str, verbose: bool = False) -> None:
    """Print the feedback of one hand-in."""
    console.print()
    console.print(plain(f"{result.exercise}  {title}"), style="bold")
    ending = wording.ending(result.run)
    console.print(Text(ending.sentence, "red" if ending.advice else "dim"))
    for shown in ending.error:
        console.print(Padding(plain(shown), (0, 0, 0, 2)), style="dim")
    if ending.advice:
        console.print(Padding(Text(ending.advice), (0, 0, 0, 2)))
    for remark in ending.remarks:
        console.print(plain(remark))
    if ending.memory:
        console.print(Text(ending.memory, "dim"))
    console.print()
    read = reading(result)
    if read.next:
        console.print(Text.assemble(("To look at next: ", "bold"), plain(read.next.title)))
    if read.standing:
        console.print(plain(read.standing))
    console.print()
    for check in read.open:
        console.print(_line(check.outcome, check.title, wording.points(check)))
        if check.outcome is Outcome.FAILED and not check.expected and not verbose:
            # Nothing there that could be judged: the exercise's text says what belongs there
            console.print(Padding(plain(f"{check.found}\n{check.hint}"), (0, 0, 0, 2)))
        elif check.outcome is Outcome.FAILED or check.expected:
            console.print(Padding(_detail(check, result.exercise), (0, 0, 1, 2)))
        elif check.found:
            console.print(Padding(plain(check.found), (0, 0, 0, 2)), style="dim")
    for cause, checks in read.unchecked.items():
        for some in zip(checks) if verbose else (checks,):
            console.print(_line(Outcome.NOT_REACHED, named(some), together(some)))
        console.print(Padding(plain(cause), (0, 0, 0, 2)), style="dim")
    for check in read.holding:
        console.print(_line(check.outcome, check.title, wording.points(check)))
        if check.found and verbose:
            console.print(Padding(plain(check.found), (0, 0, 0, 2)), style="dim")
    console.print()
    colour = "green" if result.score == result.max_score and result.final else "yellow"
    console.print(Text(f"Score: {wording.score(result)}", f"bold {colour}"))
    if sentence := wording.undecided(result):
        console.print(Text(sentence, "magenta" if result.faulty else "cyan"))
    if any(check.written for check in result.checks):
        console.print(Text(wording.WRITTEN_ANSWERS, "dim"))
