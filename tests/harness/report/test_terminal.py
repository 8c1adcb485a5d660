"""Feedback in the terminal."""

import io

import pytest
from rich.console import Console

from graders.harness.report import terminal
from graders.harness.result import CheckResult, Outcome, Result

RUN = {"ended": "completed", "cell": None, "error": None, "seconds": 61.2, "peak_memory_bytes": 1, "device": "cpu"}
PASSED = CheckResult("a", "The first thing is right", Outcome.PASSED, 2, 2, found="all 28 of them")
FAILED = CheckResult(
    "b",
    "The second thing is right",
    Outcome.FAILED,
    1,
    3,
    found="It is \x1b[31mwrong\x1b[0m.\x07",
    expected="something else",
    why="It matters because " + "of the lesson " * 20,
    misconception="trained-on-noise",
    hint="Look there.",
)
EMPTY = CheckResult(
    "c",
    "The third thing is right",
    Outcome.FAILED,
    0,
    2,
    found="`loss` has no value.",
    why="It matters because of the lesson",
    hint="Begin under “The step”.",
)
PERSON = CheckResult("written_answers", "The written answers", Outcome.AWAITING_REVIEW, 0, 0, found="2 written answers")


def shown(*checks: CheckResult, verbose: bool = False, **run: object) -> str:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    terminal.render(Result("ex3", RUN | run, checks), console, title="Train a style LoRA", verbose=verbose)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_fits_80_columns() -> None:
    """No line is longer than 80 columns, however long the sentences are."""
    text = shown(PASSED, FAILED, PERSON)
    assert max(map(len, text.splitlines())) <= 80
    assert "Score: 3 of 5" in text


def test_failure_in_full_and_success_in_a_line() -> None:
    """A failed check says everything it knows; a passed one only its title, unless asked."""
    text = shown(PASSED, FAILED)
    for said in ("something else", "It matters because", "trained-on-noise", "Look there."):
        assert said in text
    assert "all 28 of them" not in text
    assert "all 28 of them" in shown(PASSED, FAILED, verbose=True)


def test_nothing_there_in_short() -> None:
    """Of what is not there yet a student reads that, and where to begin; what is wrong stands out beside it."""
    text = shown(FAILED, EMPTY)
    for said in ("`loss` has no value.", "Begin under “The step”."):
        assert said in text
    assert text.count("It matters because") == 1
    assert shown(FAILED, EMPTY, verbose=True).count("It matters because") == 2


def test_several_unets_in_memory() -> None:
    """Whoever holds several U-Nets at once, or more than a free GPU has, is told so; whoever does not, is not."""
    assert "2 U-Nets were in memory at once" in shown(PASSED, unets_at_once=2)
    assert "16.5 GB of GPU memory" in shown(PASSED, peak_gpu_memory_bytes=16_500_000_000)
    assert "memory" not in shown(PASSED, unets_at_once=1, peak_gpu_memory_bytes=14_000_000_000)


def test_control_sequences_are_shown_not_obeyed() -> None:
    """A hand-in cannot steer the terminal of whoever reads the feedback."""
    text = shown(FAILED)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\\x1b[31mwrong" in text


@pytest.mark.parametrize(
    ("ended", "said", "advice"),
    [
        ("cell_error", "stopped with an error in code cell 4", "Restart the kernel"),
        ("timeout", "ran out of time", "a loop that does not end"),
        ("out_of_memory", "ran out of memory", "smaller batches"),
        ("kernel_died", "its process died", "Take out quit()"),
    ],
)
def test_says_how_a_run_ended(ended: str, said: str, advice: str) -> None:
    """A run that did not complete is announced before the checks, with its cell, its error and what to do."""
    error = {"ename": "RuntimeError", "evalue": "no idea", "line": "raise RuntimeError('no idea')"}
    text = " ".join(shown(PASSED, ended=ended, cell=4, error=error).split())
    assert said in text
    assert "RuntimeError: no idea" in text
    assert advice in text
