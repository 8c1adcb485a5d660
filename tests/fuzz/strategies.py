"""Bytes that an attacker may hand in, and what has to hold of whatever is said about them."""

import copy
import json
import math
import os
import resource
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from nbformat.v4 import new_code_cell, new_notebook

from graders.harness.data.values import Opaque
from graders.harness.errors import ExplainedError
from graders.harness.run.evidence import Evidence
from graders.harness.run.records import EvidenceError

ROOT = Path(__file__).parents[2]

NASTY = [
    "", "\0", "\n", "\r\n", "\x1b[2J\x1b]0;owned\x07", "\x9b31m", "\u202egnp.exe", "\u2028", "\ud800", "\udcff", "\U000e0041",
    "e\u0301", "漢字", "\U0001f468\u200d\U0001f469", "[red]", "{0}", "%s", "..", "../../secret", "/etc/passwd", "a" * 5000,
    "lora_" * 500, "a." * 700, "nan", "1e999", "=1+1", "__class__",
]  # fmt: skip
NUMBERS = [
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**61 - 1,
    2**63,
    -(2**63),
    2**64,
    10**400,
    1e308,
    -0.0,
    1e-320,
    math.nan,
    math.inf,
]

texts = st.sampled_from(NASTY) | st.text(st.characters(), max_size=30)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(NUMBERS) | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)

encoded = st.recursive(
    scalars | st.sampled_from([{"float": "nan"}, {"float": "-inf"}, {"float": []}, {"unreadable": "x" * 900}, {}]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.builds(
            lambda tag, items: {tag: items}, st.sampled_from(["record", "tuple", "set"]), st.lists(inner, max_size=4)
        )
        | st.builds(
            lambda tag, *content: {tag: list(content)},
            st.sampled_from(["record", "items", "table"]),
            *[st.none() | st.text(max_size=3) | st.lists(inner, max_size=3)] * 4,
        )
        | st.builds(
            lambda kind, rows, labels: {"table": [kind, labels[: len(rows)], labels[:2], [row[:2] for row in rows]]},
            st.text(max_size=3),
            st.lists(st.lists(inner, min_size=2, max_size=2), max_size=3),
            st.lists(inner, min_size=3, max_size=3),
        )
        | st.builds(lambda pairs: {"mapping": pairs}, st.lists(st.tuples(inner, inner).map(list), max_size=4))
        | st.dictionaries(st.sampled_from(["float", "mapping", "set", "unreadable", "x"]), inner, max_size=2)
    ),
    max_leaves=15,
)


def assert_explained(error: ExplainedError) -> None:
    """What is wrong and what to do are a line each, of a length that can be read, and steer no terminal."""
    for line in (error.problem, error.fix):
        assert line.strip()
        assert line.isprintable(), ascii(line)
        assert len(line) < 1500


