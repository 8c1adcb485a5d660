"""Adapters that no library saved, in a file or in a folder of anything."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from graders.lora.measures import adapter_places, adapter_refusals, recorded_config
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.adapter_refusals import AdapterError
from graders.lora.measures.copies import likeness
from graders.lora.measures.layers import Kind
from tests.fuzz.strategies import (
    ROOT,
    assert_cheap,
    assert_explained,
    edited,
    json_values,
    linux_only,
    mutated,
    packed,
    tensor_files,
    texts,
)

REAL = [(ROOT / "fixtures" / "adapters" / name / adapter_places.DIFFUSERS_FILE).read_bytes()
        for name in ("style", "null/untrained", "known/convolution")]  # fmt: skip
TO_Q, TO_OUT, CONV = "mid_block.attn2.to_q", "mid_block.attn2.to_out.0", "mid_block.conv1"


def grown(tree: dict[str, Any], path: list[str]) -> dict[str, Any]:
    for step in path:
        tree = tree.setdefault(step, {})
    return tree


def assembled(tree: dict[str, Any]) -> nn.Module:
    """Modules nested as the keys of ``tree`` are; a shape stands for a linear layer or a convolution."""
    if isinstance(tree, tuple):
        return nn.Linear(tree[1], tree[0]) if len(tree) == 2 else nn.Conv2d(tree[1], tree[0], tree[2:])
    module = nn.Module()
    for name, inner in tree.items():
        module.add_module(name, assembled(inner))
    return module


def skeleton(layers: dict[str, tuple[int, ...]]) -> nn.Module:
    """A U-Net of nothing but these layers, with their shapes, on the meta device."""
    tree: dict[str, Any] = {}
    for name, shape in layers.items():
        *path, last = name.split(".")
        grown(tree, path)[last] = shape
    with torch.device("meta"):
        return assembled(tree)


def layers_of(content: bytes) -> dict[str, tuple[int, ...]]:
    """The layers that an adapter of diffusers was made for."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    shapes = {key.removeprefix("unet."): fields["shape"] for key, fields in header.items() if key.startswith("unet.")}
    names = {key.rpartition(".lora")[0] for key in shapes}
    down, up = ({key.rpartition(".lora")[0]: s for key, s in shapes.items() if part in key} for part in ("A.", "B."))
    return {name: (up[name][0], *down[name][1:]) for name in sorted(names)}


SMALL = {TO_Q: (3, 2), TO_OUT: (2, 3), CONV: (2, 3, 3, 3)}
UNET = skeleton(SMALL)
REAL_UNETS = [skeleton(layers_of(content)) for content in REAL]
CONFIG = {"r": 2, "lora_alpha": 4, "target_modules": ["to_q"], "rank_pattern": {"to_q": 2}, "use_rslora": False,
          "init_lora_weights": True, "peft_type": "LORA", "use_dora": False, "alpha_pattern": {}}  # fmt: skip

FORMATS = {
    "diffusers": ("unet.{}.lora_A.weight", "unet.{}.lora_B.weight"),
    "diffusers before": ("{}.lora.down.weight", "{}.lora.up.weight"),
    "processors": ("unet.{}_lora.down.weight", "unet.{}_lora.up.weight"),
    "PEFT": ("base_model.model.{}.lora_A.weight", "base_model.model.{}.lora_B.weight"),
    "kohya": ("lora_unet_{}.lora_down.weight", "lora_unet_{}.lora_up.weight"),
}


def written(name: str, form: str) -> str:
    """A layer's name as the format writes it."""
    if form == "kohya":
        return name.replace(".", "_")
    return ".processor.".join(name.removesuffix(".0").rsplit(".", 1)) if form == "processors" else name


OTHER_NAMES = [
    "text_encoder.a.lora_A.weight", "unet.a.lora_A.default.weight", "unet.a.lora_A.bias", "unet.a.dora_scale",
    "lora_te1_a.alpha", f"unet.{TO_Q}.weight", "unet..lora_A.weight", "unet.base_model.model.a.lora_A.weight",
    f"unet.{TO_Q}.lora_A.weight\x1b[31m", "\n", "unet.mid_block.lora_A.weight",
]  # fmt: skip


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, list[int]]:
    """Names and shapes of an adapter's tensors in one of the formats, with some of them left out, odd or of other shapes."""
    form = draw(st.sampled_from(list(FORMATS)))
    down, up = FORMATS[form]
    found: dict[str, list[int]] = {}
    for name, (outputs, *inputs) in SMALL.items():
        rank = draw(st.sampled_from([2, 2, 2, 2, 2, 0, 1, 7]))
        found[down.format(written(name, form))] = [rank, *inputs]
        found[up.format(written(name, form))] = [outputs, rank, *[1] * (len(inputs) - 1)]
        if form == "kohya":
            found[f"lora_unet_{written(name, form)}.alpha"] = []
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        match draw(st.sampled_from(["leave out", "reshape", "add"])):
            case "leave out" if found:
                del found[draw(st.sampled_from(list(found)))]
            case "reshape" if found:
                odd = st.lists(st.integers(0, 3), max_size=4) | st.sampled_from([[1] * 900, [2**40, 0]])
                found[draw(st.sampled_from(list(found)))] = draw(odd)
            case _:
                found[draw(st.sampled_from(OTHER_NAMES) | texts)] = [1]
    return found


PATTERNS = {"rank_pattern": {"^mid_block.attn2.to_q$": 2, "(a+)+b": 1}, "alpha_pattern": {"conv1": 8, "to_out\\.0": 2}}
configs = st.sampled_from([CONFIG, {**CONFIG, "use_rslora": True}]) | edited([CONFIG, CONFIG | PATTERNS]) | json_values


