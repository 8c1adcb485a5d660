"""What a run left behind, read as bytes that an attacker wrote: JSON, safetensors and PNG, and nothing else."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from graders.harness.data import files, values
from graders.harness.ending import RunReport, read_report
from graders.harness.errors import HandInError
from graders.harness.run import notebook
from graders.harness.run.gather import LEFT_OUT
from graders.harness.run.kernel import pictures, watchers
from graders.harness.run.png import decode as decode_png
from graders.harness.run.states import ModuleState, OptimizerState, ParameterState, TensorFacts

MAX_JSON = 16_000_000
"""Bytes of one JSON record."""
MAX_DIGEST = 64
"""Characters of a digest."""
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

    def __init__(self, name: str, *, file: bool = False) -> None:
        """``name`` is a variable, or a file relative to OUTPUT_DIR."""
        if file:
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


class Evidence:
    """The evidence in a run folder.

    All that the run was asked for is read once, when something of it is first asked for or by :meth:`read`, within one
    budget; after that there are only values, or errors. Every method raises :class:`Missing` or :class:`Unreadable` in place
    of an answer, and KeyError for a variable that the run was not asked for.
    """

    def __init__(self, run_folder: Path) -> None:
        """Nothing is read yet."""
        self.folder = Path(run_folder)

    def read(self) -> Evidence:
        """Read everything, so that nothing a hand-in left is met later on; returns itself."""
        _ = self._variables, self.lora_configs, self._noises, self._left_out
        return self

    @cached_property
    def run(self) -> RunReport:
        """How the run ended."""
        return read_report(files.read_file(self.folder, "run.json", MAX_JSON))

    @cached_property
    def _left_out(self) -> dict[str, Any]:
        """What was not taken out of the sandbox: path in the run folder and reason."""
        try:
            return values.parse_object(files.read_file(self.folder, LEFT_OUT, MAX_JSON))
        except FileNotFoundError:
            return {}

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What was injected into the notebook."""
        return ast.literal_eval(self._request["parameters"])

    @cached_property
    def _request(self) -> dict[str, Any]:
        return values.parse_object(files.read_file(self.folder, "request.json", MAX_JSON))

    @cached_property
    def written_answers(self) -> list[str]:
        """The Markdown of every written answer, as handed in."""
        return notebook.written_answers(notebook.read(self.folder / "notebook.ipynb"))

    @cached_property
    def _budget(self) -> values.Budget:
        return values.Budget()

    @cached_property
    def _variables(self) -> dict[str, Any]:
        """What each variable that the run was asked for held, or the :class:`EvidenceError` in its place."""
        read: dict[str, Any] = {}
        for name, kind in self._request["hand_in"].items():
            try:
                with _reading(name):
                    read[name] = self._variable(name, kind)
            except EvidenceError as error:
                read[name] = error
        return read

    def _variable(self, name: str, kind: str) -> Any:
        record = self._record(name, kind)
        readers = {
            "value": lambda record: values.decode(record["value"], self._budget), "tensor": self._read_tensor,
            "pictures": self._read_pictures, "module": self._read_module, "optimizer": self._read_optimizer,
        }  # fmt: skip
        return readers[kind](record)

    @cached_property
    def lora_configs(self) -> list[dict[str, Any]]:
        """The fields of every LoRA configuration that the run made which say how its adapter trains: ``r``, ``lora_alpha`` …"""
        configs = self._seen("lora_configs", lambda found: [values.decode(config, self._budget) for config in found])
        return [config for config in configs if isinstance(config, dict)]

    @property
    def backward_passes(self) -> int | None:
        """How many backward passes the run was seen to make in its own process; None if that is not known."""
        found = self._seen("backward_passes", lambda count: [count])
        return found[0] if found and type(found[0]) is int and 0 <= found[0] < 1 << 63 else None

    @cached_property
    def _noises(self) -> dict[str, np.ndarray]:
        noises: dict[str, np.ndarray] = {}
        several = set[str]()  # such as pictures that are all black
        for digest, noise in self._seen("paintings", lambda found: list(map(self._generated_picture, found))):
            if not np.array_equal(noises.setdefault(digest, noise), noise):
                several.add(digest)
        return {digest: noise for digest, noise in noises.items() if digest not in several}

    def _generated_picture(self, generation: Any) -> tuple[str, np.ndarray]:
        """The digest of a picture, and the first numbers of its noise."""
        digest, numbers = generation
        if type(digest) is not str or len(digest) > MAX_DIGEST or len(numbers) > watchers.NOISE:
            raise values.Malformed("a malformed record")
        self._budget.spend("elements", len(numbers))
        return digest, np.array([float(number) for number in numbers], dtype=np.float64)

    def _seen(self, what: str, read: Callable[[Any], list[Any]]) -> list[Any]:
        """What was seen while the notebook ran; of a run that ended early, or was meddled with, perhaps nothing."""
        try:
            return read(self._session[what])
        except Exception:  # bytes of a stranger's, which nobody is held to
            return []

    @cached_property
    def _session(self) -> dict[str, Any]:
        return values.parse_object(self._read("session.json", MAX_JSON))

    def noise_of(self, picture: np.ndarray) -> np.ndarray | None:
        """The first numbers of the noise that a picture (uint8 [h, w, 3]) was generated from by a pipeline; None if not known."""
        height, width, _ = picture.shape
        return self._noises.get(pictures.digest(width, height, np.ascontiguousarray(picture).tobytes()))

    def value(self, name: str) -> Any:
        """What the variable held: numbers, texts, None and collections of them; arrays as nested lists."""
        return self._get(name, "value")

    def tensor(self, name: str) -> Tensor:
        """The tensor in its own dtype and shape, on the CPU."""
        tensor, _ = self._get(name, "tensor")
        return tensor

    def tensor_facts(self, name: str) -> TensorFacts:
        """Where the tensor was and whether it was part of an autograd graph."""
        _, facts = self._get(name, "tensor")
        return facts

    def pictures(self, name: str) -> list[np.ndarray] | dict[Any, Any]:
        """The pictures, uint8 [height, width, 3]: a list, or a dict from key to such a list (or to such a dict)."""
        return self._get(name, "pictures")

    def module(self, name: str) -> ModuleState:
        """The module's parameters with their gradients."""
        return self._get(name, "module")

    def optimizer(self, name: str) -> OptimizerState:
        """Which parameters the optimizer holds."""
        return self._get(name, "optimizer")

    def path(self, relative: str) -> Path:
        """The path of a regular file in OUTPUT_DIR: not a link, not a special file, not outside of it."""
        path = f"{self._request['output']}/{relative}"
        try:
            return files.check_file(self.folder, f"work/{path}")
        except FileNotFoundError:
            if reason := self._left_out.get(f"work/{PurePosixPath(path)}"):
                raise Unreadable(relative, values.one_line(str(reason), 200)) from None
            raise Missing(relative, file=True) from None
        except files.Refused as error:
            raise Unreadable(relative, str(error)) from None

    def folder_path(self, relative: str) -> Path:
        """The path of a folder in OUTPUT_DIR, none of whose parts is a link; what lies in it is not looked at."""
        folder = self.folder
        for part in PurePosixPath(f"work/{self._request['output']}/{relative}").parts:
            folder /= part
            if part == ".." or folder.is_symlink():
                raise Unreadable(relative, "it is a link, or leads out of OUTPUT_DIR")
        return folder

    def _get(self, name: str, kind: str) -> Any:
        if self._request["hand_in"][name] != kind:
            raise KeyError(f"{name} was not collected as {kind}")
        found = self._variables[name]
        if isinstance(found, EvidenceError):
            raise found.with_traceback(None)
        return found

    def _record(self, name: str, kind: str) -> dict[str, Any]:
        try:
            record = values.parse_object(self._read(f"{name}.json", MAX_JSON))
        except FileNotFoundError:
            raise Missing(name) from None
        if record.get("missing") is True:
            raise Missing(name)
        if "unreadable" in record:
            found, reason = (values.one_line(str(record.get(key, "")), 300) for key in ("unreadable", "reason"))
            raise Unreadable(name, f"it is of type {found} ({reason})")
        if record.get("kind") != kind:
            raise values.Malformed("a malformed record")
        return record

    def _read(self, relative: str, limit: int) -> bytes:
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
            return [decode_png(self._read(f"{folder}/{content}", MAX_PICTURE), self._budget)]
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
def _reading(name: str) -> Iterator[None]:
    """Turns whatever malformed bytes raise while they are read into :class:`Unreadable`."""
    try:
        yield
    except EvidenceError:
        raise
    except (values.Malformed, files.Refused) as error:
        raise Unreadable(name, str(error)) from None
    except Exception:  # PNG, safetensors and missing fields each fail in their own way
        raise Unreadable(name, "its record is malformed") from None
