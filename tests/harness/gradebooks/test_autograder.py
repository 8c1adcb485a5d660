"""The autograder for Gradescope, unpacked and run as Gradescope does it."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from graders.harness.gradebooks.autograder import ROOT, AutograderError, grade, pack
from tests.patience import PATIENCE

HERE = Path(__file__).parents[3]
SOLUTION = HERE / "reference_solutions" / "ex1.ipynb"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "lora_graders-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("graders/__init__.py", "")
    return path


@pytest.fixture
def root(tmp_path: Path, wheel: Path) -> Path:
    """What Gradescope makes of the archive, before anything is installed."""
    root = tmp_path / "autograder"
    for folder in ("source", "submission", "results"):
        (root / folder).mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(pack("ex1", [wheel], HERE / "constraints.txt", "none"))) as archive:
        for entry in archive.infolist():
            archive.extract(entry, root / "source")
            (root / "source" / entry.filename).chmod(entry.external_attr >> 16 & 0o777)
    shutil.copy(root / "source" / "run_autograder", root)
    return root


def run(root: Path, program: str = "run_autograder", **environment: str) -> subprocess.CompletedProcess[str]:
    known = os.environ | {ROOT: str(root)} | environment
    return subprocess.run([root / program], cwd=root, env=known, capture_output=True, text=True, timeout=PATIENCE)


def read(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "results" / "results.json").read_bytes())
    return found


def test_what_gradescope_looks_for_is_at_the_top(wheel: Path) -> None:
    """The two programs are at the root of the archive and may be run; the graders, what decides exercise 3, and their
    versions are beside them."""
    with pytest.raises(AutograderError, match="instructors' package"):
        pack("ex3", [wheel], HERE / "constraints.txt")
    deciding = Path(shutil.copy(wheel, wheel.with_name("lora_graders_instructors-0.1.0-py3-none-any.whl")))
    packed = pack("ex3", [wheel], HERE / "constraints.txt")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.testzip() is None
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
        scripts = {name: archive.read(name) for name in ("setup.sh", "run_autograder")}
        assert archive.read(wheel.name) == wheel.read_bytes()
        assert b"torch==" in archive.read("constraints.txt")
    scripts_may_run = {"setup.sh": 0o755, "run_autograder": 0o755}
    assert modes == scripts_may_run | dict.fromkeys(("constraints.txt", wheel.name, deciding.name), 0o644)
    for script in scripts.values():
        assert script.startswith(b"#!/usr/bin/env bash\n")
        assert b"\r" not in script
        subprocess.run(["bash", "-n"], input=script, check=True)
    assert b"ex3 --isolation bubblewrap" in scripts["run_autograder"]
    assert packed == pack("ex3", [wheel], HERE / "constraints.txt")


def test_setup_installs_the_graders_with_what_python_there_is(root: Path, tmp_path: Path) -> None:
    """Setup takes a Python that the image has, and installs the wheel with the versions and a CPU build of torch."""
    stubs = tmp_path / "bin"  # there is no network to install from
    stubs.mkdir()
    for name, script in (
        ("apt-get", 'case "$*" in *python3.1[23]*) exit 100;; esac'),
        ("python3.11", f'mkdir -p "$3/bin"; ln -s {stubs}/pip "$3/bin/python"'),
        ("pip", f'echo "$@" > {tmp_path}/installed'),
    ):
        (stubs / name).write_text(f"#!/bin/sh\n{script}\n")
        (stubs / name).chmod(0o755)
    path = {"PATH": f"{stubs}:{os.environ['PATH']}"}
    assert run(root, "source/setup.sh", **path).returncode == 0
    installed = (tmp_path / "installed").read_text()
    assert (
        f"--constraint {root}/source/constraints.txt {root}/source/lora_graders-0.1.0-py3-none-any.whl[notebooks]"
        in installed
    )
    assert len(installed.split(".whl")) == 2
    assert "download.pytorch.org/whl/cpu" in installed
    shutil.rmtree(root / "venv")
    (stubs / "apt-get").write_text('#!/bin/sh\ncase "$*" in *python3*) exit 100;; esac\n')
    failed = run(root, "source/setup.sh", **path)
    assert failed.returncode == 1
    assert "choose Ubuntu 22.04 or later" in failed.stderr


def test_a_submission_is_graded(root: Path) -> None:
    """The reference solution, handed in beside Jupyter's own copies, is run and gets full marks."""
    (root / "venv").symlink_to(sys.prefix)
    (root / "submission" / ".ipynb_checkpoints").mkdir()
    (root / "submission" / ".ipynb_checkpoints" / "ex1-checkpoint.ipynb").write_text("{}")
    shutil.copy(SOLUTION, root / "submission" / "--my solution ü.ipynb")
    assert run(root).returncode == 0
    said = read(root)
    assert said["score"] == sum(test.get("max_score", 0) for test in said["tests"]) > 0
    assert {test["status"] for test in said["tests"] if "status" in test} == {"passed"}
    assert "read by a person" in said["output"]


