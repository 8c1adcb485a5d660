"""What "contained" means, as assertions: on what a case left, and on what the `grade` command said."""

from __future__ import annotations

import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from graders.harness.report import terminal
from graders.harness.result import Result, load
from tests.hostile.arena import Innocent
from tests.hostile.case import Aftermath, Case
from tests.hostile.hand_in import HandIn, Said

MAX_RESULT = 200_000
"""Bytes of a result."""
MAX_MEMORY = 1 << 30
"""Bytes that a grading process may hold; half of it are libraries and models."""
OVERHEAD = 120.0
"""Seconds, on a busy machine, for the start of two kernels and for the checks."""
SLACK = 5.0
"""Seconds after which a run that was given up has ended."""


def assert_contained(case: Case, aftermath: Aftermath, canary: str) -> None:
    """No harm was done, and the verdict is what the honest part deserves."""
    assert not aftermath.leftovers
    assert not aftermath.visitors
    assert not aftermath.planted
    assert aftermath.peak_memory < MAX_MEMORY
    within = case.within
    assert aftermath.ended - aftermath.started < within.time_limit + 2 * within.grace + OVERHEAD
    room = 2 * ((within.limits.memory or 0) + within.limits.disk)
    assert sum(size(path) for path in files_below(aftermath.folder)) < room
    assert not [path for path in files_below(aftermath.folder) if holds(path, canary.encode())]
    assert len(aftermath.runs) == (1 if case.once else 2)
    for evidence in aftermath.runs:
        report = evidence.run
        assert report.ended in ((case.ended,) if isinstance(case.ended, str) else case.ended), report
        if report.ended != "completed":
            assert report.cell == case.cell, report
            assert re.search(case.reason, report.reason), report
        assert report.seconds < within.time_limit + 2 * within.grace + SLACK
        if case.kept and case.honest.name:
            assert evidence.value(case.honest.name) == case.honest.value
    assert_result(case, aftermath)
    case.afterwards(aftermath)


def assert_result(case: Case, aftermath: Aftermath) -> None:
    """The result is small, harmless wherever it is shown, and says what it must."""
    path = aftermath.folder / "result.json"
    assert path.stat().st_size < MAX_RESULT
    assert not controls(path.read_text())
    result = load(path)
    assert result == aftermath.result
    for text in texts(json.loads(path.read_text())):
        assert not controls(text), repr(text)
    for verbose in (False, True):
        assert not controls(feedback(result, verbose))
    assert result.exit_status == 1, [check for check in result.checks if check.outcome == "grader_fault"]
    assert result.score == (case.honest.points if case.points is None else case.points)


def feedback(result: Result, verbose: bool) -> str:
    """What a student reads."""
    shown = io.StringIO()
    terminal.render(result, Console(file=shown, width=100), title=result.exercise, verbose=verbose)
    return shown.getvalue()


def assert_innocents(beside: list[Innocent]) -> None:
    """Somebody was being graded at the same time, and whoever was got full marks."""
    assert beside
    for innocent in beside:
        assert innocent.result.exit_status == 0, innocent.result
        assert innocent.result.run["ended"] == "completed"


def assert_said(hand_in: HandIn, said: Said, canary: str) -> None:
    """The file was graded right, or refused in a line that says why and one that says what to do."""
    assert said.spared, "the result of another hand-in is gone"
    assert said.peak_memory < MAX_MEMORY
    assert said.ended - said.started < OVERHEAD
    assert not (said.folder / "trap").exists()
    text = said.printed.decode()
    assert not controls(text), repr(text)
    assert "Traceback" not in text
    assert canary not in text
    if hand_in.points is None:
        assert said.status == 2, text
        problem, fix = text.splitlines()
        assert re.fullmatch(r"Cannot go on: .+", problem)
        assert re.search(hand_in.says, problem), problem
        assert re.fullmatch(r"What to do: +.+", fix)
        assert not (said.folder / "result.json").exists()
    else:
        assert said.status == 1, text
        assert load(said.folder / "result.json").score == hand_in.points
        assert f"Score: {hand_in.points:g} of" in text
        assert not [path for path in files_below(said.folder) if holds(path, canary.encode())]


def files_below(folder: Path) -> Iterator[Path]:
    """Every file, links not followed."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def size(path: Path) -> int:
    """Bytes that a file takes."""
    return path.lstat().st_blocks * 512


def holds(path: Path, needle: bytes) -> bool:
    """Whether a regular file holds the bytes."""
    return path.is_file() and not path.is_symlink() and needle in path.read_bytes()


def controls(text: str) -> list[str]:
    """Characters that steer, hide or break, but for the line feed."""
    return [c for c in text if c != "\n" and (unicodedata.category(c)[0] == "C" or c in "\u2028\u2029")]


def texts(document: Any) -> Iterator[str]:
    """Every text in a JSON document, keys as well."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for key, value in document.items():
            yield from (key, *texts(value))
    elif isinstance(document, list):
        for item in document:
            yield from texts(item)
