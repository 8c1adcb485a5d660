"""Feedback in which every text may be an attacker's."""

import io
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from graders.harness.report import terminal
from graders.harness.result import CheckResult, Outcome, Result, load
from graders.lora.misconceptions import MISCONCEPTIONS
from tests.fuzz.strategies import texts

COLOURS = re.compile(r"\x1b\[[0-9;]*m")

words = texts | st.text(st.characters(), max_size=300)
points = st.floats(0, 1e6)
names = st.from_regex(r"[a-z_][a-z0-9_]{0,30}", fullmatch=True)
checks = st.builds(
    lambda id, title, outcome, scores, *texts: CheckResult(id, title, outcome, *scores, *texts),
    names, words, st.sampled_from(Outcome), st.tuples(points, points).map(sorted), words, words, words,
    st.none() | st.sampled_from(sorted(MISCONCEPTIONS)) | words, words, points,
)  # fmt: skip
runs = st.fixed_dictionaries({
    "ended": st.sampled_from(["completed", "cell_error", "timeout", "out_of_memory", "kernel_died"]),
    "cell": st.none() | st.integers(1, 99_999),
    "error": st.none() | st.fixed_dictionaries({"ename": words, "evalue": words, "line": words}),
    "seconds": st.floats(0, 1e9, exclude_max=True),
    "peak_memory_bytes": st.integers(0, 2**63 - 1),
    "device": st.sampled_from(["cpu", "cuda"]),
})  # fmt: skip
results = st.builds(
    Result, words.filter(bool), runs, st.lists(checks, max_size=3, unique_by=lambda check: check.id).map(tuple)
)


@given(results, words, st.booleans(), st.booleans())
def test_terminal(result: Result, title: str, colour: bool, verbose: bool) -> None:
    """Nothing but what can be printed, line breaks and rich's own colours reaches the terminal, in 80 columns."""
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=colour, color_system="standard" if colour else None)
    terminal.render(result, console, title=title, verbose=verbose)
    shown = COLOURS.sub("", file.getvalue()) if colour else file.getvalue()
    odd = {c for c in shown if c != "\n" and unicodedata.category(c).startswith("C")}
    assert not odd
    assert max(map(cell_len, shown.split("\n"))) <= 80


@given(results)
def test_json(tmp_path_factory: pytest.TempPathFactory, result: Result) -> None:
    """A result of any texts can be saved, and is the same when it is loaded again."""
    path = tmp_path_factory.getbasetemp() / "result.json"
    result.save(path)
    assert load(path) == result