def recorded(config: Any) -> dict[str, str]:
    """The header's metadata, as diffusers writes it."""
    fields = {f"unet.{key}": item for key, item in config.items()} if isinstance(config, dict) else config
    return {"format": "pt", recorded_config.METADATA_KEY: json.dumps(fields)}


metadata = st.just({}) | configs.map(recorded)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


def assert_read_or_explained(path: Path, unet: nn.Module) -> None:
    """An adapter that fits the U-Net, with finite strengths, or an error that explains itself."""
    try:
        adapter = read_adapter(path, unet)
    except AdapterError as error:
        assert_explained(error)
        return
    assert adapter.layers
    assert adapter.format in ("diffusers", "peft", "kohya")
    modules = dict(unet.named_modules())
    for name, layer in adapter.layers.items():
        assert layer.down.dtype == layer.up.dtype == torch.float32
        assert layer.rank > 0
        assert layer.delta().shape == modules[name].weight.shape
        assert layer.alpha is None or abs(layer.alpha) < float("inf")
        assert isinstance(layer.kind, Kind)
    assert all(name.isprintable() for name in adapter.non_finite())
    (adapter.rank, adapter.parameters, adapter.changes_nothing, likeness(adapter, adapter))


MANY_SIDES = {
    f"unet.{TO_Q}.lora_{matrix}.weight": {"dtype": "F32", "shape": [0] * sides, "data_offsets": [0, 0]}
    for matrix, sides in {"A": 900, "B": 2}.items()
}


@given(tensor_files(shapes(), metadata), configs)
@example(packed(MANY_SIDES), CONFIG)
def test_formats(place: Path, content: bytes, config: Any) -> None:
    """A file in any of the formats, with any tensors, header and configuration, is read or the error explains itself."""
    (place / adapter_refusals.PEFT_CONFIG).write_text(json.dumps(config))
    (place / adapter_places.PEFT_FILE).write_bytes(content)
    assert_read_or_explained(place / adapter_places.PEFT_FILE, UNET)


@given(st.sampled_from(range(len(REAL))), st.data())
def test_mutated(place: Path, number: int, data: st.DataObject) -> None:
    """The same of real adapters with bytes of theirs changed, most of all in the header."""
    (place / "real.safetensors").write_bytes(data.draw(mutated([REAL[number], REAL[number][:6000]])))
    assert_read_or_explained(place / "real.safetensors", REAL_UNETS[number])


@given(
    st.binary(max_size=100) | st.builds(packed, json_values, st.binary(max_size=20), st.none() | st.integers(0, 2**64))
)
@example(b"PK\x03\x04")
@example(packed(b"[" * 100_000))
def test_bytes(place: Path, content: bytes) -> None:
    """The same of any bytes."""
    (place / "bytes.safetensors").write_bytes(content)
    assert_read_or_explained(place / "bytes.safetensors", UNET)


file_names = (
    (st.sampled_from([adapter_places.DIFFUSERS_FILE, adapter_places.PEFT_FILE, "a.safetensors", "a.bin"]) | texts)
    .map(lambda name: name.replace("/", "").replace("\0", "").encode("utf-8", "surrogatepass")[:200])
    .filter(lambda name: name not in (b"", b".", b".."))
    .map(os.fsdecode)
)


@given(st.lists(st.tuples(file_names, st.sampled_from(["file", "folder", "link", "fifo", "empty"])), max_size=10))
def test_folders(tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str]]) -> None:
    """The same of a folder that holds anything under any names."""
    folder = tmp_path_factory.mktemp("folder")
    for name, kind in entries:
        path = folder / name
        if os.path.lexists(path):
            continue
        match kind:
            case "folder":
                path.mkdir()
            case "link":
                path.symlink_to("/etc/hostname")
            case "fifo":
                os.mkfifo(path)
            case _:
                path.write_bytes(REAL[0] if kind == "file" else b"")
    assert_read_or_explained(folder, REAL_UNETS[0])
    for name, _ in entries:
        assert_read_or_explained(folder / name, REAL_UNETS[0])
    shutil.rmtree(folder)


def named(names: list[str], **fields: Any) -> bytes:
    """Tensors of these names."""
    return packed({name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0], **fields} for name in names})


def whole(**config: Any) -> bytes:
    """An adapter for every layer of a real U-Net, with this configuration."""
    length = int.from_bytes(REAL[0][:8], "little")
    header = json.loads(REAL[0][8 : 8 + length])
    kept = json.loads(header["__metadata__"][recorded_config.METADATA_KEY])
    header["__metadata__"] = recorded({name.removeprefix("unet."): value for name, value in kept.items()} | config)
    return packed(header, REAL[0][8 + length :])


BOMBS = {
    "a terabyte of header": packed(b"{}", length=1 << 40),
    "a terabyte of tensor": named(["unet.a.lora_A.weight"], shape=[1 << 38], data_offsets=[0, 1 << 40]),
    "many patterns": whole(rank_pattern={f"a{i}": 4 for i in range(80_000)}),
    "a long pattern": whole(rank_pattern={"a." * 400_000: 4}),
    "a hostile pattern": whole(alpha_pattern={"(a+)+$": 4}),
    "a long name": named(["unet." + "lora." * 200_000 + "lora_A.weight"]),
    "many tensors": named([f"unet.a{i}.lora_A.weight" for i in range(70_000)]),
    "a deep configuration": whole(peft_type=json.loads("[" * 900 + "]" * 900)),
    "a long alpha": whole(lora_alpha=10**4000),
}


@linux_only
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_bombs(place: Path, bomb: bytes) -> None:
    """A file that claims, or asks for, a lot takes neither much memory nor much time."""
    (place / "bomb.safetensors").write_bytes(bomb)
    assert_cheap(lambda: assert_read_or_explained(place / "bomb.safetensors", REAL_UNETS[0]))
