import ast
import json
import math
import subprocess
import sys
from collections import namedtuple
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sympy
import torch
from PIL import Image
from safetensors.torch import load_file

from graders.harness.run.evidence import Evidence, Unreadable
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
    (data,) = tmp_path.glob("x.*.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["session.json", data.name, "x.json"]
    assert data.name == json.loads((tmp_path / "x.json").read_text())["file"]


def test_moments(tmp_path):
    """Each record says after which cell its value was there first and last, and what became of one that is gone."""
    collector = Collector({"x": "tensor", "y": "value"}, str(tmp_path))

    def moment(name: str) -> tuple:
        record = json.loads((tmp_path / f"{name}.json").read_text())
        return record["since"], record["until"], record.get("gone")

    x = np.zeros(3)
    collector.collect({"y": 1}, 1, final=False)
    collector.collect({"x": x, "y": 1}, 2, final=False)
    collector.collect({"x": x, "y": 2}, 3, final=False)
    assert (moment("x"), moment("y")) == ((2, 3, None), (3, 3, None))
    x[1] = 5
    collector.collect({"x": x, "y": 2}, 4, final=False)
    assert (moment("x"), moment("y")) == ((4, 4, None), (3, 4, None))
    collector.collect({"y": None}, 5, final=False)
    collector.collect({"x": "text", "y": 3}, 6)
    assert (moment("x"), moment("y")) == ((4, 4, {"cell": 5, "now": ""}), (6, 6, None))
    assert list(tmp_path.glob("x.*.safetensors"))


def test_large_parameters_that_change(tmp_path):
    """A change of a large frozen parameter is seen after the cell, or at the end where PyTorch has not counted it."""
    net = torch.nn.Linear(600, 600).requires_grad_(False)
    collector = Collector({"x": "module"}, str(tmp_path))

    def digest(final: bool = False) -> str:
        collector.collect({"x": net}, final=final)
        return json.loads((tmp_path / "x.json").read_text())["parameters"][0]["sha256"]

    first = digest()
    assert digest() == first
    net.weight.add_(1)
    second = digest()
    assert second != first
    net.weight.numpy()[0, 0] = 100
    assert digest(final=True) != second


def test_modules_that_change(tmp_path):
    """What is trained is read in full after every cell, also where an optimizer writes past PyTorch's count of changes."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3).requires_grad_(False))
    collector = Collector({"x": "module"}, str(tmp_path))

    def file(final: bool = False) -> str:
        collector.collect({"x": net}, final=final)
        name = json.loads((tmp_path / "x.json").read_text())["file"]
        assert (tmp_path / name).is_file()
        return str(name)

    files = [file()]
    assert file() == files[0]
    net[0].weight.data.add_(1)
    files.append(file())
    net(torch.ones(1, 3)).sum().backward()
    files.append(file())
    net[0].weight.grad.data.mul_(2)
    files.append(file())
    net[1].weight.add_(1)
    files.append(file())
    net[1].weight.data += 1  # as an adapter is merged, past the count
    files.append(file())
    net[0].weight.data = net[0].weight.data.double()
    net[0].weight.grad = None
    files.append(file(final=True))
    net[1] = torch.nn.Linear(3, 3).requires_grad_(False)
    files.append(file())
    assert len({*files}) == len(files)
    (tmp_path / files[-1]).unlink()
    assert file() == files[-1]  # and is there again


def test_pictures_that_are_closed_later(tmp_path):
    """A picture that is closed after a cell counts as it was before."""
    collector = Collector({"x": "pictures"}, str(tmp_path))
    pictures = [Image.new("RGB", (2, 2), "red")]
    collector.collect({"x": pictures}, 1, final=False)
    pictures[0].close()
    collector.collect({"x": pictures}, 2)
    record = json.loads((tmp_path / "x.json").read_text())
    assert record["gone"] == {"cell": 2, "now": "closed"}
    assert (tmp_path / record["folder"] / record["pictures"]["list"][0]["file"]).is_file()


def test_views_of_memory(tmp_path):
    """A tensor that is marked as negated is written as the numbers that it stands for."""
    value = torch.view_as_complex(torch.tensor([[1.0, 2.0]])).conj().imag
    assert value.is_neg()
    file = collected(tmp_path, "tensor", value)["file"]
    assert load_file(tmp_path / file)["value"].tolist() == [-2.0]


def test_arrays_of_pictures(tmp_path):
    """An array of objects holds pictures as a list does."""
    array = np.empty(2, dtype=object)
    array[:] = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    assert len(collected(tmp_path, "pictures", array)["pictures"]["list"]) == 2


def test_crash(tmp_path):
    """A process that dies while one variable is read leaves the readings of the moment before; no library is needed."""
    script = """
import os, sys
class Deadly(dict):
    def items(self):
        os._exit(7)
exec(sys.argv[1])
import _grading_collector
assert not {"numpy", "torch", "PIL"} & set(sys.modules)
a, b, c = {4: {1.5}}, 1, 1
_grading_collector.collect.collect(False, 3)
a, b, c = 2, Deadly(), 2
_grading_collector.collect.collect(True, 4)
"""
    command = [sys.executable, "-I", "-S", "-c", script, preparation(dict.fromkeys("abc", "value"), tmp_path)]
    assert subprocess.run(command, check=False).returncode == 7
    a, b, c = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "abc")
    assert a["value"] == {"mapping": [[4, {"set": [1.5]}]]}
    assert (b["value"], c["value"]) == (1, 1)
    assert {(record["since"], record["until"]) for record in (a, b, c)} == {(3, 3)}


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


def through_evidence(folder: Path, kind: str, value: object) -> Evidence:
    """What is read of a variable `x` that the collector has written down."""
    variables = folder / "evidence" / "variables"
    variables.mkdir(parents=True)
    Collector({"x": kind}, str(variables)).collect({"x": value})
    (folder / "request.json").write_text(json.dumps({"hand_in": {"x": kind}, "output": "output"}))
    return Evidence(folder)


@pytest.mark.parametrize(
    ("number", "equal"),
    [
        (Fraction(12, 3), 4),
        (Fraction(1, 3), 1 / 3),
        (Decimal("0.00046"), 0.00046),
        (Decimal(397_824), 397_824),
        (Decimal("1e999999"), math.inf),
        (np.longdouble(0.5), 0.5),
        (sympy.Integer(4), 4),
        (sympy.Rational(1, 3), 1 / 3),
        (2 * sympy.pi, 2 * math.pi),
        (np.float16(0.5), 0.5),
        (torch.tensor(3), 3),
    ],
)
def test_numbers_of_other_libraries(tmp_path, number, equal):
    """A number of any library is read as what it is equal to, also as a key; a whole one as a whole one."""
    found = through_evidence(tmp_path, "value", {4: number}).value("x")[4]
    assert found == equal
    assert type(found) is type(equal)


def test_what_stands_for_no_number(tmp_path):
    """What is no number is named with its module, and what is beside it is read."""
    found = through_evidence(tmp_path, "value", [sympy.Symbol("x"), 1j, object(), 4]).value("x")
    assert [getattr(item, "type_name", item) for item in found] == ["sympy.Symbol", "complex", "object", 4]


def test_keys_that_are_named_tuples(tmp_path):
    """A pair of weights with names is the pair that it is equal to."""
    weights = namedtuple("Weights", ["style", "subject"])
    assert through_evidence(tmp_path, "value", {weights(1.0, 0.0): 7}).value("x") == {(1, 0): 7}


def test_tensors_as_they_are_seen(tmp_path):
    """A tensor that is only marked as negated or conjugated is kept with the sign that it shows."""
    shown = torch.view_as_complex(torch.ones(3, 2)).conj().imag
    assert shown.is_neg()
    assert through_evidence(tmp_path / "t", "tensor", shown).tensor("x").tolist() == [-1.0] * 3
    assert through_evidence(tmp_path / "v", "value", shown).value("x") == [-1.0] * 3
    pixels = -torch.view_as_complex(torch.ones(4, 4, 3, 2)).conj().imag
    [picture] = through_evidence(tmp_path / "p", "pictures", [pixels]).pictures("x")
    assert (picture == 255).all()


@pytest.mark.parametrize("number", [0.25, Fraction(1, 4), np.float32(0.25)])
def test_a_number_is_a_tensor_without_dimensions(tmp_path, number):
    """Where a tensor is asked for, a plain number is one that nothing can be learned from."""
    evidence = through_evidence(tmp_path, "tensor", number)
    assert evidence.tensor("x").shape == ()
    assert evidence.tensor("x").item() == 0.25
    assert not evidence.tensor_facts("x").in_graph


def test_floats_of_more_than_64_bits(tmp_path):
    """A tensor in extended precision is kept in double precision."""
    assert through_evidence(tmp_path, "tensor", np.array([0.5], dtype=np.longdouble)).tensor("x").tolist() == [0.5]


def dots(*shades: int) -> list[Image.Image]:
    return [Image.new("RGB", (1, 1), (shade,) * 3) for shade in shades]


def in_objects(pictures: list[Image.Image]) -> np.ndarray:
    array = np.empty(len(pictures), dtype=object)
    array[:] = pictures
    return array


@pytest.mark.parametrize(
    "keep", [tuple, in_objects, pd.Series, lambda pictures: pd.Series(pictures, index=["a", "b"]).tolist()]
)
def test_pictures_in_any_sequence(tmp_path, keep):
    """Pictures are read from an array of objects and from a series as from a list."""
    found = through_evidence(tmp_path, "pictures", keep(dots(10, 20))).pictures("x")
    assert [int(picture[0, 0, 0]) for picture in found] == [10, 20]


@pytest.mark.parametrize(
    "keep",
    [
        lambda small, large: pd.Series({4: small, 16: large}),
        lambda small, large: pd.DataFrame({4: small, 16: large}),
        lambda small, large: {np.int64(4): in_objects(small), 16.0: in_objects(large)},
    ],
)
def test_pictures_by_rank(tmp_path, keep):
    """Pictures by rank are read from a series with labels and from a table with a column for each rank."""
    found = through_evidence(tmp_path, "pictures", keep(dots(1, 2), dots(3, 4))).pictures("x")
    assert {rank: [int(picture[0, 0, 0]) for picture in some] for rank, some in found.items()} == {
        4: [1, 2],
        16: [3, 4],
    }


def test_closed_pictures(tmp_path):
    """A picture that was closed is told as that, whether it had been read or not."""
    closed, unread = dots(1)[0], tmp_path / "unread.png"
    closed.save(unread)
    closed.close()
    with Image.open(unread) as picture:
        pass
    for number, one in enumerate((closed, picture)):
        with pytest.raises(Unreadable, match="a picture that was closed"):
            through_evidence(tmp_path / str(number), "pictures", [one]).pictures("x")


def test_too_large_a_table(tmp_path):
    """A table of more cells, or more columns, than anybody needs is refused before it is written down."""
    for number, table in enumerate((pd.DataFrame(np.zeros((60_000, 2))), pd.DataFrame(np.zeros((2, 101))))):
        with pytest.raises(Unreadable, match=r"elements|columns"):
            through_evidence(tmp_path / str(number), "value", table).value("x")
