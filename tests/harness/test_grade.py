"""Stored runs are checked again without running a notebook."""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from graders.harness import grade as grade_module
from graders.harness.data import fixtures
from graders.harness.grade import GradingError, rescore
from graders.harness.result import load
from graders.harness.zoo import Keeper
from graders.harness.zoo import load as load_pen
from graders.lesson import LESSON
from graders.lora import catalog
from tests.command import grade

CHECKOUT = Path(__file__).parents[2]


RESCORE = """
import sys
from pathlib import Path
from graders.harness.grade import rescore
rescore("ex1", Path(sys.argv[1]))
"""


COMMAND = ("ex1", CHECKOUT / "reference_solutions" / "ex1.ipynb")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a graded notebook."""
    place = tmp_path_factory.mktemp("graded")
    assert grade(*COMMAND, folder=place).status == 0
    return place / ".grade" / "ex1" / "ex1"


def test_rescore(stored: Path) -> None:
    """Checking what a run left behind again gives the same result, from its folder alone, and says how long that took."""
    before = load(stored / "result.json")
    said = (stored / "result.json").read_text()
    assert str(CHECKOUT) not in said
    assert str(Path.home()) not in said
    (stored / "result.json").unlink()
    subprocess.run([sys.executable, "-c", RESCORE, str(stored)], check=True)
    after = load(stored / "result.json")
    assert (after, after.id, after.origin) == (before, before.id, before.origin)
    assert after.origin["parameters"].keys() == {"run", "again"}
    assert after.origin["environment"]["run"]["python"] == platform.python_version()
    assert after.score == 20
    assert {*before.timings} - {*after.timings} == {"run", "again"}


def test_earlier_results(stored: Path, tmp_path: Path) -> None:
    """Of results that are others than before the last ten are kept; one that says the same is not kept twice, and none if dry."""
    graded = shutil.copytree(stored, tmp_path / "graded")
    right = load(graded / "result.json")
    first, *others = right.checks
    ids = []
    for number in range(grade_module.EARLIER_KEPT + 2):
        other = replace(right, checks=(replace(first, found=f"{number}"), *others))
        other.save(graded / "result.json")
        ids.append(other.id)
        if not number:
            assert rescore("ex1", graded, dry=True).id == right.id
            assert load(graded / "result.json").id == other.id
            assert not (graded / grade_module.EARLIER).exists()
        rescore("ex1", graded, only=[first.id]) if number else rescore("ex1", graded)
    kept = [*(graded / grade_module.EARLIER).iterdir()]
    assert {path.stem for path in kept} == {*ids[2:]}
    assert {load(path).id for path in kept} == {*ids[2:]}


def test_a_failure_to_grade_costs_nothing(stored: Path, tmp_path: Path) -> None:
    """A result that is there stays until there is another."""
    before = (stored / "result.json").read_text()
    (tmp_path / "bwrap").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    ran = grade(*COMMAND, "--isolation", "bubblewrap", folder=stored.parents[2], PATH=path)
    assert ran.status == 2
    assert "cannot make a sandbox" in ran.stderr
    assert (stored / "result.json").read_text() == before


def test_other_fixtures(stored: Path, tmp_path: Path) -> None:
    """A run that was given other fixtures than there are now is not judged with these, and its result stays."""
    graded = shutil.copytree(stored, tmp_path / "graded")
    record, before = graded / "again" / fixtures.USED, (graded / "result.json").read_bytes()
    given = json.loads(record.read_text())
    assert list(given) == [next(iter(given))]  # exercise 1 is given a configuration, and nothing else
    record.write_text(json.dumps(dict.fromkeys(given, "of another version")))
    with pytest.raises(fixtures.OtherFixtures, match=f"run with another {next(iter(given))}"):
        rescore("ex1", graded)
    assert (graded / "result.json").read_bytes() == before


def test_runs_of_before_fixtures_were_recorded(tmp_path: Path) -> None:
    """Of runs without a record those are refused that composed the style adapter of then, and no others."""
    LESSON.fixtures.ensure_same({"MODEL": str(catalog.TINY_SD), "SEED": 3}, tmp_path)
    with pytest.raises(fixtures.OtherFixtures, match="another adapters/style"):
        LESSON.fixtures.ensure_same({"ADAPTERS": {"style": str(catalog.adapter("style"))}}, tmp_path)


def test_nothing_to_rescore(tmp_path: Path) -> None:
    """A folder without runs is told apart from one with bad runs."""
    with pytest.raises(GradingError, match="There is no run"):
        rescore("ex1", tmp_path)


@pytest.mark.parametrize("lost", ["run", "again"])
def test_one_run_is_not_taken_for_another(stored: Path, tmp_path: Path, lost: str) -> None:
    """Where one of both runs is missing nothing is scored anew: what is left would answer another question."""
    graded = shutil.copytree(stored, tmp_path / "graded")
    shutil.rmtree(graded / lost)
    with pytest.raises(GradingError, match=f"The folder {lost} is missing"):
        rescore("ex1", graded)
    assert load(graded / "result.json") == load(stored / "result.json")


def test_zoo_goes_on(tmp_path: Path) -> None:
    """A hand-in of the zoo that was run before is not run again, and one that changed is, by whichever process."""
    pen = load_pen("ex1")
    [submission] = [s for s in pen.submissions if s.title == "everything typed in"]
    executed = tmp_path / "ex1" / "everything-typed-in" / "graded" / "run" / "evidence" / "executed.ipynb"
    times = []
    for process in ([{"DEVICE": "cpu", "SEED": 7}, {"DEVICE": "cpu"}], [{"DEVICE": "cpu"}]):
        keeper = Keeper(tmp_path, workers=1)
        for parameters in process:
            changed = type(pen)(pen.exercise, pen.reference, pen.submissions, parameters, pen.trained_in)
            result = keeper.grade(changed, [submission])[submission.title].result()
            times.append(executed.stat().st_mtime_ns)
            assert not result.false_verdicts
        keeper.close()
    assert times[0] < times[1] == times[2]
