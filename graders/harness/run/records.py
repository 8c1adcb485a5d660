"""The records of variables that a collector wrote, or an attacker in its place, under one budget: JSON, safetensors and PNG."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from graders.harness.data import files, values
from graders.harness.data.png import decode as decode_png
from graders.harness.errors import HandInError
from graders.harness.run.states import ModuleState, OptimizerState, ParameterState, TensorFacts

MAX_JSON = 16_000_000
"""Bytes of one JSON record."""
MAX_TENSOR = 64 << 20
"""Bytes of one variable that is a tensor: the largest that is asked for is a layer's weight, of up to 26 MB in Stable
Diffusion XL in double precision."""
MAX_HEADER = 8 << 20
"""Bytes of what a safetensors file says of its tensors."""
MAX_PICTURE = 16_000_000
"""Bytes of one PNG file."""
TYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int64, torch.int32,
    torch.int16, torch.int8,
)  # fmt: skip
"""Of tensors, those that the collector writes. With others that safetensors knows, hardly anything can be computed."""
MAX_DIMENSIONS = 64
"""Of a tensor: PyTorch computes with no more."""


class EvidenceError(HandInError):
    """Something that a check asks for and cannot have; ``name`` is that of the variable or the file."""

    def __init__(self, name: str, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.name = name


class Missing(EvidenceError):
    """The notebook never assigned the variable, or never wrote the file."""

    def __init__(self, name: str, *, file: bool = False, stopped: str = "") -> None:
        """``name`` is a variable, or a file relative to OUTPUT_DIR; ``stopped`` is where the notebook stopped, if it did."""
        if stopped and not file:
            problem = f"`{name}` has no value, because the notebook stopped in {stopped}."
            super().__init__(name, problem, "Mend that cell, then restart the kernel and run all cells.")
        elif file:
            super().__init__(name, f"There is no file `{name}` in OUTPUT_DIR.", f"Write it to OUTPUT_DIR/{name}.")
        else:
            super().__init__(name, f"`{name}` has no value.", f"Assign `{name}` in the notebook.")


class Unreadable(EvidenceError):
    """The variable or the file is there, but is no data of the kind asked for."""

    def __init__(self, name: str, reason: str) -> None:
        """``reason`` continues a sentence."""
        super().__init__(
            name,
            f"`{name}` cannot be read: {reason}.",
            f"The table at the top of the exercise says what `{name}` has to hold.",
        )
        self.reason = reason


class NotRead(EvidenceError):
    """There was such a variable, but what it held at the moment that is judged is not known: nothing is held against it."""


class Records:
    """The records in a run folder."""

    def __init__(self, run_folder: Path, budget: values.Budget) -> None:
        """Reading takes from the budget."""
        self.folder, self._budget = run_folder, budget

    def record(self, name: str, kind: str, stopped: str = "") -> dict[str, Any]:
        """The record of a variable; :class:`EvidenceError` if it has no value of this kind.

        ``stopped`` is where the notebook stopped, if it did.
        """
        try:
            record = values.parse_object(self.read(f"{name}.json", MAX_JSON))
        except FileNotFoundError:
            raise Missing(name, stopped=stopped) from None
        if record.get("missing") is True:
            raise Missing(name, stopped=stopped)
        if "unreadable" in record:
            found, reason = (values.one_line(str(record.get(key, "")), 300) for key in ("unreadable", "reason"))
            raise Unreadable(name, f"it is of type {found} ({reason})")
        if record.get("kind") != kind:
            raise values.Malformed("a malformed record")
        return record

    def value(self, kind: str, record: dict[str, Any]) -> Any:
        """What a record of this kind says that a variable held; any error for one that is malformed."""
        readers = {
            "value": lambda record: values.decode(record["value"], self._budget), "tensor": self._read_tensor,
            "pictures": self._read_pictures, "module": self._read_module, "optimizer": self._read_optimizer,
        }  # fmt: skip
        return readers[kind](record)

    def read(self, relative: str, limit: int) -> bytes:
        """A file of the evidence, of at most so many bytes."""
        return files.read_file(self.folder, f"evidence/variables/{relative}", limit)

    def _read_tensor(self, record: dict[str, Any]) -> tuple[Tensor, TensorFacts]:
        facts = TensorFacts(record["dtype"], record["device"], record["in_graph"])
        if not (type(facts.dtype) is type(facts.device) is str and type(facts.in_graph) is bool):
            raise values.Malformed("a malformed record")
        return self._tensors(record["file"], ["value"], MAX_TENSOR)["value"], facts

    def _read_pictures(self, record: dict[str, Any]) -> list[np.ndarray] | dict[Any, Any]:
        folder = record["folder"]
        if type(folder) is not str:
            raise values.Malformed("a malformed record")
        return self._gallery(record["pictures"], folder)

    def _read_module(self, record: dict[str, Any]) -> ModuleState:
        self._budget.spend("elements", len(record["parameters"]))
        names = [str(fields["name"]) for fields in record["parameters"]]
        wanted = [f"{what}:{name}" for name in names for what in ("value", "gradient")]
        tensors = self._tensors(record["file"], wanted, self._budget.tensors)
        parameters = {}
        for key, fields in zip(names, record["parameters"], strict=True):
            trainable, identity = fields["trainable"], fields["identity"]
            if type(trainable) is not bool or not _is_identity(identity):
                raise values.Malformed("a malformed record")
            value, gradient, digest = tensors.get(f"value:{key}"), tensors.get(f"gradient:{key}"), None
            if value is None:
                value, digest = _described(fields), str(fields["sha256"])
            parameters[values.one_line(key, 500)] = ParameterState(value, gradient, trainable, identity, digest)
        return ModuleState(values.one_line(record["class"], 200), record["training"] is True, parameters)

    def _read_optimizer(self, record: dict[str, Any]) -> OptimizerState:
        identities = tuple(record["parameters"])
        self._budget.spend("elements", len(identities))
        if not all(map(_is_identity, identities)):
            raise values.Malformed("a malformed record")
        options = values.decode(record["options"], self._budget)
        return OptimizerState(values.one_line(record["class"], 200), identities, options)

    def _tensors(self, file: str, wanted: Sequence[str], limit: int) -> dict[str, Tensor]:
        """Those of the ``wanted`` tensors that a safetensors file holds, of at most ``limit`` bytes; no other is read."""
        path = files.check_file(self.folder, f"evidence/variables/{file}")
        with path.open("rb") as raw:
            if int.from_bytes(raw.read(8), "little") > MAX_HEADER:
                raise values.Malformed("a file that says too much of its tensors")
        tensors: dict[str, Tensor] = {}
        with safe_open(path, framework="pt", device="cpu") as stored:
            there = set(stored.keys())
            for name in wanted:
                if name in there:
                    size = _bytes_of(stored.get_slice(name))
                    limit -= size
                    if limit < 0:
                        raise values.Malformed("it has more numbers than the exercise asks for")
                    self._budget.spend("tensors", size)
                    tensors[name] = stored.get_tensor(name).clone()  # not a view of the file
        if any(tensor.dtype not in TYPES for tensor in tensors.values()):
            raise values.Malformed("a tensor of a type that nothing can be computed with")
        return tensors

    def _gallery(self, node: Any, folder: str, depth: int = 0) -> Any:
        """The pictures of one node: a dict for a mapping, else a flat list."""
        self._budget.spend("elements")
        if not isinstance(node, dict) or len(node) != 1 or depth > 16:
            raise values.Malformed("a malformed record")
        [(tag, content)] = node.items()
        if tag == "unreadable":
            raise values.Malformed(values.one_line(str(content), 300))
        if tag == "file" and type(content) is str:
            return [decode_png(self.read(f"{folder}/{content}", MAX_PICTURE), self._budget)]
        if tag == "mapping" and isinstance(content, list):
            return {key: self._gallery(item, folder, depth + 1) for key, item in values.pairs(content, self._budget)}
        if tag != "list" or not isinstance(content, list):
            raise values.Malformed("a malformed record")
        parts = [self._gallery(item, folder, depth + 1) for item in content]
        if any(isinstance(part, dict) for part in parts):
            raise values.Malformed("a mapping inside a list of pictures")
        return [picture for part in parts for picture in part]


def _is_identity(given: Any) -> bool:
    """Whether it is an address, as identities are: of longer integers, as many as one likes have the same hash."""
    return type(given) is int and given.bit_length() <= 64


def _bytes_of(tensor: Any) -> int:
    """Of a tensor that a safetensors file describes; dimensions are refused before anything is made of them."""
    shape = tensor.get_shape()
    if len(shape) > MAX_DIMENSIONS:
        raise values.Malformed("a tensor of a shape that nothing can be computed with")
    return math.prod(shape) * int(re.sub(r"\D", "", tensor.get_dtype()) or 8) // 8


def _described(fields: dict[str, Any]) -> Tensor:
    """A tensor of the type and shape of a parameter whose numbers were not kept."""
    dtype, shape = getattr(torch, str(fields["dtype"]), None), fields["shape"]
    if dtype not in TYPES or len(shape) > MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
        raise values.Malformed("a malformed record")
    return torch.empty(shape, dtype=dtype, device="meta")


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns whatever malformed bytes raise while they are read into :class:`Unreadable`."""
    try:
        yield
    except EvidenceError:
        raise
    except (values.Malformed, files.Refused) as error:
        raise Unreadable(name, str(error)) from None
    except Exception:  # PNG, safetensors and missing fields each fail in their own way
        raise Unreadable(name, "its record is malformed") from None
