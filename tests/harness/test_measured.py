"""Numbers for figures, on their way through a result."""

import json
import math
from pathlib import Path

import pytest

from graders.harness import measured
from graders.harness.checking import run_checks
from graders.harness.result import Outcome, Result, load
from tests.harness.report.records import RUN

RUBRIC = '''
import pytest
from graders.harness.rubric import fail

@pytest.mark.points(2)
def test_height(hand_in, verdict):
    """The heights"""
    for name, part in verdict.each("part", hand_in):
        with part:
            verdict.measure({"height": hand_in[name], "count": [len(hand_in[name])]}, f"part {name}")
            if len(hand_in[name]) > 1:
                fail("too many", expected="one", hint="count")

@pytest.mark.points(1)
def test_nothing(verdict):
    """Nothing to measure"""
'''
OF_2025 = """{"schema_version": 1, "exercise": "ex1", "score": 1.0, "max_score": 1.0,
"run": {"ended": "completed", "cell": null, "error": null, "seconds": 3.0, "peak_memory_bytes": 1, "device": "cpu"},
"checks": [{"id": "a", "title": "t", "outcome": "passed", "score": 1.0, "max_score": 1.0, "found": "", "expected": "",
"why": "", "misconception": null, "hint": ""}]}"""


def test_travels_in_the_result(tmp_path: Path) -> None:
    """What a check measured is in the JSON and comes back, of parts that pass and that fail, and decides nothing."""
    (tmp_path / "heights.py").write_text(RUBRIC)
    checked = run_checks(tmp_path / "heights.py", {"a": [1.23456789], "b": [math.nan, -math.inf, 1e300, 3]})
    height, nothing = checked.checks
    assert (height.outcome, height.score) == (Outcome.FAILED, 1)
    result = Result("ex1", RUN, checked.checks)
    result.save(tmp_path / "result.json")
    assert load(tmp_path / "result.json") == result
    stored = json.loads((tmp_path / "result.json").read_text())["checks"]
    b = {"height": [None, None, 1e300, 3], "count": [4]}
    assert stored[0]["measured"] == {"part a": {"height": [1.235], "count": [1]}, "part b": b}
    assert "measured" not in stored[1]
    assert nothing.measured == {}


def test_results_from_before(tmp_path: Path) -> None:
    """A result that was stored before anything was measured is read, and written with all that it said."""
    (tmp_path / "result.json").write_text(OF_2025)
    result = load(tmp_path / "result.json")
    assert result.checks[0].measured == {}
    written, before = json.loads(result.to_json()), json.loads(OF_2025)
    checks = [{**check, "undecided": 0.0} for check in before.pop("checks")]
    assert written["checks"] == checks
    assert written.items() >= (before | {"schema_version": 2}).items()


def test_is_never_too_much() -> None:
    """However much is measured, a table has so many columns of so many numbers, and numbers of so many digits."""
    columns = {f"{i:02}" * 200: (j / 3 for j in range(100_000)) for i in range(50)}
    table = measured.table(columns)
    assert len(table) == measured.MAX_COLUMNS
    assert {len(column) for column in table.values()} == {measured.MAX_ROWS}
    assert len(json.dumps(table)) < 100_000
    assert table["00" * (measured.MAX_NAME // 2)][1] == 0.3333


@pytest.mark.parametrize(
    "odd", [None, 7, [1], {"a": 7}, {"a": {"b": 7}}, {"a": {"b": [{}, "x", None, 10**400, True, float("nan")]}}]
)
def test_stored_tables_that_are_none(odd: object) -> None:
    """Whatever stands in a stored result in the place of tables, numbers or None come out of it."""
    for table in measured.tables(odd).values():
        for column in table.values():
            assert all(value is None or math.isfinite(value) for value in column)
