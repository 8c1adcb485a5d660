"""A run folder whose every record and data file may hold anything."""

import contextlib
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from graders.harness.run.evidence import Evidence
from graders.harness.run.records import EvidenceError
from graders.lora.sightings import lora_adapters, lora_configs, noise_of
from tests.fuzz.strategies import (
    GIVEN,
    KINDS,
    Folder,
    assert_cheap,
    assert_plain,
    edited,
    encoded,
    json_values,
    linux_only,
    mutated,
    packed,
    tensor_files,
    texts,
)

TENSOR = {"kind": "tensor", "file": "t.1.safetensors", "dtype": "float32", "device": "cpu", "in_graph": True}
PARAMETERS = [{"name": f"a.{leaf}", "trainable": True, "identity": i} for i, leaf in enumerate(["weight", "bias"])]
MODULE = {"kind": "module", "file": "m.1.safetensors", "class": "UNet", "training": True, "parameters": PARAMETERS}
OPTIMIZER = {"kind": "optimizer", "class": "AdamW", "parameters": [0, 1], "options": [{"mapping": [["lr", 0.1]]}]}
SET_AGAIN = {"kind": "value", "value": [1], "first": 1, "since": 1, "until": 2, "gone": {"cell": 3, "now": "x"}}
DTYPES = ["float32", "bfloat16", "int8", "complex64", "nn", "Tensor", "no type"]
COLLECTED = {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int64, torch.int32,
             torch.int16, torch.int8}  # fmt: skip


def assert_tensor(tensor: torch.Tensor) -> None:
    """A tensor as the collector writes them, with which checks can compute."""
    assert tensor.dtype in COLLECTED
    assert tensor.device.type == "cpu"
    assert tensor.ndim <= 64
    ((tensor.double() - 1).norm(), (tensor != 0).any(), tensor.isfinite().all(), tensor.float().flatten())


records = st.binary(max_size=50) | json_values.map(lambda value: json.dumps(value).encode())


@given(
    encoded.map(lambda value: {"kind": "value", "value": value})
    | json_values
    | edited([{"unreadable": "x", "reason": "y"}])
)
@example({"unreadable": ["\x1b"] * 900, "reason": {"a": 10**400}})
def test_values(folder: Folder, record: Any) -> None:
    """A value is plain data."""
    folder.leave("v.json", record)
    assert_plain(folder.read("value", "v"))


@given(edited([{"device": "cpu", "lora_configs": [{"mapping": [["r", 4], ["lora_alpha", 4]]}]}]) | json_values)
def test_lora_configs(folder: Folder, session: Any) -> None:
    """LoRA configurations are a list of mappings, empty where they cannot be read."""
    folder.leave("session.json", session)
    configs = lora_configs(Evidence(folder.root))
    assert all(isinstance(config, dict) for config in configs)
    assert_plain(configs)


ADAPTER = {"trained": True, "layers": {"a": [4, 1.0, [0.5, 0.1], [0, 0.0], [0.4, 0.1], [1, 0.2]]}}


@given(edited([{"device": "cpu", "lora_adapters": [ADAPTER, ADAPTER]}]) | json_values)
@example({"lora_adapters": [{"trained": 1, "layers": {"a": [4, 10**400, [], []]}}]})
@example({"lora_adapters": [{"trained": 1, "layers": {"a": [4, 1.0, [0] * 9, []]}}]})
def test_lora_adapters(folder: Folder, session: Any) -> None:
    """Adapters that were seen hold plain numbers, and there are none where they cannot be read."""
    folder.leave("session.json", session)
    for adapter in lora_adapters(Evidence(folder.root)):
        assert type(adapter.trained) is bool
        for layer in adapter.layers.values():
            assert type(layer.rank) is int
            assert {type(number) for number in (layer.scale, *layer.down, *layer.up, *layer.trained_up)} == {float}


shapes = st.lists(st.integers(0, 4), max_size=4) | st.sampled_from([[1] * 70, [0, 2**40], [2, 0, 3]])


@given(edited([TENSOR]) | st.just(TENSOR), tensor_files(st.fixed_dictionaries({"value": shapes})))
def test_tensors(folder: Folder, record: Any, content: bytes) -> None:
    """A tensor is of a type that is collected, and what is said of it is a text, a text and a truth."""
    folder.leave("t.1.safetensors", content)
    folder.leave("t.json", record)
    if (tensor := folder.read("tensor", "t")) is not None:
        assert_tensor(tensor)
    if facts := folder.read("tensor_facts", "t"):
        assert [type(facts.dtype), type(facts.device), type(facts.in_graph)] == [str, str, bool]


@st.composite
def modules(draw: st.DrawFn) -> tuple[Any, bytes]:
    """The record of a module whose parameters have any names and shapes, and the file of its tensors."""
    names = draw(st.lists(st.sampled_from(["a.weight", "a.bias"]) | texts, min_size=1, max_size=3, unique=True))
    kept = [f"{what}:{name}" for name in names for what in ("value", "gradient")]
    parameters = [{"name": name, "trainable": draw(st.booleans()), "identity": at} for at, name in enumerate(names)]
    for parameter in parameters:
        if draw(st.booleans()):
            digest = {
                "dtype": draw(st.sampled_from(DTYPES)),
                "shape": draw(shapes),
                "sha256": draw(st.just("00") | texts),
            }
            parameter |= digest
            kept.remove(f"value:{parameter['name']}")
    record = {**MODULE, "parameters": parameters}
    same = st.integers(0, 3).map(lambda width: {key: [width, 2] for key in kept})
    content = draw(tensor_files(same | st.fixed_dictionaries(dict.fromkeys(kept, shapes))))
    return (draw(edited([record])) if draw(st.booleans()) else record), content


