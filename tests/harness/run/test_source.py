"""A notebook's code is looked at before anything of it runs."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from graders.harness.ending import RunError, RunReport
from graders.harness.run import source


def only(text: str) -> source.Code:
    (cell,) = source.code(new_notebook(cells=[new_code_cell(text)]))
    return cell


SOUND = {
    "magics": "%matplotlib inline\n%load_ext autoreload\nx = 1",
    "a timed cell": "%%time\nfor x in range(3):\n    pass",
    "a shell command": "!pip install peft\nfiles = !ls\nif files:\n    !ls {files[0]}",
    "await": "import asyncio\nawait asyncio.sleep(0)\nasync with x:\n    pass",
    "help": "unet?\nunet.forward??",
    "another language": "%%bash\nfor x in *; do echo $x; done",
    "a magic without its sign": "pip install torch",
    "indented as a whole": "    x = 1\n    y = 2",
    "a prompt": ">>> x = 1\n>>> y = 2",
    "imports from the future": "x = 1\nfrom __future__ import annotations",
    "an escape that Python warns of": "x = '\\d'",
    "blank": "\n \n",
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND.keys())
def test_what_ipython_runs_has_no_fault(text: str) -> None:
    """What IPython makes Python of is no syntax error."""
    assert only(text).fault is None


FAULTY = {
    "a bracket": ("x = 1\ny = (2,\n", 2, "'(' was never closed"),
    "after blank lines": ("\n  \n\nx = = 2", 4, "invalid syntax"),
    "beside a magic": ("%matplotlib inline\n\nfor x in:\n    pass", 3, "invalid syntax"),
    "in a timed cell": ("%%time\nx = 1\ny = ]", 3, "unmatched ']'"),
    "indentation": ("def f():\n    x = 1\n  y = 2", 3, "unindent does not match any outer indentation level"),
    "return outside of a function": ("return 3", 1, "'return' outside function"),
}


@pytest.mark.parametrize(("text", "line", "message"), FAULTY.values(), ids=FAULTY.keys())
def test_what_does_not_compile_is_told_with_its_line(text: str, line: int, message: str) -> None:
    """A cell that does not compile is found with Python's words, the line as the student counts it, and what stands there."""
    cell = only(text)
    assert cell.fault
    assert (cell.fault.line, cell.fault.message) == (line, message)
    assert cell.fault.text == text.splitlines()[line - 1].strip()


@pytest.mark.parametrize(
    "text", ["-" * 40_000 + "1", "x = (\n" + "%time 1\n" * 1000, "x" * 60_000, "a" + ".b" * 20_000]
)
def test_what_would_take_long_is_left_alone(text: str) -> None:
    """Code that is made to keep its reader busy, or to break it, has no fault that is known."""
    assert only(text).fault is None


def test_cells_are_named_by_the_heading_above() -> None:
    """People find a cell by the heading above it, whatever else Markdown says."""
    notebook = new_notebook(
        cells=[
            new_code_cell("a"),
            new_markdown_cell("# Exercise\n## 4. *Train* it\n```\n# no heading\n```\n#nor this"),
            new_code_cell("b"),
            new_markdown_cell("A remark"),
            new_code_cell("c"),
            new_markdown_cell("### Look ##"),
            new_code_cell("d"),
        ]
    )
    first, train, again, look = (cell.place for cell in source.code(notebook))
    assert first == "code cell 1"
    assert (train, again) == ("the first cell under *4. Train it*", "the second cell under *4. Train it*")
    assert look == source.place(notebook, 4) == "the cell under *Look*"
    assert source.place(notebook, 5) == source.place(notebook, -1) == "a cell"


def stopped(cell: int, evalue: str) -> RunReport:
    return RunReport("cell_error", cell, RunError("SyntaxError", evalue, ""), 1.0, 1, "cpu")


def test_a_run_that_ends_at_such_a_cell_names_the_place() -> None:
    """The report of a run has the line and the heading in place of a file that nobody has seen."""
    notebook = new_notebook(
        cells=[new_markdown_cell("# Train"), new_code_cell("x = 1\ny = )"), new_code_cell("print x")]
    )
    error = source.located(stopped(1, "unmatched ')' (560010199.py, line 2)"), notebook).error
    assert error == RunError("SyntaxError", "unmatched ')', in line 2 of the first cell under *Train*", "y = )", 2)
    error = source.located(stopped(2, "Missing parentheses. (560010199.py, line 1)"), notebook).error
    assert error == RunError(
        "SyntaxError", "Missing parentheses, in line 1 of the second cell under *Train*", "print x", 1
    )
    for cell, evalue in ((2, "raised by exec"), (9, "unmatched ')' (1.py, line 2)")):
        assert source.located(stopped(cell, evalue), notebook) == stopped(cell, evalue)
