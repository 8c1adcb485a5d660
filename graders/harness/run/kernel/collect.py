"""What a notebook's variables hold, written down as data from inside its kernel.

The texts of this folder's files are executed in the kernel before the notebook's first cell, as modules of a package of
their own: they need the standard library only, and share no name with the notebook. NumPy, PyTorch, pandas, Pillow and PEFT
are looked up among the imported modules, because a value of theirs cannot exist before they are imported.

A folder of evidence holds one record per variable, ``NAME.json``, which is replaced whole, so that a kernel that dies
leaves the records it had finished::

    {"missing": true}                                      never assigned
    {"unreadable": "type", "reason": "..."}                assigned, but no data of the kind asked for
    {"kind": "value", "value": ENCODED}
    {"kind": "tensor", "file": "...", "dtype": "float32", "device": "cpu", "in_graph": true}
    {"kind": "pictures", "folder": "...", "pictures": NODE}
    {"kind": "module", "file": "...", "class": "...", "training": true, "parameters": [{"name": "...", ...}, ...]}
    {"kind": "optimizer", "class": "...", "parameters": [identity, ...], "options": ENCODED}

ENCODED is JSON in which an object is always a tag: ``{"float": "nan"}``, ``{"tuple": [...]}``, ``{"set": [...]}``,
``{"mapping": [[key, value], ...]}``, ``{"array": [...]}``, ``{"unreadable": "type"}``. NODE is ``{"file": "..."}``,
``{"list": [NODE, ...]}``, ``{"mapping": [[ENCODED, NODE], ...]}`` or ``{"unreadable": "..."}``. Tensors are in
safetensors files, pictures in PNG files. Of a module's large frozen parameters, which are gigabytes in a model of true
size, only ``"dtype"``, ``"shape"`` and the ``"sha256"`` of the bytes are kept, beside their names.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import struct
import sys
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence, ValuesView
from itertools import chain
from typing import Any

from . import watchers
from .encoding import (
    MAX_DEPTH,
    SAFETENSORS,
    Encoder,
    Unreadable,
    bytes_of,
    dtype_of,
    ensure_dense,
    is_array,
    is_of,
    type_of,
)
from .pictures import pixels_of, png

MAX_BYTES = 1 << 30
"""Everything that is kept of one run, in bytes."""
LARGE = 1 << 19
"""Bytes above which of a frozen parameter only a digest is kept: no matrix of an adapter has as many."""
MAX_PICTURES = 500
CHEAP = 0.05
"""Seconds: a variable whose last reading took no longer is read again after every cell."""
PATIENCE = 10
"""Any other is read again before the end only when this many times the duration of its last reading has passed."""

_open = open  # the notebook may replace the built-in one


class Collector:
    """Reads the variables of ``spec`` (name to kind) from a namespace into the folder ``folder``."""

    def __init__(self, spec: Mapping[str, str], folder: str) -> None:
        """``folder`` is an absolute path of a folder that exists; the notebook may change its working directory."""
        self.spec = dict(spec)
        self.folder = folder
        self.readings = 0
        self.size = 0
        self.unets = 0
        self.costs: dict[str, tuple[float, float]] = {}
        self.sizes: dict[str, int] = {}
        self.readers = {
            "value": self._value, "tensor": self._tensor, "pictures": self._pictures, "module": self._module,
            "optimizer": self._optimizer,
        }  # fmt: skip

    def collect(self, namespace: Mapping[str, Any], final: bool = True) -> None:
        """Write a record of every variable as it stands; unless ``final``, of those that are due again."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.unets = max(self.unets, watchers.unets())  # every time: they may be gone when the next cell has run
            for name, kind in self.spec.items():
                if final or self._due(name):
                    started = time.monotonic()
                    self._record(name, kind, namespace)
                    self.costs[name] = (time.monotonic(), time.monotonic() - started)
            if final or self._due(""):
                started = time.monotonic()
                session = {"device": watchers.device(), "unets_at_once": self.unets}
                session |= {"peak_gpu_memory_bytes": watchers.peak_gpu_memory(), **watchers.seen()}
                self._write("session.json", [json.dumps(session).encode()])
                self.costs[""] = (time.monotonic(), time.monotonic() - started)

    def _due(self, name: str) -> bool:
        ended, cost = self.costs.get(name, (-math.inf, 0.0))
        return cost <= CHEAP or time.monotonic() - ended > PATIENCE * cost

    def _record(self, name: str, kind: str, namespace: Mapping[str, Any]) -> None:
        self.readings += 1
        self.size = 0
        before = self.sizes.pop(name, 0)
        data = f"{name}.{self.readings}"
        if name not in namespace:
            record: dict[str, Any] = {"missing": True}
        else:
            try:
                record = {"kind": kind, **self.readers[kind](namespace[name], data)}
                self.sizes[name] = self.size
            except KeyboardInterrupt:
                self.sizes[name] = before
                self._remove(name, data)
                raise
            except BaseException as error:  # whatever a value of the notebook's raises while it is read
                reason = str(error) if isinstance(error, Unreadable) else f"{type(error).__name__}: {error}"
                record = {"unreadable": type_of(namespace[name]), "reason": reason[:300]}
        self._write(f"{name}.json", [json.dumps(record, allow_nan=False).encode()])
        self._remove(name, keep=None if "unreadable" in record or "missing" in record else data)

    def _remove(self, name: str, drop: str | None = None, keep: str | None = None) -> None:
        """Delete the data files of a variable: those of the reading ``drop``, or of all but ``keep``."""
        for entry in os.listdir(self.folder):
            stem, _, rest = entry.partition(".")
            reading = ".".join([stem, rest.partition(".")[0]])
            if stem == name and rest != "json" and (reading == drop or (drop is None and reading != keep)):
                path = os.path.join(self.folder, entry)
                shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)

    def _write(self, name: str, chunks: Iterable[bytes]) -> None:
        path = os.path.join(self.folder, name)
        with _open(path + ".part", "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.replace(path + ".part", path)

    def _spend(self, size: int) -> None:
        self.size += size
        if self.size + sum(self.sizes.values()) > MAX_BYTES:
            raise Unreadable(f"more than {MAX_BYTES} bytes")

    # -- kinds: each takes the value and the name for its data files, and gives the rest of the record

    def _value(self, value: Any, data: str) -> dict[str, Any]:
        encoded = Encoder().encode(value)
        if isinstance(encoded, dict) and "unreadable" in encoded:
            raise Unreadable("not a number, a text or a collection of them")
        return {"value": encoded}

    def _tensor(self, value: Any, data: str) -> dict[str, Any]:
        self._save(data + ".safetensors", {"value": value})
        graph = bool(getattr(value, "requires_grad", False) or getattr(value, "grad_fn", None) is not None)
        return {
            "file": data + ".safetensors",
            "dtype": dtype_of(value),
            "device": str(getattr(value, "device", "cpu")),
            "in_graph": graph,
        }

    def _pictures(self, value: Any, data: str) -> dict[str, Any]:
        os.mkdir(os.path.join(self.folder, data))
        node = self._node(value, data, count := [0])
        if not count[0] and "unreadable" in node:
            raise Unreadable(node["unreadable"])
        return {"folder": data, "pictures": node}

    def _node(self, value: Any, folder: str, count: list[int], depth: int = 0) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} deep")
        if not is_of(value, "PIL.Image", "Image") and not is_array(value) and hasattr(value, "images"):
            value = value.images  # what a pipeline of diffusers returns is a mapping, too
        if is_array(value) and len(value.shape) >= 4:
            value = list(value)
        if isinstance(value, Mapping):
            pairs = [[Encoder().encode(key), self._node(item, folder, count, depth + 1)] for key, item in value.items()]
            return {"mapping": pairs}
        if isinstance(value, Sequence | ValuesView) and not isinstance(value, str | bytes | bytearray):
            return {"list": [self._node(item, folder, count, depth + 1) for item in value]}
        try:
            width, height, pixels = pixels_of(value)
        except Unreadable as error:
            return {"unreadable": str(error)}
        if count[0] >= MAX_PICTURES:
            raise Unreadable(f"more than {MAX_PICTURES} pictures")
        content = png(width, height, pixels)
        self._spend(len(content))
        name = f"{count[0]:04d}.png"
        self._write(os.path.join(folder, name), [content])
        count[0] += 1
        return {"file": name}

    def _module(self, value: Any, data: str) -> dict[str, Any]:
        if not is_of(value, "torch.nn", "Module"):
            raise Unreadable("not a torch.nn.Module")
        tensors: dict[str, Any] = {}
        parameters = []
        for name, parameter in value.named_parameters():
            facts = {"name": name, "trainable": parameter.requires_grad, "identity": id(parameter)}
            parameters.append(facts)
            if parameter.grad is not None:
                tensors["gradient:" + name] = parameter.grad
            elif not parameter.requires_grad and parameter.nbytes > LARGE:
                shape = [int(length) for length in parameter.shape]
                digest = hashlib.sha256(bytes_of(ensure_dense(parameter))).hexdigest()
                facts |= {"dtype": dtype_of(parameter), "shape": shape, "sha256": digest}
                continue
            tensors["value:" + name] = parameter
        self._save(data + ".safetensors", tensors)
        kind = {"class": type(value).__name__, "training": bool(value.training)}
        return {"file": data + ".safetensors", **kind, "parameters": parameters}

    def _optimizer(self, value: Any, data: str) -> dict[str, Any]:
        if not is_of(value, "torch.optim", "Optimizer"):
            raise Unreadable("not a torch.optim.Optimizer")
        parameters = [id(parameter) for group in value.param_groups for parameter in group["params"]]
        options = [{key: item for key, item in group.items() if key != "params"} for group in value.param_groups]
        return {"class": type(value).__name__, "parameters": parameters, "options": Encoder().encode(options)}

    def _save(self, name: str, tensors: Mapping[str, Any]) -> None:
        """Write tensors or arrays to a safetensors file, each in its own dtype."""
        header: dict[str, Any] = {}
        start = 0
        for key, tensor in tensors.items():
            end = start + int(ensure_dense(tensor).nbytes)
            self._spend(end - start)
            shape = [int(length) for length in tensor.shape]
            header[key] = {"dtype": SAFETENSORS[dtype_of(tensor)], "shape": shape, "data_offsets": [start, end]}
            start = end
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        head = [struct.pack("<Q", len(text)), text]
        self._write(name, chain(head, (bytes_of(tensor) for tensor in tensors.values())))


_collector: Collector


def prepare(spec: Mapping[str, str], folder: str) -> None:
    """Set up the collection of the variables of ``spec`` into ``folder``, an absolute path."""
    global _collector
    watchers.watch()  # what is imported already
    sys.meta_path.insert(0, watchers.Imports())
    _collector = Collector(spec, folder)


def collect(final: bool) -> None:
    """Collect from the namespace of the caller, which is the notebook's."""
    watchers.watch()
    _collector.collect(sys._getframe(1).f_globals, final)
