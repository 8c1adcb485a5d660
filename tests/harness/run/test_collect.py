import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graders.harness.run.execution import preparation
from graders.harness.run.kernel import PARTS, collect
from graders.harness.run.kernel.collect import Collector


def collected(folder: Path, kind: str, value) -> dict:
    Collector({"x": kind}, str(folder)).collect({"x": value})
    return json.loads((folder / "x.json").read_text())


def nested(depth: int) -> list:
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("value", range(100_001), "more than 100000 elements"),
        ("value", np.zeros((400, 400)), "an array of 160000 elements"),
        ("value", "x" * 2_000_001, "more than 2000000 characters"),
        ("value", nested(9), "nested more than 8 deep"),
        ("value", b"bytes", "not a number"),
        ("value", 1 << 5000, "more than 4096 bits"),
        ("pictures", [np.zeros((1, 1, 3), dtype=np.uint8)] * 501, "more than 500 pictures"),
        ("pictures", np.zeros((4097, 4097, 1), dtype=np.uint8), "4097x4097 pixels"),
        ("pictures", "picture.png", "not a picture"),
        ("tensor", np.array(["text"]), "a tensor of type str"),
        ("module", 1, "not a torch.nn.Module"),
        ("optimizer", 1, "not a torch.optim.Optimizer"),
    ],
)
def test_caps(tmp_path, kind, value, reason):
    """What is too large, too deep or of another kind is recorded as unreadable, and leaves no data behind."""
    record = collected(tmp_path, kind, value)
    assert reason in record["reason"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["session.json", "x.json"]


def test_total_size(tmp_path, monkeypatch):
    """All variables together stay below the cap on bytes."""
    monkeypatch.setattr(collect, "MAX_BYTES", 1000)
    array = np.zeros(200, dtype=np.float32)
    Collector({"a": "tensor", "b": "tensor"}, str(tmp_path)).collect({"a": array, "b": array})
    assert "file" in json.loads((tmp_path / "a.json").read_text())
    assert json.loads((tmp_path / "b.json").read_text())["reason"] == "more than 1000 bytes"


def test_readings_replace_each_other(tmp_path):
    """The last reading of a variable is the only one that is kept."""
    collector = Collector({"x": "tensor"}, str(tmp_path))
    for value in (1.0, 2.0):
        collector.collect({"x": np.array(value)}, final=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["session.json", "x.2.safetensors", "x.json"]
    collector.collect({})
    assert json.loads((tmp_path / "x.json").read_text()) == {"missing": True}


def test_crash(tmp_path):
    """A process that dies while one variable is read keeps those that were read before; no library is needed."""
    script = """
import os, sys
class Deadly(dict):
    def items(self):
        os._exit(7)
exec(sys.argv[1])
import _grading_collector
assert not {"numpy", "torch", "PIL"} & set(sys.modules)
a, b, c = {4: {1.5}}, Deadly(), 1
_grading_collector.collect.collect(True)
"""
    command = [sys.executable, "-I", "-S", "-c", script, preparation(dict.fromkeys("abc", "value"), tmp_path)]
    assert subprocess.run(command, check=False).returncode == 7
    assert json.loads((tmp_path / "a.json").read_text())["value"] == {"mapping": [[4, {"set": [1.5]}]]}
    assert not (tmp_path / "b.json").exists()


def test_standard_library_alone():
    """What runs in the kernel imports nothing that a notebook's environment may lack, and its parts in their order."""
    folder = Path(collect.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} == {"__init__", *PARTS}
    for number, part in enumerate(PARTS):
        for node in ast.walk(ast.parse((folder / f"{part}.py").read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= sys.stdlib_module_names
            elif isinstance(node, ast.ImportFrom) and node.level:
                assert {node.module or alias.name for alias in node.names} <= {*PARTS[:number]}
            elif isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] in sys.stdlib_module_names
