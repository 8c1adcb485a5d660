"""Notebooks run in a Python of the instructor's choice."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from graders.harness.errors import MachineError
from graders.harness.run import warm_client
from graders.harness.run.bubblewrap import Bubblewrap
from graders.harness.run.interpreter import interpreter
from graders.harness.run.run import run
from graders.harness.run.sandbox import IsolationError
from graders.harness.run.unconfined import NoIsolation
from graders.harness.run.warm_client import cold_because
from tests.harness.conftest import write_notebook

CELLS = [
    "import sys, only_here\nwhere, found = sys.executable, only_here.NAME",
    "program = !which python\nprogram = list(program)",
    "from importlib.util import find_spec\nrubric = find_spec('graders') is not None and find_spec('graders.ex1') is not None",
]
HAND_IN = dict.fromkeys(("where", "found", "program", "rubric"), "value")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with a module of its own, and ipykernel out of this one's packages."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False, symlinks=True)
    packages = place / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (packages / "only_here.py").write_text("NAME = 'theirs'")
    (packages / "ours.pth").write_text(sysconfig.get_paths()["purelib"])
    return place


@pytest.fixture(params=["none", "bubblewrap"])
def isolation(environment: Path, request: pytest.FixtureRequest) -> Bubblewrap | NoIsolation:
    """Where notebooks run in the Python of the environment."""
    python = interpreter(environment)
    assert python
    if request.param == "none":
        return NoIsolation(python=python)
    request.getfixturevalue("bubblewrap")
    return Bubblewrap(python=python)


def test_a_notebook_runs_there(environment: Path, tmp_path: Path, isolation: Bubblewrap | NoIsolation) -> None:
    """The kernel, its modules and the programs that it starts are those of the environment, in the sandbox as well."""
    notebook = write_notebook(tmp_path / "hand-in", CELLS)
    evidence = run(
        notebook, parameters={}, hand_in=HAND_IN, run_folder=tmp_path / "run", time_limit=60.0, isolation=isolation
    )
    assert evidence.run.ended == "completed", evidence.run.reason
    program = str(environment / "bin" / "python")
    assert (evidence.value("where"), evidence.value("found")) == (program, "theirs")
    assert evidence.value("program") == [program]
    assert evidence.value("rubric") is (isolation.name == "none")


def test_its_kernels_are_forked(environment: Path, tmp_path: Path, isolation: Bubblewrap | NoIsolation) -> None:
    """The environment's libraries are imported once for all runs, by its own Python, and each run has a kernel of that."""
    if because := cold_because(sys.executable if isolation.name == "none" else shutil.which("bwrap") or ""):
        pytest.skip(because)
    look = "import os, sys\nfound = [sys.executable, 'torch' in sys.modules, 'LEFT' in os.environ]\nos.environ['LEFT'] = 'left'"
    warm = []
    for number in range(2):
        notebook = write_notebook(tmp_path / f"hand-in-{number}", [look])
        given = {"parameters": {}, "hand_in": {"found": "value"}, "time_limit": 60.0, "isolation": isolation}
        evidence = run(notebook, run_folder=tmp_path / f"run-{number}", **given)
        assert evidence.value("found") == [str(environment / "bin" / "python"), True, False]
        warm.append(
            [one.process.pid for one in warm_client._kept if one.served and one.kind.python == isolation.python]
        )
    assert sorted(warm[0]) == sorted(warm[1]) != []


def test_programs_of_the_graders_own_environment(tmp_path: Path) -> None:
    """Without another one, too, a notebook finds the programs of the Python that it runs in."""
    notebook = write_notebook(tmp_path / "hand-in", [CELLS[1]])
    evidence = run(notebook, parameters={}, hand_in={"program": "value"}, run_folder=tmp_path / "run", time_limit=60.0)
    assert evidence.value("program") == [str(Path(sys.executable).with_name("python"))]


def test_what_is_no_python_for_notebooks(environment: Path, tmp_path: Path) -> None:
    """What cannot run a kernel is refused before anything runs, with what to install."""
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False, symlinks=True)
    with pytest.raises(MachineError, match="has no ipykernel") as refused:
        interpreter(bare)
    assert f"{bare / 'bin' / 'python'} -m pip install ipykernel" in refused.value.fix
    for other in ("/bin/true", "/etc/hostname", str(tmp_path / "none")):
        with pytest.raises(MachineError, match=other):
            interpreter(Path(other))
    assert interpreter(Path(sys.executable)) is None


def test_an_environment_with_the_graders_in_it(environment: Path, tmp_path: Path) -> None:
    """In the sandbox no notebook runs in an environment in which it would find what decides."""
    python = interpreter(environment)
    assert python
    with pytest.raises(IsolationError, match="graders are installed"):
        Bubblewrap(python=replace(python, has_graders=True)).start([], tmp_path, None, {})  # type: ignore[arg-type]
