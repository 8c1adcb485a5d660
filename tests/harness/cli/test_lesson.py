"""`grade lesson`: a lesson is written, found to be right, and installed; what is wrong with its notebooks is told."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from graders.harness import lessons, new_lesson, trial
from graders.harness.grade import Setting, Watcher
from tests import command

SOLUTION, RUBRIC, LESSON, ZOO = "solutions/ex1.ipynb", "NAME/ex1.py", "NAME/__init__.py", "zoo/ex1.py"


def grade(folder: Path, *arguments: object, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "graders", *map(str, arguments)],
        cwd=folder, env={**os.environ, "COLUMNS": "160", **environment}, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_new_one_is_right_at_once(tmp_path: Path) -> None:
    """What `grade lesson new` writes passes `grade lesson check`, which grades all that it has."""
    (tmp_path / "sums").mkdir()  # empty, and no reason to refuse
    assert grade(tmp_path, "lesson", "new", "sums")[0] == 0
    status, said = grade(tmp_path, "lesson", "check", "sums")
    assert status == 0, said
    for what in ("the reference solution, without a sandbox 2 of 2", "the square of the sum 0 of 2", "out 0 of 2"):
        assert what in said
    assert "nothing wrong" in said


def test_new_one_can_be_installed(tmp_path: Path) -> None:
    """Its package brings the lesson: `grade lessons` lists it, with its assignment and without its solution."""
    new_lesson.write("sums", tmp_path / "sums")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", tmp_path / "site", tmp_path / "sums"], check=True)
    status, said = grade(tmp_path, "lessons", PYTHONPATH=f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}")
    assert status == 0
    assert f"sums 0.1.0 sums ex1 {tmp_path / 'site' / 'sums'}" in said
    assert [path.name for path in tmp_path.glob("site/**/*.ipynb")] == ["ex1.ipynb"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("two words", "cannot be called"), ("class", "cannot be called"), ("json", "a Python module json")],
)
def test_names_that_cannot_be(tmp_path: Path, name: str, said: str) -> None:
    """A lesson is a Python package of its own."""
    done = command.grade("lesson", "new", name, tmp_path / "new", folder=tmp_path)
    assert done.status == 2
    assert said in done.said
    assert not [*tmp_path.iterdir()]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder with anything in it stays as it is."""
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums" / "mine").touch()
    done = command.grade("lesson", "new", "sums", folder=tmp_path)
    assert done.status == 2
    assert "is there already" in done.said
    assert [path.name for path in (tmp_path / "sums").iterdir()] == ["mine"]


FAULTS = {
    # what is wrong: in which file, what stands there, what stands there now, and what is said of it
    "a parameter that is not assigned": (
        RUBRIC, '"NUMBERS": [2.0, 3.0, 6.0]}', '"NUMBERS": [2.0, 3.0, 6.0], "SEED": 1}', "does not assign SEED",
    ),
    "a cell without its tag": (SOLUTION, '"tags": ["parameters"]', '"tags": []', "is tagged `parameters`"),
    "a variable that is not assigned": (SOLUTION, "sum_of_squares = sum", "total = sum", "does not assign sum_of_squares"),
    "a sentence without a hand-in": (
        LESSON, '{"sum-squared"', '{"too-small": "it is too small", "sum-squared"', "has the misconception too-small",
    ),
    "a hand-in without a sentence": (ZOO, '"sum-squared"', '"too-large"', "misconception too-large, and there is no sentence"),
    "a hand-in of another check": (ZOO, '{"sum_of_squares"', '{"sums"', "is to fail sums, which is no check"),
    "an old assignment": (SOLUTION, "## Compute it", "## Now compute it", "is not what its reference solution makes"),
    "a rubric that breaks": (RUBRIC, "import math\n", "import math\n1 / 0\n", "cannot be imported (ZeroDivisionError"),
    "other parameters, computed": (
        RUBRIC, 'name="ex1",', 'name="ex1", others=tuple({name: [1.0]} for name in ["NUMBER"]),', "has no parameter NUMBER",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_what_notebooks_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """What the package alone does not show is found before anything is graded."""
    name = f"shown{[*FAULTS].index(what)}"
    file, old, new, said = FAULTS[what]
    folder = tmp_path / name
    new_lesson.write(name, folder)
    place = folder / file.replace("NAME", name)
    text = place.read_text("utf-8")
    if place.suffix == ".ipynb":  # on one line, as the tags are not written
        text = json.dumps(json.loads(text))
    assert old in text
    place.write_text(text.replace(old, new), "utf-8")
    monkeypatch.setenv(lessons.VARIABLE, "")
    meant = lessons.mean(str(folder))
    if file == SOLUTION and what != "an old assignment":
        command.grade("release", folder, folder=tmp_path)
    assert said in " ".join(fault.problem for _, fault in trial.faults(meant, meant.names))


def test_watchers_that_fail_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a lesson's watchers raise costs no hand-in anything, and whoever writes them reads it."""
    folder = tmp_path / "watching"
    new_lesson.write("watching", folder)
    (folder / "watching" / "watchers.py").write_text("def after_cell():\n    1 / 0\n")
    code = folder / "watching" / "__init__.py"
    code.write_text(code.read_text().replace("    home=_HERE,", '    home=_HERE,\n    watchers=_HERE / "watchers.py",'))
    monkeypatch.setenv(lessons.VARIABLE, "")
    meant = lessons.mean(str(folder))
    graded = trial.references(meant, ["ex1"], tmp_path / "runs", {}, Setting(), lambda name: nullcontext(Watcher()))
    (row,) = trial.tried_references(sandboxed=False, graded=graded)
    assert (row.right, row.found) == (
        False,
        "2 of 2 points\nthe lesson's watchers, after_cell(): ZeroDivisionError: division by zero",
    )