@given(modules())
def test_modules(folder: Folder, module: tuple[Any, bytes]) -> None:
    """A module has parameters with names that can be printed, values and gradients."""
    folder.leave("m.json", module[0])
    folder.leave("m.1.safetensors", module[1])
    if found := folder.read("module", "m"):
        assert found.class_name.isprintable()
        assert type(found.training) is bool
        for name, state in found.parameters.items():
            assert name.isprintable()
            assert [type(state.trainable), type(state.identity)] == [bool, int]
            if state.digest is None:
                assert_tensor(state.value)
                assert state.equals(state.value.clone())
            elif state.value.numel() < 1000:
                assert not state.equals(torch.zeros_like(state.value, device="cpu"))
            if state.gradient is not None:
                assert_tensor(state.gradient)


@given(edited([OPTIMIZER]) | json_values)
def test_optimizers(folder: Folder, record: Any) -> None:
    """An optimizer holds identities, and plain options."""
    folder.leave("o.json", record)
    if optimizer := folder.read("optimizer", "o"):
        assert optimizer.class_name.isprintable()
        assert all(type(identity) is int for identity in optimizer.identities)
        assert_plain(optimizer.options)


@linux_only
def test_junk_beside_a_tensor(folder: Folder) -> None:
    """Of a file of a gigabyte only the tensor that is asked for is read, and not even that if it is too large."""
    for junk, value in ((1 << 30, 4), (4, 1 << 30)):
        described = {
            "value": {"dtype": "U8", "shape": [value], "data_offsets": [0, value]},
            "junk": {"dtype": "U8", "shape": [junk], "data_offsets": [value, value + junk]},
        }
        folder.leave("t.1.safetensors", packed(described))
        with (folder.variables / "t.1.safetensors").open("r+b") as file:
            file.truncate(file.seek(0, 2) + value + junk)
        folder.leave("t.json", TENSOR)
        assert_cheap(lambda: folder.read("tensor", "t"))
    (folder.variables / "t.1.safetensors").unlink()


PAINTINGS = [
    [["x", [10**400], {}]],
    [["x", [1e999], {}]],
    [["x", 4, {}]],
    [[{}, [], {}]],
    [["x" * 10**6, [0], {}]],
    [["x", [0] * 10**6, {}]],
    [["x", [[0]], {}]],
    [["x", ["1" * 5000], {}]],
    [["x", [0], 4]],
    [["x", [0], {"a": [1]}]],
    [["x", [0], {str(n): n for n in range(10**4)}]],
    [["x", [0]]],
    {"x": 1},
    [[]],
    [1],
]


@pytest.mark.parametrize("generated", PAINTINGS, ids=range(len(PAINTINGS)))
def test_generated(folder: Folder, generated: Any) -> None:
    """A record of paintings that says something impossible is as if it were not there."""
    folder.leave("session.json", json.dumps({"paintings": generated, "lora_configs": generated}).encode())
    evidence = Evidence(folder.root).read()
    assert noise_of(evidence, np.zeros((2, 2, 3), dtype=np.uint8)) is None
    assert lora_configs(evidence) == []
    (folder.variables / "session.json").unlink()


@linux_only
def test_everything_at_once(folder: Folder) -> None:
    """A hand-in each of whose variables asks for the most that one may is read in seconds and bounded memory."""
    most = [[{"tuple": [n, m]}, n] for n in range(30) for m in range(30)]
    names = [f"x{n}" for n in range(50)]
    request = {"hand_in": dict.fromkeys(names, "value"), "output": "output"}
    request["parameters"] = repr({name: [1] for name in names})  # which are read besides
    home = folder.root / "everything"
    (home / "evidence" / "variables").mkdir(parents=True)
    (home / "request.json").write_text(json.dumps(request))
    for name in names:
        record = {"kind": "value", "value": [{"mapping": most}, [0] * 90_000]}
        (home / "evidence" / "variables" / f"{name}.json").write_text(json.dumps(record))
    assert_cheap(lambda: Evidence(home).read(), seconds=10.0)
    with pytest.raises(EvidenceError, match="too many"):
        Evidence(home).value("x49")


@given(st.sampled_from(list(KINDS)), st.binary(max_size=60) | mutated([json.dumps(MODULE).encode()]))
def test_bytes(folder: Folder, name: str, content: bytes) -> None:
    """A record of any bytes is unreadable at worst, whatever kind was asked for."""
    folder.leave(f"{name}.json", content)
    folder.read(KINDS[name], name)


@given(st.sampled_from(list(GIVEN)), records | mutated([json.dumps(SET_AGAIN).encode()]))
def test_parameters(folder: Folder, name: str, content: bytes) -> None:
    """A record of a parameter, of any bytes, is a value in its place or none."""
    folder.leave(f"{name}.json", content)
    for again in Evidence(folder.root).set_again.values():
        assert isinstance(again.place, str)


@given(texts.filter(lambda text: len(text) < 200))
@example("/etc/passwd")
def test_paths(folder: Folder, relative: str) -> None:
    """A path in OUTPUT_DIR stays there, whatever it is."""
    for method in [Evidence.path, *([Evidence.folder_path] if relative.isprintable() else [])]:
        with contextlib.suppress(EvidenceError):
            assert method(Evidence(folder.root), relative).resolve().is_relative_to(folder.root / "work")
