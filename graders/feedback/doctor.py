"""What holds on this machine and what does not, a line each, as it is found out."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from graders.feedback.terminal import plain
from graders.running.promises import Finding


def render(title: str, findings: Iterable[Finding], console: Console) -> bool:
    """Print every finding; whether all that is essential holds."""
    console.print(Text(title, "bold"))
    sound = True
    for finding in findings:
        promise = finding.promise
        line = Table.grid(padding=(0, 1))
        if finding.broken is None:
            line.add_row(Text("✓", "green"), Text(promise.words))
        else:
            sound = sound and not promise.essential
            colour = "red" if promise.essential else "yellow"
            line.add_row(Text("✗", colour), plain(f"{promise.words}: {finding.broken}"))
        console.print(line)
        if finding.broken is not None:
            console.print(Padding(Text(promise.fix, "dim"), (0, 0, 0, 4)))
    return sound
