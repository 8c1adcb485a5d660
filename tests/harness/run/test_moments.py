"""Readings of different moments."""

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from graders.harness.run.evidence import Evidence
from graders.harness.run.records import Missing, NotRead, Unreadable

CELLS = [
    ("Parameters", "STEPS = 3"),
    ("Train", "for s in range(STEPS): losses.append(s)"),
    ("Look", "table = {}"),
    ("End", ""),
]
NEVER = {"missing": True}


def evidence(folder: Path, ended: str = "completed", cell: int = 0, **records) -> Evidence:
    """A run of four cells, each under its heading, that left these records: a kind, and what is known of its moment."""
    variables = folder / "evidence" / "variables"
    variables.mkdir(parents=True)
    kinds = {}
    for name, (kind, moment) in records.items():
        content = {"value": [1]} if kind == "value" else {"class": "SGD", "parameters": [], "options": None}
        kinds[name] = kind
        record = {"kind": kind, **content, "first": 1, "since": 1, "until": 4, **moment}
        (variables / f"{name}.json").write_text(json.dumps(NEVER if moment is NEVER else record))
    parameters = {"OUTPUT_DIR": "output", "STEPS": 3}
    (folder / "request.json").write_text(
        json.dumps({"hand_in": kinds, "output": "output", "parameters": repr(parameters)})
    )
    cells = [c for title, source in CELLS for c in (new_markdown_cell(f"## {title}"), new_code_cell(source or "pass"))]
    nbformat.write(new_notebook(cells=cells), folder / "notebook.ipynb")
    report = {
        "ended": ended,
        "cell": cell or None,
        "error": None,
        "seconds": 1,
        "peak_memory_bytes": 1,
        "device": "cpu",
    }
    (folder / "run.json").write_text(json.dumps(report | {"place": "the cell under *Train*" if cell else ""}))
    return Evidence(folder)


@pytest.mark.parametrize(
    ("gone", "other", "said"),
    [
        ({"cell": 4, "now": ""}, {}, ""),
        ({"cell": 4, "now": "NoneType"}, {"since": 3}, ""),
        (
            {"cell": 4, "now": ""},
            {"since": 4},
            "deleted in the cell under *End*, before `b` had the value that it has now",
        ),
        ({"cell": 4, "now": "int"}, {"since": 4}, "was used for a value of type int in the cell under *End*"),
    ],
)
def test_gone(tmp_path, gone, other, said):
    """What was deleted is judged as it was last, unless what it is judged with has changed since: then that is said."""
    found = evidence(tmp_path, a=("optimizer", {"until": 3, "gone": gone}), b=("optimizer", other))
    if not said:
        assert found.optimizer("a").class_name == "SGD"
        return
    with pytest.raises(NotRead, match=r"`a` had a value after the cell under \*Look\* and ") as error:
        found.optimizer("a")
    assert said in error.value.problem
    assert found.optimizer("b").class_name == "SGD"


def test_older_than_the_rest(tmp_path):
    """A reading that is older than the others is not judged with them."""
    found = evidence(tmp_path, "kernel_died", 4, a=("optimizer", {"until": 2}), b=("optimizer", {"until": 3}))
    with pytest.raises(NotRead, match=r"`a` was last read after the cell under \*Train\*"):
        found.optimizer("a")
    assert found.optimizer("b")


def test_stopped_while_filling(tmp_path):
    """What the cell that stopped was filling is not final; what it never touched is, and what never came is missing."""
    whole = evidence(tmp_path / "whole", losses=("value", {}))
    assert whole.value("losses") == [1]
    found = evidence(
        tmp_path / "stopped", "cell_error", 2, losses=("value", {}), other=("value", {}), table=("value", NEVER)
    )
    with pytest.raises(NotRead, match=r"Your notebook stopped in the cell under \*Train\*, which was filling `losses`"):
        found.value("losses")
    assert found.value("other") == [1]
    with pytest.raises(Missing, match=r"because the notebook stopped in the cell under \*Train\*"):
        found.value("table")


@pytest.mark.parametrize("moment", [{"until": -1}, {"since": "1"}, {"gone": {"now": 1}}, {"gone": 3}, {"first": None}])
def test_impossible_moments(tmp_path, moment):
    """A record that says what cannot be of its moment is refused, and no other with it."""
    found = evidence(tmp_path, a=("value", moment), b=("value", {}))
    with pytest.raises(Unreadable, match="malformed"):
        found.value("a")
    assert found.value("b") == [1]