@st.composite
def mutated(draw: DrawFn, originals: list[bytes]) -> bytes:
    """One of the originals with a few bytes changed, added, left out or repeated, or cut short."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        match draw(st.sampled_from(["change", "add", "leave out", "repeat", "cut"])):
            case "change":
                content[start:end] = draw(st.binary(min_size=end - start, max_size=end - start))
            case "add":
                content[start:start] = draw(st.binary(max_size=12))
            case "leave out":
                del content[start:end]
            case "repeat":
                content[start:start] = content[start:end] * draw(st.integers(1, 40))
            case "cut":
                del content[start:]
    return bytes(content)


@st.composite
def edited(draw: DrawFn, originals: list[Any], values: SearchStrategy[Any] = json_values) -> Any:
    """One of some JSON documents with a few of its parts replaced, renamed, left out or repeated, at any depth."""
    holder = [copy.deepcopy(draw(st.sampled_from(originals)))]
    for _ in range(draw(st.integers(1, 4))):
        node: Any = holder
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and node[key] and draw(st.integers(0, 3)):
                node = node[key]
                continue
            match draw(st.sampled_from(["replace", "rename", "leave out", "repeat"])):
                case "rename" if isinstance(node, dict):
                    node[draw(texts)] = node.pop(key)
                case "leave out" if node is not holder:
                    del node[key]
                case "repeat" if isinstance(node, list) and node is not holder:
                    node.insert(key, copy.deepcopy(node[key]))
                case _:
                    node[key] = copy.deepcopy(draw(values))
            break
    return holder[0]


def assert_plain(value: Any) -> None:
    """Numbers, texts that can be written, None, and collections of them: what a check may meet."""
    if isinstance(value, dict):
        for key, item in value.items():
            hash(key)
            assert_plain(item)
    elif isinstance(value, list | tuple | frozenset):
        for item in value:
            assert_plain(item)
    elif isinstance(value, str):
        value.encode()
    elif isinstance(value, Opaque):
        assert value.type_name.isprintable()
        assert len(value.type_name) <= 200
    else:
        assert value is None or type(value) in (bool, int, float)


KINDS = {"v": "value", "t": "tensor", "p": "pictures", "m": "module", "o": "optimizer"}


GIVEN = {"OUTPUT_DIR": "output", "STEPS": 3, "PROMPTS": ["a"], "ADAPTERS": {"style": "b"}}


class Folder:
    """A run folder that is written to again and again."""

    def __init__(self, root: Path) -> None:
        self.root, self.variables = root, root / "evidence" / "variables"
        (root / "work" / "output").mkdir(parents=True)
        self.variables.mkdir(parents=True)
        request = {"hand_in": KINDS, "output": "output", "parameters": repr(GIVEN)}
        (root / "request.json").write_text(json.dumps(request))
        (root / "notebook.ipynb").write_text(nbformat.writes(new_notebook(cells=[new_code_cell("STEPS = 3")])))

    def leave(self, name: str, content: Any) -> None:
        path = self.variables / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    def read(self, method: str, *arguments: str) -> Any:
        """What a method of the evidence gives, None in place of an error that explains itself."""
        try:
            return getattr(Evidence(self.root), method)(*arguments)
        except EvidenceError as error:
            assert_explained(error)
            return None


SIZES = {
    "F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
    "U16": 2, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "C64": 8, "X": 1,
}  # fmt: skip
"""Types of elements that safetensors knows, most of which no hand-in needs, and one that it does not, with their sizes."""


def packed(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file of any header and data, which may say any length of its header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return ((len(text) if length is None else length) % (1 << 64)).to_bytes(8, "little") + text + data


FLOATS = ("F32", "F32", "F16", "BF16", "F64")
WRONGS = ("nothing", "nothing", "nothing", "nothing", "types", "header", "length", "data", "text")


@st.composite
def tensor_files(
    draw: DrawFn, shapes: SearchStrategy[dict[str, list[int]]], metadata: SearchStrategy[Any] | None = None
) -> bytes:
    """A safetensors file with tensors of these names and shapes; every second one has something wrong with it."""
    wrong = draw(st.sampled_from(WRONGS))
    usual = draw(st.sampled_from(FLOATS))
    header: dict[str, Any] = {}
    start = 0
    for name, shape in draw(shapes).items():
        dtype = draw(st.sampled_from(list(SIZES))) if wrong == "types" else usual
        end = start + SIZES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        start = end
    if metadata is not None:
        header["__metadata__"] = draw(metadata)
    pattern = draw(st.sampled_from([b"\0", b"\0\0\x80?", b"\xff"]) | st.binary(min_size=1, max_size=9))
    data = (pattern * (start // len(pattern) + 1))[:start]
    match wrong:
        case "header":
            return packed(
                draw(edited([header], json_values | st.sampled_from([[1] * 2000, [0, 2**62], [2**32] * 2]))), data
            )
        case "length":
            return packed(header, data, draw(st.sampled_from([0, 1, 100_000_000, 2**63, -1]) | st.integers(0, 2000)))
        case "data":
            return packed(header, data[: draw(st.integers(0, start))] + draw(st.binary(max_size=9)))
        case "text":
            return packed(draw(mutated([json.dumps(header).encode()])), data)
    return packed(header, data)


def assert_cheap(function: Callable[[], object], memory: int = 200 << 20, seconds: float = 5.0) -> None:
    """``function`` takes at most so many bytes and seconds of a processor: measured in a child, which ends at 4 GiB."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        torch.set_num_threads(1)  # the threads that the parent's PyTorch has started are not there in a child
        before = resource.getrusage(resource.RUSAGE_SELF)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 30),) * 2)
        try:
            function()
            after = resource.getrusage(resource.RUSAGE_SELF)
            took = after.ru_utime - before.ru_utime, (after.ru_maxrss - before.ru_maxrss) << 10
            said = "" if took[0] < seconds and took[1] < memory else f"took {took[0]:.1f} s and {took[1]:,} bytes"
        except BaseException:
            said = traceback.format_exc()
        os.write(writing, said[-50_000:].encode("utf-8", "replace"))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    assert not said, said


linux_only = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured as Linux tells it")
