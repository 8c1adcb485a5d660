"""A lesson in a package of its own works with every command, and nothing in the graders knows of it."""

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from graders.harness import PACKAGE, lessons
from graders.lora import catalog
from tests.patience import PATIENCE

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
SOLUTIONS = HERE / "solutions"
Grade = Callable[..., tuple[int, str]]


def digest() -> str:
    """Of all code of the graders."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(PACKAGE.rglob("*.py")))).hexdigest()


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder that the lesson's package was installed to."""
    place = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    source = shutil.copytree(HERE, tmp_path_factory.mktemp("source") / "lesson", ignore=shutil.ignore_patterns("*.pyc"))
    subprocess.run([*command, "--target", place, source], check=True, capture_output=True, timeout=PATIENCE)
    return place


@pytest.fixture(scope="module")
def grade(installed: Path, tmp_path_factory) -> Grade:
    """Runs `grade` where both lessons are installed; gives its exit status and all that it said."""
    folder = tmp_path_factory.mktemp("here")

    def run(*arguments: str | Path) -> tuple[int, str]:
        inside = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{PACKAGE.parent}", "COLUMNS": "200"}
        command = [sys.executable, "-m", "graders", *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=inside, capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout + done.stderr

    return run


def test_nothing_knows_of_it():
    """No line of the graders names it."""
    named = [path for path in PACKAGE.rglob("*") if path.is_file() and b"img2img" in path.read_bytes().lower()]
    assert [path for path in named if path.suffix not in (".pyc", ".safetensors", ".png")] == []


def test_harness_names_no_lesson():
    """The harness names no module of a lesson's, and the first lesson only as the name of the distribution."""
    for path in (PACKAGE / "harness").rglob("*.py"):
        assert not re.search(r"graders\.(lora|lesson\b|ex\d)", path.read_text()), path


def test_which_is_meant(grade: Grade):
    """Both are listed; an exercise's name alone is refused, and with the lesson's name it is right."""
    status, said = grade("lessons")
    assert status == 0
    assert "img2img" in said
    assert "lora" in said
    status, said = grade("ex1", SOLUTIONS / "ex1.ipynb")
    assert status == 2
    assert "Several lessons are installed: img2img, lora." in said
    before = digest()
    status, said = grade("img2img/ex1", SOLUTIONS / "ex1.ipynb")
    assert (status, "Score: 12 of 12" in said) == (0, True), said
    assert digest() == before


@pytest.fixture(scope="module")
def course(grade: Grade, tmp_path_factory) -> tuple[Path, tuple[int, str]]:
    """The results of a course in which one is right, one copied that, one turned the strength round, and one is missing."""
    folder = tmp_path_factory.mktemp("course")
    hand_ins = folder / "submitted"
    for student in ("ada", "bob", "eve"):
        for name in ("ex1", "ex2"):
            place = hand_ins / student / name
            place.mkdir(parents=True)
            (place / "timestamp.txt").write_text("2026-01-05 10:00:00 UTC")
            notebook = nbformat.read(SOLUTIONS / f"{name}.ipynb", as_version=4)
            if student == "eve" and name == "ex1":
                cell = next(cell for cell in notebook.cells if cell.id == "timesteps")
                cell.source = cell.source.replace("NUM_INFERENCE_STEPS - kept :", "kept:")
            nbformat.write(notebook, place / f"{name}.ipynb")
    (folder / "roster.csv").write_text("id,name\nada,Ada\nbob,Bob\neve,Eve\nzoe,Zoe\n")
    arguments = ("batch", hand_ins, "-o", folder / "results", "--roster", folder / "roster.csv", "--jobs", "2")
    return folder / "results", grade("--lesson", "img2img", *arguments)


def test_batch(course):
    """Everybody gets their points in the sandbox, who copied is listed, and the misconception is told in the lesson's words."""
    results, (status, said) = course
    assert status == 1, said  # for what is written waits for a person
    assert 'lesson = "img2img"' in (results / "course.toml").read_text()
    documents = {
        path.parent.name.partition("-")[0]: json.loads(path.read_text())
        for path in results.glob("feedback/*/feedback.json")
    }
    scores = {name: {e: g["score"] for e, g in one["exercises"].items()} for name, one in documents.items()}
    assert scores["ada"] == scores["bob"] == {"ex1": 12.0, "ex2": 8.0}
    assert scores["eve"] == {"ex1": 7.2, "ex2": 8.0}
    report = (results / "report.html").read_text()
    assert "Same code" in report
    assert "Zoe" in report
    page = next(results.glob("feedback/eve-*/feedback.html")).read_text()
    assert "the strength was taken for the part of the picture that stays" in page


def test_afterwards(course, grade: Grade):
    """Later commands know by course.toml which lesson it is: marking, checking again, and the gradebook."""
    results, _ = course
    status, said = grade(
        "mark", results, "eve", "ex1", "--check", "timesteps", "2", "--reason", "half right", "--by", "me"
    )
    assert (status, "7.2 → 9.2 of 12" in said) == (0, True), said
    status, said = grade("rescore", results)
    assert status == 1, said
    assert "Traceback" not in said
    with (results / "gradebooks" / "gradebook.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows["eve"]["ex1_score"] == "9.2"


def test_late(course, grade: Grade):
    """A penalty that is decided later is taken off the marks as they stand, and nobody's notebook runs again."""
    results, _ = course
    late = ("--due", "2026-01-04 20:00", "--late-penalty", "10", "--set", "--roster", results.parent / "roster.csv")
    status, said = grade("batch", results.parent / "submitted", "-o", results, *late)
    assert status == 1, said
    with (results / "gradebooks" / "gradebook.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows["bob"]["ex1_score"] == "10.8", rows
    assert "late" in (results / "report.html").read_text()


def test_live(installed: Path, monkeypatch: pytest.MonkeyPatch):
    """`%grade` asks the lesson that is meant, in the kernel of a notebook that is open."""
    monkeypatch.setenv("PYTHONPATH", f"{installed}{os.pathsep}{PACKAGE.parent}")
    monkeypatch.setenv(lessons.VARIABLE, "img2img")
    cells = [one.source for one in nbformat.read(SOLUTIONS / "ex1.ipynb", 4).cells if one.cell_type == "code"]
    cells = [one.replace("../fixtures", str(catalog.ROOT)) for one in cells]
    wrong = "timesteps = [int(t) for t in scheduler.timesteps[:kept]]"
    sources = ["%load_ext graders", *cells, "%grade ex1", wrong, "%grade ex1"]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    NotebookClient(notebook, timeout=PATIENCE).execute()
    right, first = (
        " ".join(cell.outputs[0].data["text/plain"].split()) for cell in notebook.cells if cell.source == "%grade ex1"
    )
    assert "10 of 10 points so far" in right
    assert "another picture and another strength" in right  # two more points, for a run that `grade` makes
    assert "the first timesteps were kept" in first


def test_autograder(installed: Path, grade: Grade, tmp_path: Path):
    """The archive for Gradescope has the lesson's package in it, and what runs there grades its exercise."""
    ours = tmp_path / "lora_graders-0.1.0-py3-none-any.whl"
    with ZipFile(ours, "w") as file:
        file.writestr("graders/__init__.py", "")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", tmp_path, HERE], check=True, capture_output=True, timeout=PATIENCE)
    pack = ("autograder", "img2img/ex1", tmp_path / "autograder.zip", "--constraints", CHECKOUT / "constraints.txt")
    status, said = grade(*pack, "--wheel", ours)
    assert (status, "The lesson img2img is in none of these wheels." in said) == (2, True), said
    (lesson,) = tmp_path.glob("img2img_lesson-*.whl")
    assert grade(*pack, "--wheel", ours, "--wheel", lesson, "--isolation", "none")[0] == 0
    source = tmp_path / "source"
    shutil.unpack_archive(tmp_path / "autograder.zip", source)
    setup = (source / "setup.sh").read_text()
    assert f'"$root/source/{ours.name}[notebooks]" "$root/source/{lesson.name}"' in setup
    (tmp_path / "submission").mkdir()
    shutil.copy(SOLUTIONS / "ex1.ipynb", tmp_path / "submission")
    (tmp_path / "venv").symlink_to(sys.prefix)
    inside = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{PACKAGE.parent}", "AUTOGRADER_ROOT": str(tmp_path)}
    subprocess.run(["bash", source / "run_autograder"], env=inside, check=True, timeout=PATIENCE)
    assert json.loads((tmp_path / "results" / "results.json").read_text())["score"] == 12


def test_zoo(grade: Grade):
    """The verdicts on its zoo are right."""
    status, said = grade("--lesson", HERE, "zoo")
    assert status == 0, said
    assert "0 false" in said
