import json
import os

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from graders.harness.run import notebook as notebooks
from graders.harness.run.notebook import NotebookError


def document(**changes):
    """A notebook of one code cell as plain JSON, with changes to the cell."""
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None, "source": "x = 1"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{**cell, **changes}]}


def with_parameters(*cells):
    return new_notebook(cells=[new_code_cell("RANK = 4", metadata={"tags": ["parameters"]}), *cells])


BAD = {
    "empty": b"",
    "not UTF-8": b'{"nbformat": 4, "metadata": "\xff"}',
    "UTF-16": json.dumps(document()).encode("utf-16"),
    "broken JSON": b'{"nbformat": 4,',
    "a list": b"[]",
    "null": b"null",
    "a number": b"4",
    "no version": b"{}",
    "version of text": b'{"nbformat": "4", "cells": []}',
    "version of the future": b'{"nbformat": 5, "cells": []}',
    "no cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    "cells of null": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [null]}',
    "cells of text": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": "x"}',
    "deep nesting": b'{"nbformat": 4, "cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nesting that JSON stands": json.dumps(document()).replace("{}", '{"a":' * 900 + "1" + "}" * 900, 1).encode(),
    "lone surrogate": json.dumps(document(source="x = '\ud800'")).encode(),
    "integer source": json.dumps(document(source=4)).encode(),
    "list of integers": json.dumps(document(source=[4])).encode(),
    "not a number": json.dumps(document(source=float("nan"))).encode(),
    "endless integer": b'{"nbformat": 4, "x": ' + b"9" * 5000 + b"}",
    "unknown cell": json.dumps(document(cell_type="poem")).encode(),
    "version 3 without worksheets": b'{"nbformat": 3, "worksheets": 4}',
}  # fmt: skip


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_unreadable(content):
    """Whatever cannot be read ends in one line that says so and one that says what to do."""
    with pytest.raises(NotebookError) as error:
        notebooks.parse(content)
    for line in (error.value.problem, error.value.fix):
        assert line.endswith(".")
        assert "\n" not in line
        assert len(line) < 250


def test_files(tmp_path):
    """A missing file, a folder, a FIFO and a file of too many bytes are refused before they are read."""
    with (tmp_path / "huge.ipynb").open("wb") as file:
        file.truncate(notebooks.MAX_BYTES + 1)
    os.mkfifo(tmp_path / "fifo.ipynb")
    for name in ("none.ipynb", "huge.ipynb", "fifo.ipynb", "."):
        with pytest.raises(NotebookError):
            notebooks.read(tmp_path / name)


def test_byte_order_mark():
    """A byte-order mark is no part of the notebook."""
    assert notebooks.parse(b"\xef\xbb\xbf" + json.dumps(document()).encode()).cells[0].source == "x = 1"


def test_old_format():
    """A notebook of format 3 is upgraded."""
    cell = {"cell_type": "code", "language": "python", "metadata": {}, "outputs": [], "input": ["x = 1\n", "y = 2"]}
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": [cell]}]}
    notebook = notebooks.parse(json.dumps(old).encode())
    nbformat.validate(notebook)
    assert notebook.cells[0].source == "x = 1\ny = 2"


def test_oldest_formats():
    """So is one of the formats 1 and 2, and a later one than is known is named as such."""
    first = {"nbformat": 1, "cells": [{"cell_type": "code", "code": "x = 1"}]}
    cell = {"cell_type": "code", "language": "python", "outputs": [], "input": "x = 1", "collapsed": False}
    second = {"nbformat": 2, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": [cell]}]}
    for old in (first, second):
        assert [cell.source for cell in notebooks.parse(json.dumps(old).encode()).cells] == ["x = 1"]
    with pytest.raises(NotebookError, match="later format than 4"):
        notebooks.parse(b'{"nbformat": 5, "cells": []}')


def test_duplicate_ids():
    """Cells that share an id, or have none, get one of their own."""
    repeated = document()
    repeated["cells"] = [dict(repeated["cells"][0]) for _ in range(4)]
    repeated["cells"][1]["id"] = "cell-2"
    del repeated["cells"][3]["id"]
    ids = [cell.id for cell in notebooks.parse(json.dumps(repeated).encode()).cells]
    assert ids[:2] == ["a", "cell-2"]
    assert len(set(ids)) == 4


def test_outputs_do_not_matter():
    """Malformed outputs are dropped, since a notebook is run afresh."""
    notebook = notebooks.parse(json.dumps(document(outputs=[{"text": float("nan")}], execution_count="x")).encode())
    assert notebook.cells[0].outputs == []


def test_widgets_do_not_count():
    """The state of widgets, which nobody reads, is dropped before anything is counted."""
    state = {f"{number}": {"state": dict.fromkeys(map(str, range(100)), 1)} for number in range(2000)}
    content = {**document(), "metadata": {"widgets": {"application/vnd.jupyter.widget-state+json": state}}}
    assert "widgets" not in notebooks.parse(json.dumps(content).encode()).metadata


def test_inject():
    """Parameters are assigned one a line right after the notebook's own, as the literals that they are."""
    values = {
        "A": "it's\n",
        "GRID": [(0, 1.5)],
        "PATHS": {"style": "a"},
        "NONE": None,
        "YES": True,
        "PAIRS": {(1, 0): -2},
    }
    original = with_parameters(new_code_cell("x = 1"))
    notebook = notebooks.inject(original, values)
    nbformat.validate(notebook)
    assert [cell.source for cell in notebook.cells][::2] == ["RANK = 4", "x = 1"]
    assert notebook.cells[1].source.count("\n") == len(values)
    assert len(original.cells) == 2
    namespace = {}
    exec(notebook.cells[1].source, namespace)
    assert {name: namespace[name] for name in values} == values


def test_inject_again():
    """An injected cell replaces the one before it."""
    notebook = notebooks.inject(notebooks.inject(with_parameters(), {"RANK": 8}), {"RANK": 16})
    assert [cell.source.splitlines()[-1] for cell in notebook.cells] == ["RANK = 4", "RANK = 16"]


def values_seen(notebook: NotebookNode, name: str) -> list:
    """Run the notebook; what a variable held at each cell that is no cell of parameters."""
    namespace: dict = {}
    seen = []
    for cell in notebook.cells:
        if notebooks.is_code(cell):
            exec(cell.source, namespace)
            if not cell.metadata.get("tags"):
                seen.append(namespace[name])
    return seen


def tagged(source: str) -> NotebookNode:
    return new_code_cell(source, metadata={"tags": ["parameters"]})


def test_inject_after_each():
    """Parameters come after each cell of them, and what the cells in a row derive from them is computed anew there."""
    halves = [tagged("HALF = STEPS // RANK\nSTEPS = 10"), new_markdown_cell("more"), tagged("QUARTER = HALF // 2")]
    notebook = notebooks.inject(with_parameters(*halves, new_code_cell("x = HALF + QUARTER")), {"STEPS": 40})
    assert [notebooks.has_tag(cell, "injected-parameters") for cell in notebook.cells] == [
        *(False, True, False, True, False, False, True, False)
    ]
    assert values_seen(notebook, "x") == [15]


def test_inject_between_exercises():
    """What an exercise has made of its parameters is not undone where the parameters of the next one are assigned."""
    filled = [new_code_cell("plan.append(2)"), tagged("RANK = 5\nMODEL = 'mine'"), new_code_cell("x = MODEL")]
    notebook = notebooks.inject(
        new_notebook(cells=[tagged("RANK = 4\nplan = [RANK]"), *filled]), {"RANK": 8, "MODEL": "given"}
    )
    assert values_seen(notebook, "plan") == [[8, 2], [8, 2]]
    assert values_seen(notebook, "MODEL") == ["given", "given"]


def test_inject_without_parameters():
    """Without a cell tagged `parameters` the fix names the tag."""
    with pytest.raises(NotebookError) as error:
        notebooks.inject(new_notebook(cells=[new_code_cell("x = 1")]), {})
    assert "`parameters`" in error.value.fix


def test_inject_where_the_tag_was_lost():
    """Where no cell is tagged, as in what Colab saved, the cell that assigns the parameters is found, also in two halves."""
    cells = [
        new_code_cell("!pip install peft"),
        new_code_cell("# @title Parameters\nMODEL = 'a'\nSEED = 1  # @param"),
        new_markdown_cell("and"),
        new_code_cell("DEVICE = 'auto'\nOUTPUT_DIR = 'output'"),
        new_code_cell("SEED, MODEL_2 = SEED + 1, MODEL\nMODEL = load(MODEL)\nSEED = SEED + 1"),
    ]
    given = {"MODEL": "b", "SEED": 2, "DEVICE": "cpu", "OUTPUT_DIR": "o"}
    notebook = notebooks.inject(new_notebook(cells=cells), given)
    assert [notebooks.has_tag(cell, "injected-parameters") for cell in notebook.cells] == [
        *(False, False, True, False, False, True, False)
    ]
    for wrong in ("SEED = 1", "def f():\n    MODEL = 1\n    SEED = 2", "MODEL = ("):
        with pytest.raises(NotebookError):
            notebooks.inject(new_notebook(cells=[new_code_cell(wrong)]), given)


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), [b"bytes"], type("Text", (str,), {})("x")])
def test_inject_literals_only(value):
    """What has no literal that gives it back is not injected."""
    with pytest.raises((TypeError, ValueError)):
        notebooks.inject(with_parameters(), {"X": value})


def test_written_answers():
    """Written answers are the Markdown cells with that tag, in order."""
    tag = {"tags": ["written-answer"]}
    cells = [new_markdown_cell("one", metadata=tag), new_code_cell("two", metadata=tag), new_markdown_cell("three")]
    assert notebooks.written_answers(new_notebook(cells=[*cells, new_markdown_cell("four", metadata=tag)])) == [
        "one",
        "four",
    ]
