"""Folders of results that earlier versions made are opened by this one."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from graders.harness.course.takeover import COPY
from tests.command import grade
from tests.harness.course import kept

ODD = "Zoë Ångström 名前 İ"
V1 = {
    "ada": "22",  # full marks, and 2 points for the written answer
    "bob": "15",  # the second attempt
    "carl": "10",  # an error in a cell
    "dora": "21.5",  # a kernel that died
    "eve": "16.1",  # two days late, at 10 % a day
    "fred": "0",  # no notebook
    "gus": "",  # exempt
    "hal": "0",  # nothing handed in
    ODD: "5.25",
}
"""What everybody has for exercise 1."""
NOW = V1 | {"bob": "14.12", "carl": "8.24"}
"""The same by the graders of now, for whom a second run earns in proportion to what is right in both."""


def typed(results: Path) -> list[dict[str, str]]:
    """The file of points, without the column that later versions have in it."""
    rows = csv.DictReader((results / "written-answers.csv").read_text(encoding="utf-8-sig").splitlines(keepends=True))
    return [{name: cell for name, cell in row.items() if name != "entry"} for row in rows]


@pytest.mark.parametrize("command", ["report", "rescore"])
def test_version_1(command: str, tmp_path: Path) -> None:
    """Nine hand-ins of eight students keep their points, those that a person gave among them, whatever is done again."""
    results = kept.unpacked("results-v1", tmp_path)
    before = typed(results)
    ran = grade(command, results, folder=tmp_path, COLUMNS="400")
    assert ran.status == 1, ran.printed
    given = kept.scores(results)
    assert {student: given[student, "ex1"] for student in V1} == (V1 if command == "report" else NOW)
    assert (given["gus", "ex2"], given["ada", "ex2"]) == ("0", "0")
    assert typed(results) == before
    assert (results / COPY).is_file()
    if command == "rescore":
        assert "8 runs checked again" in ran.printed
        assert "ex1 bob: 15 of 20 to 14.12 of 20: other_input 3/3 to 2.12/3" in ran.printed
