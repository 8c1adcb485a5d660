"""Where the time of grading a notebook went, for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from graders.harness.report.terminal import plain
from graders.harness.result import Result

SHOWN = 8
"""Checks that are listed by themselves, those that take longest."""


def render(result: Result, console: Console, before: float, after: float) -> None:
    """Print it; ``before`` are the seconds until the notebook was started, ``after`` those for what came after the checks."""
    titles = {check.id: check.title for check in result.checks}
    checks = {name: seconds for name, seconds in result.timings.items() if name.startswith("check ")}
    table = Table(
        Column("seconds", justify="right", no_wrap=True),
        Column("spent on", no_wrap=True, ratio=1),
        expand=True,
        box=None,
        title="Where the time went",
        title_justify="left",
    )
    _row(table, before, "start: Python, and what it imports")
    for place, words in {"run": "the notebook", "again": "the notebook again, with other parameters"}.items():
        if place in result.timings:
            _row(table, result.timings[place], words)
    longest = sorted(checks, key=lambda name: -checks[name])[:SHOWN]
    for name in longest:
        check = name.removeprefix("check ").removeprefix("again ")
        which = " of the second run" if name != f"check {check}" else ""
        _row(table, checks[name], f"the check{which} “{titles.get(check, check)}”")
    rest = [seconds for name, seconds in checks.items() if name not in longest]
    if rest:
        _row(table, sum(rest), f"{len(rest)} other checks")
    _row(table, after, "showing it")
    console.print()
    console.print(table)
    if {"run", "again"} <= {*result.timings}:
        console.print(Text("The two runs may go on side by side.", style="dim"))


def _row(table: Table, seconds: float, words: str) -> None:
    table.add_row(f"{seconds:.1f}", plain(words))
