"""Feedback for a terminal: what passed in a line each, what did not in full."""

from __future__ import annotations

import unicodedata

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from graders.misconceptions import MISCONCEPTIONS
from graders.result import CheckResult, Outcome, Result

_MARKS = {
    Outcome.PASSED: ("✓", "green"),
    Outcome.FAILED: ("✗", "red"),
    Outcome.NOT_REACHED: ("–", "yellow"),
    Outcome.AWAITING_REVIEW: ("…", "cyan"),
    Outcome.GRADER_FAULT: ("!", "magenta"),
}

_ENDINGS = {
    "cell_error": (
        "stopped with an error",
        "Restart the kernel and run all cells: what stops there stopped here, too.",
    ),
    "timeout": (
        "ran out of time",
        "Look for a loop that does not end, and for more steps or pictures than the exercise asks for.",
    ),
    "out_of_memory": (
        "ran out of memory",
        "Keep one model at a time, delete what you are done with, and paint or train in smaller batches.",
    ),
    "kernel_died": (
        "ended because its process died",
        "Take out quit(), exit() and whatever else ends Python. If there is nothing of the kind, a library crashed: "
        "see which call of the cell it was.",
    ),
}
"""How a run that did not complete ended, and what to do about it."""


def plain(text: str) -> Text:
    """Text from a hand-in, with control characters, which could steer the terminal, made visible."""
    shown = "".join(c if c == "\n" or not unicodedata.category(c).startswith("C") else f"\\x{ord(c):02x}" for c in text)
    return Text(shown)


def _points(score: float, of: float) -> str:
    return f"{score:g}/{of:g}" if of else ""


def _detail(check: CheckResult) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    rows = [("found", check.found), ("expected", check.expected), ("why", check.why), ("next", check.hint)]
    if check.misconception:
        meaning = MISCONCEPTIONS.get(check.misconception, "")
        rows.insert(2, ("known as", f"{check.misconception}: {meaning}" if meaning else check.misconception))
    for label, text in rows:
        if text:
            table.add_row(label, plain(text))
    return table


def render(result: Result, console: Console, *, title: str, verbose: bool = False) -> None:
    """Print the feedback of one hand-in."""
    console.print()
    console.print(plain(f"{result.exercise}  {title}"), style="bold")
    run = result.run
    took = f"The notebook ran {run['seconds']:.0f} s on {run['device']}"
    if run["ended"] != "completed":
        how, advice = _ENDINGS[run["ended"]]
        where = f" in code cell {run['cell']}" if run["cell"] else ""
        used = f"{run['seconds']:.0f} s, {run['peak_memory_bytes'] / (1 << 30):.1f} GiB"
        console.print(Text(f"The notebook {how}{where} ({used}); what it had reached is graded.", "red"))
        if run["error"]:
            for shown in (run["error"]["line"], f"{run['error']['ename']}: {run['error']['evalue']}"):
                console.print(Padding(plain(shown), (0, 0, 0, 2)), style="dim")
        console.print(Padding(Text(advice), (0, 0, 0, 2)))
    else:
        console.print(Text(f"{took}.", "dim"))
    console.print()
    for check in result.checks:
        mark, colour = _MARKS[check.outcome]
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(width=1)
        line.add_column(ratio=1)
        line.add_column(justify="right", no_wrap=True)
        line.add_row(Text(mark, colour), plain(check.title), Text(_points(check.score, check.max_score), colour))
        console.print(line)
        if check.outcome in (Outcome.FAILED, Outcome.GRADER_FAULT):
            console.print(Padding(_detail(check), (0, 0, 1, 2)))
        elif check.found and (verbose or check.outcome is not Outcome.PASSED):
            console.print(Padding(plain(check.found), (0, 0, 0, 2)), style="dim")
    console.print()
    colour = "green" if result.score == result.max_score else "yellow"
    console.print(Text(f"Score: {result.score:g} of {result.max_score:g}", f"bold {colour}"))
    if any(check.outcome is Outcome.AWAITING_REVIEW for check in result.checks):
        console.print(Text("The written answers are read by a person and are not part of this score.", "dim"))
