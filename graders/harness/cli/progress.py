"""How far the grading of a notebook has come, on the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from graders.harness.report import terminal

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
