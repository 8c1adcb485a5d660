"""One notebook may hold several exercises, or another one than it is handed in for."""

from __future__ import annotations

from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from graders.harness.contents import Contents
from graders.harness.grade import grade
from graders.harness.lesson import Exercise
from graders.harness.run import notebook as notebooks
from graders.harness.run import source
from graders.harness.run.notebook import NotebookError
from graders.lesson import LESSON
from tests.submissions.course_notebook import course_notebook

CHECKOUT = Path(__file__).parents[2]
ALL = LESSON.exercises()
TAG = {"tags": ["parameters"]}


def solution(number: int) -> NotebookNode:
    return notebooks.read(CHECKOUT / "reference_solutions" / f"ex{number}.ipynb")


def parsed(cells: list[NotebookNode]) -> NotebookNode:
    for at, cell in enumerate(cells):
        cell["id"] = f"c{at}"
    return notebooks.parse(notebooks.json.dumps(new_notebook(cells=cells)).encode())


def together() -> NotebookNode:
    """All four reference solutions, one after the other."""
    return parsed([cell for number in (1, 2, 3, 4) for cell in solution(number).cells])


def merged() -> NotebookNode:
    """The same with all parameters in one cell, and no heading that names an exercise."""
    tagged = [
        cell for number in (1, 3, 4, 2) for cell in solution(number).cells if notebooks.has_tag(cell, "parameters")
    ]
    cells = [cell for number in (1, 2, 3, 4) for cell in solution(number).cells]
    rest = [cell for cell in cells if not notebooks.has_tag(cell, "parameters") and "# Exercise" not in cell.source]
    return parsed([new_code_cell("\n".join(cell.source for cell in tagged), metadata=TAG), *rest])


def runs(notebook: NotebookNode, name: str, exercises: list[Exercise] = ALL) -> list[int]:
    """The numbers of the code cells that run for an exercise."""
    left_out = Contents(notebook, exercises).left_out(name)
    assert left_out is not None
    return [cell.number for cell in source.code(notebook) if cell.id not in left_out]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_notebook_of_one_exercise_holds_that_one(number: int) -> None:
    """A solution is taken for its own exercise, whole, and for no other."""
    contents = Contents(solution(number), ALL)
    assert contents.held == [f"ex{number}"]
    assert contents.left_out(f"ex{number}") is None
    for other in LESSON.names:
        if other == f"ex{number}":
            contents.ensure_meant(other)
        else:
            with pytest.raises(
                NotebookError, match=f"This looks like exercise {number}, not like exercise {other[2:]}"
            ):
                contents.ensure_meant(other)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_an_untouched_assignment_is_no_other_exercise(number: int) -> None:
    """Who has not begun is told so by the checks, and not that it is another exercise."""
    assignment = notebooks.read(CHECKOUT / "assignments" / f"ex{number}.ipynb")
    Contents(assignment, ALL).ensure_meant(f"ex{number}")


def test_each_exercise_runs_alone() -> None:
    """Of a notebook with all exercises each runs its own cells, none after them, and no training of another one."""
    assert Contents(together(), ALL).held == list(LESSON.names)
    assert runs(together(), "ex1") == [*range(1, 8)]
    assert runs(together(), "ex2") == [*range(8, 15)]
    assert {*range(16, 23)} <= {*runs(together(), "ex3")} <= {1, 8, *range(16, 23)}
    assert {*range(23, 28)} <= {*runs(together(), "ex4")} <= {1, 8, 16, *range(23, 28)}
    assert runs(merged(), "ex1") == [*range(1, 8)]
    assert runs(merged(), "ex2") == [1, *range(8, 14)]
    assert runs(merged(), "ex3") == [1, *range(15, 21)]
    assert runs(merged(), "ex4") == [1, *range(21, 25)]


A = Exercise("ex1", "Train", {"losses": "value"}, {"MODEL": "", "PROMPTS": [], "STEPS": 1})
B = Exercise("ex2", "Compose", {"images": "value", "combined": "value"}, {"MODEL": "", "PROMPTS": [], "GRID": []})
PARAMETERS = 'MODEL = "m"\nPROMPTS = ["a", "b"]\nSTEPS = 3\nGRID = [1]\nOUTPUT_DIR = "output"'
TRAIN = "losses = {}\nfor step in range(STEPS):\n    losses[step] = train(pipe, PROMPTS).to(device)"
COMPOSE = "images = {g: pipe(PROMPTS).to(device) for g in GRID}\ncombined = 1"
SET_UP = 'import torch\nfrom lib import load, train\ndevice = "cuda" if torch.cuda.is_available() else "cpu"\npipe = load(MODEL)'


def small(*cells: str) -> NotebookNode:
    """A notebook of two exercises, after a cell with the parameters of both: cell 1."""
    return parsed([new_code_cell(PARAMETERS, metadata=TAG), *map(new_code_cell, cells)])


