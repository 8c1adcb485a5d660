import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from graders.harness.run.bubblewrap import Bubblewrap
from graders.lesson import LESSON
from graders.lora import catalog


def write_notebook(folder: Path, cells: list[str], answers: tuple[str, ...] = ()) -> Path:
    """A notebook of a `parameters` cell, then the given code cells, then written answers."""
    parameters = new_code_cell('MODEL = "none"\nOUTPUT_DIR = "output"', metadata={"tags": ["parameters"]})
    written = [new_markdown_cell(text, metadata={"tags": ["written-answer"]}) for text in answers]
    notebook = new_notebook(cells=[parameters, *map(new_code_cell, cells), *written])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ex1.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="session")
def bubblewrap() -> Bubblewrap:
    """The sandbox; the test is skipped where there is none to be had."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    return Bubblewrap(likely=(catalog.ROOT,), shared=LESSON.shared_files)


@pytest.fixture
def notebook_of() -> Callable[..., Path]:
    return write_notebook
