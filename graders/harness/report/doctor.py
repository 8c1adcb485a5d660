"""What holds on this machine and what does not, a line each, as it is found out."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from graders.harness.finding import Finding
from graders.harness.machine.examination import Part
from graders.harness.report.terminal import plain


def render(parts: Iterable[Part], console: Console) -> tuple[bool, bool]:
    """Print every finding, and what follows: can one's own notebooks be graded here, and can other people's?"""
    own = others = True
    for part in parts:
        console.print(Text(part.title, "bold"))
        sound = True
        with console.status("Looking…"):
            for finding in part.findings:
                show(finding, console)
                sound = sound and not finding.fatal
        own, others = own and (sound or part.sandbox), others and sound
        console.print()
    _conclude(own, others, console)
    return own, others


def show(finding: Finding, console: Console) -> None:
    """Print what was found out, and what helps where something is wrong."""
    line = Table.grid(padding=(0, 1))
    if finding.broken is None:
        line.add_row(Text("✓", "green"), plain(finding.words))
    else:
        mark = Text("✗", "red") if finding.essential else Text("!", "yellow")
        line.add_row(mark, plain(f"{finding.words}: {finding.broken}"))
    console.print(line)
    if finding.broken is not None:
        console.print(Padding(plain(finding.fix), (0, 0, 0, 4)), style="dim")


def _conclude(own: bool, others: bool, console: Console) -> None:
    if own:
        console.print(Text("You can grade your own notebooks here.", "bold green"))
    else:
        console.print(Text("You cannot grade notebooks here until what has a ✗ is mended.", "bold red"))
    if own and others:
        console.print("Other people's notebooks, too: the sandbox holds what it promises.")
    elif own:
        console.print("Other people's notebooks cannot be run safely here, for which there is the sandbox.")
        console.print("Students need none. grade batch and --isolation bubblewrap refuse to run without.", style="dim")
