"""What the code of a notebook says of its names."""

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from graders.harness.run import source
from graders.harness.run.variables import derived, filled, unfinished


def code(*cells: str) -> list[source.Code]:
    return source.code(new_notebook(cells=[*map(new_code_cell, cells)]))


FILL = "losses = []\nfor step in range(3):\n    losses.append(train())\nprint(losses)"


@pytest.mark.parametrize(
    ("cell", "again"),
    [
        ("STEPS = 300", []),
        (
            "STEPS = 300\nHALF = STEPS // 2\nTHIRD = 3\nQUARTER = HALF // 2",
            ["HALF = STEPS // 2", "QUARTER = HALF // 2"],
        ),
        ("SEED = 0\nimport torch\n%matplotlib inline\ntorch.manual_seed(SEED)", ["torch.manual_seed(SEED)"]),
        ("total = 1\ntotal += STEPS", ["total = 1", "total += STEPS"]),
        ("plan = []\nplan.append(STEPS)", ["plan = []", "plan.append(STEPS)"]),
        ("def half(): return STEPS // 2\nHALF = half()\nother = 1", ["HALF = half()"]),
        ("this is not Python: STEPS", []),
        ("x = " + "(" * 5000 + "STEPS" + ")" * 5000, []),
    ],
)
def test_derived(cell, again):
    """What follows from a parameter in the parameters' own cell is computed anew, with all that it needs, and nothing else."""
    assert list(derived(code(cell), ["STEPS", "SEED"])) == again


@pytest.mark.parametrize(
    ("cell", "line", "names"),
    [
        (FILL, 3, {"losses", "step"}),
        (FILL, 4, set()),
        (FILL, 1, {"losses", "step"}),
        (FILL, 0, {"losses", "step"}),
        ("counts = {}\ncounts[4] = 1 / 0", 2, {"counts"}),
        ("with f() as g:\n    counts = {4: 1}\n    1 / 0", 3, set()),
        ("\n%%time\ncounts[4] = 1\n1 / 0", 4, set()),
        ("early = 2\nos._exit(0)", 0, set()),
        ("for name in layers:\n    print(layers[name])", 2, {"name"}),
        ("fill()", 1, {"counts"}),
        ("a syntax error", 1, set()),
    ],
)
def test_unfinished(cell, line, names):
    """What a cell was still filling at the line where it stopped is told from what it had finished."""
    cells = code("def fill():\n    more()\ndef more():\n    counts[16] = 1", cell)
    assert unfinished(cells, line) == names
    assert unfinished([], line) == set()


@pytest.mark.parametrize(
    "cell", ["\0", "(" * 100_000, "x = f" + "(STEPS)" * 900, "x = STEPS" + " + a" * 900, "\ud800", "%%bash\nls"]
)
def test_code_of_anything(cell):
    """Code of any quality is read without an error, and never run."""
    cells = code("x = 1", cell)
    assert all(isinstance(statement, str) for statement in derived(cells, ["STEPS"]))
    assert "x" in filled(cells)
    assert unfinished(cells, 1) | unfinished(cells, 0) <= {"x"}


def test_filled():
    """What a cell gives a value, or changes, is known by its names, whatever of IPython's own syntax is beside it."""
    assert filled(code("x = !ls\ny: int = 1", "a.b[0] = 2\n%time z = 3")) == {"x", "y", "a", "z"}