def test_there_is_always_a_result(root: Path) -> None:
    """Even where the graders cannot be started, there is a sentence for the student, and no score."""
    shutil.copy(SOLUTION, root / "submission")
    assert run(root).returncode == 0
    assert "Your instructor will look at it" in read(root)["output"]
    assert "score" not in read(root)


def test_what_goes_wrong_in_grading_is_not_the_students_fault(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where grading itself fails there is no score, and the reason is in the output for the instructor alone."""
    shutil.copy(SOLUTION, root / "submission")
    said = grade("ex1", root, "no-such-sandbox")
    assert "score" not in said
    assert "no-such-sandbox" not in json.dumps(said)
    assert "no-such-sandbox" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "There is no notebook."),
        ({"report.pdf": "%PDF"}, "There is no notebook."),
        ({"ex1.ipynb": "print('hello')"}, "not valid JSON"),
        ({"ex1.ipynb/inner.txt": ""}, "There is no notebook."),
        (
            {"a/ex1.ipynb": "{}", "b/ex1-final.ipynb": "{}"},
            "There are several notebooks: a/ex1.ipynb, b/ex1-final.ipynb.",
        ),
        ({"draft.ipynb": "{}", "final.ipynb": "{}"}, "There are several notebooks: draft.ipynb, final.ipynb."),
        ({"ex2.ipynb": "{}", "sub/Exercise 1.ipynb": "[1]"}, "holds JSON, but no notebook"),
        ({"my notebook.ipynb": "[1]"}, "holds JSON, but no notebook"),
        ({"__MACOSX/._ex1.ipynb": "\x00"}, "There is no notebook."),
    ],
)
def test_a_hand_in_without_a_notebook_is_told_so(root: Path, files: dict[str, str], reason: str) -> None:
    """What cannot be graded has no points, and the student is told why and what to do."""
    for name, text in files.items():
        path = root / "submission" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    said = grade("ex1", root, "none")
    assert said["score"] == 0
    assert reason in said["output"]


@pytest.mark.parametrize("linked", ["a file", "a folder"])
def test_links_lead_nowhere(root: Path, tmp_path: Path, linked: str) -> None:
    """A link out of the submission is no notebook, whatever it leads to: here somebody else's, with full marks."""
    somebody = tmp_path / "somebody"
    somebody.mkdir()
    shutil.copy(SOLUTION, somebody)
    link = root / "submission" / ("ex1.ipynb" if linked == "a file" else "mine")
    link.symlink_to(somebody / "ex1.ipynb" if linked == "a file" else somebody)
    said = grade("ex1", root, "none")
    assert said["score"] == 0
    assert "There is no notebook." in said["output"]


def test_what_it_is_made_of_has_to_be_there(tmp_path: Path, wheel: Path) -> None:
    """Another exercise, another file than a wheel of the graders, or no list of versions is refused with what to do."""
    other = shutil.copy(wheel, tmp_path / "torch-2.13.0-py3-none-any.whl")
    for exercise, built, versions in (
        ("ex9", wheel, "constraints.txt"),
        ("ex1", other, "constraints.txt"),
        ("ex1", tmp_path / "lora_graders-9.whl", "constraints.txt"),
        ("ex1", wheel, "none.txt"),
    ):
        with pytest.raises(AutograderError) as error:
            pack(exercise, [built], HERE / versions)
        assert error.value.fix
