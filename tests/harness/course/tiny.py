"""A lesson of three exercises whose notebooks are one cell, import nothing and earn as many points as the number in it says."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

NAMES = ("ex1", "ex2", "ex3")
MOST = 10

_LESSON = f'''"""Numbers."""

from pathlib import Path

from graders.harness.lesson import Lesson, Outline

_HERE = Path(__file__).parent
LESSON = Lesson(
    name="tiny",
    version="1",
    title="Numbers",
    home=_HERE,
    outlines={{name: Outline(f"tiny.{{name}}", points={MOST}, memory=256 << 20, disk=1 << 20, seconds=1) for name in {NAMES}}},
    notebooks=_HERE / "assignments",
)
'''
_RUBRIC = f'''"""A number."""

import pytest

from graders.harness.hand_in import HandIn
from graders.harness.lesson import Exercise
from graders.harness.rubric import Verdict, fail

EXERCISE = Exercise(name="NAME", title="A number", hand_in={{"NAME_answer": "value"}}, parameters={{"MOST": {MOST}}})


@pytest.mark.points({MOST})
def test_answer(hand_in: HandIn, verdict: Verdict) -> None:
    """`NAME_answer` is MOST

    A number on the way there counts as much as it is.
    """
    found, most = hand_in.evidence.value("NAME_answer"), hand_in.parameters["MOST"]
    verdict.earn(found / most, 0)
    if found < most:
        fail(f"It is {{found}}.", expected=f"{{most}}", hint="What does MOST say?")
'''


def write(folder: Path) -> Path:
    """Write the lesson into a new folder, which `--lesson` takes."""
    package = folder / "tiny"
    (package / "assignments").mkdir(parents=True)
    (package / "__init__.py").write_text(_LESSON)
    for name in NAMES:
        (package / f"{name}.py").write_text(_RUBRIC.replace("NAME", name))
        (package / "assignments" / f"{name}.ipynb").write_bytes(notebook(f"{name}_answer = ..."))
    return folder


def notebook(source: str) -> bytes:
    """A notebook of the lesson with this as its last cell."""
    parameters = new_code_cell(f"MOST = {MOST}", metadata={"tags": ["parameters"]})
    return nbformat.writes(new_notebook(cells=[parameters, new_code_cell(source)])).encode()
