"""Feedback below a cell of a notebook: HTML where it can be shown, and plain text everywhere else."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from graders.harness.errors import ExplainedError
from graders.harness.live.checker import Live
from graders.harness.report import pages, wording
from graders.harness.report.reading import reading
from graders.harness.result import CheckResult, Outcome

WIDTH = 80
"""Columns of the plain text."""
_OPEN = (Outcome.FAILED, Outcome.NOT_REACHED)


def page(graded: Live, hand_in: Mapping[str, str], unread: Mapping[str, str]) -> dict[str, str]:
    """The feedback as a MIME bundle.

    ``hand_in`` are the variables that the exercise asks for; ``unread`` says why some cannot be read, or "" where one was
    never assigned.
    """
    checks = [check for check in graded.result.checks if not check.written]
    facts = {
        "graded": graded,
        "variables": {name: unread.get(name) for name in hand_in},
        "open": [check for check in checks if check.outcome in _OPEN],
        "faults": [check for check in checks if check.outcome is Outcome.GRADER_FAULT],
        "left": [check for check in checks if check.outcome is Outcome.AWAITING_REVIEW],
        "passed": [check for check in checks if check.outcome is Outcome.PASSED],
        "reviewed": len(checks) < len(graded.result.checks),
    }
    return {"text/html": pages.render("live.html", **facts), "text/plain": "\n".join(_lines(graded, checks, unread))}


def waiting(text: str) -> dict[str, str]:
    """How far it has come."""
    shown = wording.for_student(text)
    return {"text/html": pages.render("waiting.html", text=shown), "text/plain": shown}


def complaint(error: ExplainedError) -> dict[str, str]:
    """Why nothing can be graded, and what to do."""
    problem, fix = wording.for_student(error.problem), wording.for_student(error.fix)
    html = pages.render("complaint.html", problem=problem, fix=fix)
    return {"text/html": html, "text/plain": f"Cannot go on: {problem}\nWhat to do:   {fix}"}


def _lines(graded: Live, checks: list[CheckResult], unread: Mapping[str, str]) -> Iterator[str]:
    result = graded.result
    yield f"{result.exercise}  {graded.title}: {wording.score(result)}{'' if result.undecided else ' points'} so far"
    missing = [name for name, reason in unread.items() if not reason]
    if missing:
        yield from _wrapped(f"Not there yet: {', '.join(missing)}")
    for name, reason in unread.items():
        if reason:
            yield from _wrapped(f"{name} cannot be read: {wording.for_student(reason)}")
    for check in checks:
        yield from _wrapped(f"{wording.mark(check)[0]} {wording.for_student(check.title)}")
        if check.outcome is Outcome.AWAITING_REVIEW:
            yield from _wrapped(f"  {wording.for_student(check.found)}")
    if following := reading(result).next:
        yield ""
        yield from _wrapped(f"To look at next: {wording.for_student(following.title)}")
        for label, text in wording.facts(following):
            yield from _wrapped(f"  {label}: {wording.for_student(text)}")
    yield ""
    yield from _wrapped(" ".join(_rest(graded)))


def _rest(graded: Live) -> Iterator[str]:
    yield f"This is your kernel as it stands; `grade {graded.result.exercise}` in a terminal runs the notebook afresh."
    if graded.later:
        yield f"It also checks: {'; '.join(graded.later)}."
    if said := wording.ending(graded.result.run).memory:
        yield said


def _wrapped(text: str) -> Iterator[str]:
    plain: dict[str, Any] = dict.fromkeys(("markup", "highlight", "emoji", "force_jupyter"), False)
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, **plain)
    with console.capture() as captured:
        console.print(text)
    yield from (line.rstrip() for line in captured.get().splitlines())
