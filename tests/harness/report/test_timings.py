"""Where the time went, on one screen, and in the result."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from graders.harness.report import timings
from graders.harness.result import CheckResult, Outcome, Result, load

CHECKS = tuple(
    CheckResult(f"check{number}", f"`variable{number}` is what it should be, whatever that is for this exercise",
                Outcome.PASSED, 1, 1)
    for number in range(20)
)  # fmt: skip
TIMINGS = {"run": 10.26, "again": 3.0} | {f"check check{number}": 0.1 * number for number in range(20)}
RESULT = Result("ex1", {"ended": "completed"}, CHECKS, timings={**TIMINGS, "check again check3": 7.5})


def said(result: Result) -> str:
    """What is printed on a terminal of 80 columns."""
    console = Console(width=80, record=True, force_terminal=False)
    timings.render(result, console, before=1.5, after=0.25)
    return console.export_text()


def test_one_screen() -> None:
    """Runs, the checks that took longest, and the rest in one line: what is listed adds up to what was spent."""
    text = said(RESULT)
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    assert "10.3 the notebook" in words
    assert "3.0 the notebook again, with other parameters" in words
    assert "7.5 the check of the second run “`variable3` is" in words
    assert "1.9 the check “`variable19` is" in words
    assert "variable2`" not in words
    assert f"{sum(0.1 * number for number in range(13)):.1f} 13 other checks" in words


def test_no_second_run() -> None:
    """Nothing is said of a run that there was none of."""
    assert "again" not in said(replace(RESULT, timings={"run": 1.0, "check check1": 0.1}))


def test_kept(tmp_path: Path) -> None:
    """They are in the result's file; but how long it took is no part of what makes one result another."""
    later = replace(RESULT, timings={"check check1": 5.0})
    for result in (RESULT, later):
        filled = replace(
            result,
            run={
                "ended": "completed", "cell": None, "error": None, "seconds": 1.0, "peak_memory_bytes": 1, "device": "cpu",
                "unets_at_once": 0, "peak_gpu_memory_bytes": 0,
            },
        )  # fmt: skip
        filled.save(tmp_path / "result.json")
        assert load(tmp_path / "result.json").timings == pytest.approx(result.timings)
    assert RESULT.id == later.id
    assert RESULT.id != replace(RESULT, exercise="ex2").id