CASES = {
    "shared input is no dependency": ([SET_UP, TRAIN, "pipe = load(MODEL)", COMPOSE], [1, 2, 4, 5]),
    "what was trained is used": ([SET_UP, TRAIN, COMPOSE], [1, 2, 3, 4]),
    "shared input is changed": (
        [SET_UP, TRAIN, "PROMPTS.append(str(losses))", "pipe = load(MODEL)", COMPOSE],
        [1, 2, 3, 4, 5, 6],
    ),
    "under another name": (
        [SET_UP, "mine = PROMPTS\nmine += ['c']", TRAIN, "pipe = load(MODEL)", COMPOSE],
        [1, 2, 3, 5, 6],
    ),
    "by a function": (
        [SET_UP, "def more(texts):\n    texts.append('c')", TRAIN + "\nmore(PROMPTS)", "pipe = load(MODEL)", COMPOSE],
        [1, 2, 3, 4, 5, 6],
    ),
    "a function that is called later": (
        [
            SET_UP,
            "def paint():\n    return pipe(PROMPTS)",
            TRAIN,
            "pipe = load(MODEL)\nimages = {g: paint() for g in GRID}\ncombined = 1",
        ],
        [1, 2, 3, 5],
    ),
    "files": ([SET_UP, TRAIN + "\npipe.save(OUTPUT_DIR)", "pipe = load(OUTPUT_DIR)", COMPOSE], [1, 2, 3, 4, 5]),
    "settings of a library": (
        [SET_UP, "torch.set_default_dtype(torch.float64)", TRAIN, "pipe = load(MODEL)", COMPOSE],
        [1, 2, 3, 5, 6],
    ),
    "code that cannot be read": ([SET_UP, TRAIN, "exec('x = 1')", "pipe = load(MODEL)", COMPOSE], [1, 2, 3, 4, 5, 6]),
    "timed": ([SET_UP, "%%time\n" + TRAIN, "%time pipe = load(MODEL)", COMPOSE], [1, 2, 4, 5]),
    "a shell command": ([SET_UP, TRAIN, "!ls", "pipe = load(MODEL)", COMPOSE], [1, 2, 4, 5, 6]),
    "another one does not compile": ([SET_UP, TRAIN, "x = (", "pipe = load(MODEL)", COMPOSE], [1, 2, 5, 6]),
}


@pytest.mark.parametrize(("cells", "expected"), CASES.values(), ids=CASES.keys())
def test_what_the_second_exercise_needs_of_the_first(cells: list[str], expected: list[int]) -> None:
    """Cells of another exercise run if the result may depend on them, and where that is not known."""
    assert runs(small(*cells), "ex2", [A, B]) == expected


@pytest.mark.parametrize(
    "text", ["x = a" + " + a" * 900, "x = " + "f(" * 150 + ")" * 150, "for i in x:\n    y = i\n" * 500]
)
def test_code_that_is_made_to_break_its_reader(text: str) -> None:
    """Whatever stands in a cell, what is needed is decided, soon, and in doubt it is everything."""
    assert {1, 2, 4, 5} <= {*runs(small(SET_UP, TRAIN, "pipe = load(MODEL)", COMPOSE, text), "ex2", [A, B])}
    assert {1, 2, 5, 6} <= {*runs(small(SET_UP, text, TRAIN, "pipe = load(MODEL)", COMPOSE), "ex2", [A, B])}


def test_names_that_a_later_exercise_uses_again() -> None:
    """What is handed in is what stood there at the end of its exercise, though a later one uses the name for something else."""
    notebook = small(
        SET_UP,
        COMPOSE,
        "combined = 2",
        "losses = {}\nfor images in range(STEPS):\n    losses[images] = 1",
        "combined = 3",
    )
    assert runs(notebook, "ex2", [A, B]) == [1, 2, 3, 4]
    notebook.cells.insert(3, new_markdown_cell("# Exercise 1"))
    assert runs(notebook, "ex2", [A, B]) == [1, 2, 3]


def test_the_parameters_of_the_exercise_are_injected() -> None:
    """They come after the cell with that exercise's own, and cells keep their numbers."""
    notebook = together()
    left_out = Contents(notebook, ALL).left_out("ex2") or ()
    injected = notebooks.inject(notebooks.without(notebook, left_out), {"RANK": 8})
    at = next(at for at, cell in enumerate(injected.cells) if notebooks.has_tag(cell, "injected-parameters"))
    assert "TIMESTEP = 500" in injected.cells[at - 1].source
    assert len(injected.cells) == len(notebook.cells) + 1


@pytest.mark.parametrize("name", LESSON.names)
def test_all_that_runs_for_an_exercise_has_its_parameters(name: str) -> None:
    """Cells of other exercises that one needs have the values that it was given, too, wherever they stand."""
    notebook = notebooks.parse(notebooks.json.dumps(course_notebook()).encode())
    given = {key: f"{key} of the graders" for exercise in ALL for key in exercise.parameters}
    left_out = Contents(notebook, ALL).left_out(name) or ()
    namespace: dict[str, object] = {}
    others = 0
    for cell in notebooks.inject(notebooks.without(notebook, left_out), given).cells:
        if notebooks.has_tag(cell, "parameters") or notebooks.has_tag(cell, "injected-parameters"):
            exec(cell.source, namespace)
        elif notebooks.is_code(cell):
            used = [key for key in given if key in cell.source]
            assert {key: namespace.get(key) for key in used} == {key: given[key] for key in used}
            others += bool(used)
    assert others


def test_a_notebook_with_all_exercises_is_graded(tmp_path: Path) -> None:
    """An exercise of such a notebook has the points that it has alone."""
    path = tmp_path / "all.ipynb"
    path.write_text(notebooks.json.dumps(together()))
    result = grade("ex1", path, tmp_path / "graded")
    assert result.score == result.max_score == 20
    assert result.run["cell"] is None
