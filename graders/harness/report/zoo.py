"""The table of the zoo: what was expected of each hand-in, what was given, and what of it is false."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, as_completed

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from graders.harness.report import terminal, wording
from graders.harness.result import Outcome
from graders.harness.zoo import Graded


def _keep_feedback(graded: Graded) -> None:
    """What a student would be told, in a text file beside the notebook."""
    with (graded.folder / "feedback.txt").open("w", encoding="utf-8") as file:
        terminal.render(graded.result, Console(file=file, width=80), title=graded.submission.title)


def render(futures: Sequence[Future[Graded]], console: Console) -> int:
    """Print what is false as soon as it is known, then the table of all hand-ins; 1 if any verdict is false."""
    all_graded = []
    with console.status("") as status:
        for future in as_completed(futures):
            graded = future.result()
            all_graded.append(graded)
            status.update(f"{len(all_graded)} of {len(futures)} hand-ins graded")
            _keep_feedback(graded)
            for line in graded.false_verdicts:
                console.print(Text(f"false: {graded.exercise}, {graded.submission.title}: {line}", "red"))
    table = Table(
        Column("exercise"), Column("hand-in", ratio=1), Column("must fail", ratio=1), Column("points", justify="right"),
        Column("verdicts", justify="right"), Column("false", justify="right"), box=None,
    )  # fmt: skip
    verdicts = wrong = 0
    for graded in sorted(all_graded, key=lambda g: (g.exercise, not g.submission.right)):
        judged = [check for check in graded.result.checks if check.outcome is not Outcome.AWAITING_REVIEW]
        verdicts, wrong = verdicts + len(judged), wrong + len(graded.false_verdicts)
        said = [f"{check} ({slug})" if slug else check for check, slug in graded.submission.fails.items()]
        points = wording.score(graded.result)
        false = Text(str(len(graded.false_verdicts)), "red" if graded.false_verdicts else "green")
        table.add_row(graded.exercise, graded.submission.title, ", ".join(said), points, str(len(judged)), false)
    console.print(table)
    right = sum(g.submission.right for g in all_graded)
    console.print(
        f"{len(all_graded)} hand-ins, {right} right and {len(all_graded) - right} wrong: {verdicts} verdicts, {wrong} false"
    )
    return 1 if wrong else 0
