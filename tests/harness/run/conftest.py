from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from graders.harness.run.evidence import Evidence
from graders.harness.run.run import run
from graders.harness.run.sandbox import Isolation, NoIsolation

Runner = Callable[..., Evidence]


def write_notebook(folder: Path, cells: list[str], answers: tuple[str, ...] = ()) -> Path:
    """A notebook of a `parameters` cell, then the given code cells, then written answers."""
    parameters = new_code_cell('MODEL = "none"\nOUTPUT_DIR = "output"', metadata={"tags": ["parameters"]})
    written = [new_markdown_cell(text, metadata={"tags": ["written-answer"]}) for text in answers]
    notebook = new_notebook(cells=[parameters, *map(new_code_cell, cells), *written])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ex1.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def notebook_of() -> Callable[..., Path]:
    return write_notebook


@pytest.fixture(scope="module", params=["none", "bubblewrap"])
def isolation(request: pytest.FixtureRequest) -> Isolation:
    return NoIsolation() if request.param == "none" else request.getfixturevalue("bubblewrap")


@pytest.fixture(scope="module")
def run_cells(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Runner:
    """Runs code cells (numbered from 2, the parameters being cell 1) in a kernel and gives the evidence."""

    def runner(*cells: str, hand_in: dict[str, str], **options: Any) -> Evidence:
        folder = tmp_path_factory.mktemp("run")
        path = write_notebook(folder / "hand-in", list(cells), options.pop("answers", ()))
        options = {"parameters": {}, "time_limit": 60.0, "grace": 12.0, "isolation": isolation, **options}
        return run(path, hand_in=hand_in, run_folder=folder / "run", **options)

    return runner
