"""What is wrong with the packages is said in words, whichever of them it is."""

import subprocess
import sys
import time
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from graders.harness.errors import MachineError
from graders.harness.machine import packages
from graders.harness.run.interpreter import Interpreter


def pretend(folder: Path, name: str, version: str, module: str | None = None, needs: str = "") -> str:
    """Have a folder look as if the distribution were installed in it; its path."""
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir(parents=True)
    required = f"Requires-Dist: {needs}\n" if needs else ""
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}")
    if module is not None:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(module)
    return str(folder)


@pytest.fixture
def without(tmp_path):
    """Makes a virtual environment in which everything is installed but what belongs to some distributions."""

    def make(*missing: str) -> str:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
        (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
        gone = {Path(str(file)).parts[0] for name in missing for file in distribution(name).files or ()}
        for entry in Path(str(distribution("click").locate_file(""))).iterdir():
            if entry.name not in gone:
                (site / entry.name).symlink_to(entry)
        return str(tmp_path / "venv" / "bin" / "python")

    return make


def test_this_machine():
    """Where the tests run, nothing is missing and everything can be imported."""
    found = [packages.python(), *packages.versions(), *packages.imports(), *packages.torch()]
    assert [finding for finding in found if finding.broken] == []
    assert "torch 2" in next(finding for finding in found if finding.name == "versions").words


@pytest.mark.parametrize("name", ["torch", "diffusers", "nbclient"])
def test_missing(grade, refused, without, name):
    """Before a run, a package that is not there is named, with the command that installs it."""
    refused(grade("ex3", python=without(name)), f"{name}: not installed in", "-m pip install", f"'{name}>=")


@pytest.mark.parametrize("name", ["click", "rich", "packaging", "psutil"])
def test_missing_from_the_start(grade, refused, without, name):
    """So is one without which `grade` itself cannot start, or say anything in colour."""
    refused(grade("ex1", python=without(name)), f"{name}: not installed in", "-m pip install")


def test_doctor_names_all_that_is_missing(grade, without):
    """`grade doctor` goes on after the first package that is missing, and fails."""
    status, said = grade("doctor", python=without("peft", "datasets"))
    assert status == 1
    assert "✗ peft: not installed in" in said
    assert "✗ datasets: not installed in" in said
    assert "You cannot grade notebooks here" in said


def test_too_old(grade, refused, tmp_path):
    """A version that is too old is named with the one that is needed."""
    refused(grade("ex3", PYTHONPATH=pretend(tmp_path / "old", "peft", "0.3")), "peft 0.3: the graders need >=")


def test_too_new_for_another(monkeypatch, tmp_path):
    """What another package does not work with is a warning."""
    monkeypatch.syspath_prepend(pretend(tmp_path / "new", "torchvision", "0.1", needs="torch==1.0"))
    packages._distribution.cache_clear()
    (finding,) = packages.conflicts()
    packages._distribution.cache_clear()
    assert finding.words == "torchvision needs torch==1.0"
    assert str(finding.broken).startswith("it is version 2")
    assert "-m pip install 'torch==1.0'" in finding.fix
    assert not finding.fatal


def test_hidden(grade, refused, tmp_path):
    """A file that is imported in the place of a package is named."""
    (tmp_path / "diffusers.py").write_text("")
    refused(grade("ex3", PYTHONPATH=str(tmp_path)), f"{tmp_path}/diffusers.py would be imported in its place")


def test_broken_torch(grade, refused, tmp_path):
    """A torch that is installed and cannot be imported ends in a sentence within a moment, and with a fix."""
    place = pretend(tmp_path / "broken", "torch", "2.13.0", "raise OSError('libcudart.so.12: cannot open')")
    started = time.monotonic()
    refused(grade("ex3", PYTHONPATH=place), "torch: the import fails", "libcudart.so.12", "--force-reinstall 'torch>=")
    assert time.monotonic() - started < 10


def test_doctor_survives_an_import(grade, tmp_path):
    """An import that kills Python is named by `grade doctor`, which tries the others all the same."""
    place = pretend(tmp_path / "fatal", "nbclient", "9.0", "import os, signal\nos.kill(os.getpid(), signal.SIGILL)")
    status, said = grade("doctor", PYTHONPATH=place)
    assert status == 1
    assert f"✗ nbclient: the import fails (from {place}/nbclient/__init__.py): Python ended (SIGILL)" in said
    assert "datasets, ipykernel, nbformat, safetensors, pillow" in said


def test_blame(monkeypatch):
    """An import that fails in a notebook is the machine's fault only if it fails without the notebook, too."""
    packages.blame("ValueError", "shapes do not fit")
    monkeypatch.setattr(packages, "IMPORTS", {"nbformat": "import nbformat"})
    packages.blame("ImportError", "cannot import name 'writes_notebook' from 'nbformat'")
    monkeypatch.setattr(packages, "IMPORTS", {"nbformat": "import nbformat.nothing_of_the_kind"})
    with pytest.raises(MachineError, match="nothing_of_the_kind"):
        packages.blame("ModuleNotFoundError", "No module named 'nbformat.nothing_of_the_kind'")


def test_own_fault():
    """An import of the graders' own that fails is no package's fault."""
    assert packages.explained(ImportError("cannot import name", name="graders.harness.cli.main")) is None


def test_windows(monkeypatch, capsys):
    """On Windows itself `grade` says where it runs instead."""
    from graders import __main__

    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 2
    assert "WSL" in capsys.readouterr().err


def test_macos():
    """Nothing that one's own notebooks need asks for what only Linux has."""
    program = "import socket; del socket.AF_NETLINK; import graders.harness.grade, graders.harness.machine.examination"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_notebooks_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """What course notebooks import is listed with its versions; what of it is missing is no obstacle, and named with its fix."""
    wanted = [Requirement("matplotlib>=3"), Requirement("Korniaa"), Requirement("numpy")]
    monkeypatch.setattr(packages, "_requirements", lambda name, extra="": wanted if extra == "notebooks" else [])
    theirs = Interpreter(
        Path("/opt/py"), (3, 12, 1), (Path("/opt"),), (), (("matplotlib", "3.11.2"), ("NumPy", "2.4")), False
    )
    found, missing = packages.for_notebooks(theirs)
    assert found.words == "notebooks find matplotlib 3.11.2, numpy 2.4 (Python 3.12.1 in /opt)"
    assert "korniaa" in missing.words
    assert not missing.fatal
    assert missing.fix == "Run: /opt/py -m pip install korniaa"
    assert "numpy" in next(packages.for_notebooks()).words
