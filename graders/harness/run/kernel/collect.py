"""What a notebook's variables hold, written down as data from inside its kernel.

The texts of this folder's files are executed in the kernel before the notebook's first cell, as modules of a package of
their own: they need the standard library only, and share no name with the notebook.

A folder of evidence holds one record per variable, ``NAME.json``. After each cell all variables are read, and only when the
last of them has been read do the new records take the place of the old ones: a kernel that dies leaves records of one
moment. Each says after which cell what it holds was there first (``"since"``) and last (``"until"``), after which the variable
had any value first (``"first"``), and of one that has no such value any more, what became of it (``"gone"``)::

    {"first": 2, "since": 3, "until": 7, ...}                         all of them, with one of these:
    {"missing": true}                                      never assigned
    {"unreadable": "type", "reason": "..."}                assigned, but no data of the kind asked for
    {..., "gone": {"cell": 9, "now": "type"}}              deleted ("now" is "") or used for something else after cell 9
    {"kind": "value", "value": ENCODED}
    {"kind": "tensor", "file": "...", "dtype": "float32", "device": "cpu", "in_graph": true}
    {"kind": "pictures", "folder": "...", "pictures": NODE}
    {"kind": "module", "file": "...", "class": "...", "training": true, "parameters": [{"name": "...", ...}, ...]}
    {"kind": "optimizer", "class": "...", "parameters": [identity, ...], "options": ENCODED}

ENCODED is JSON in which an object is always a tag: ``{"float": "nan"}``, ``{"tuple": [...]}``, ``{"set": [...]}``,
``{"mapping": [[key, value], ...]}``, ``{"record": [[name, ...], [...]]}``, ``{"unreadable": "type"}``; and for what comes of
other libraries ``{"items": ["type", LABELS, [...]]}`` and ``{"table": ["type", LABELS, [column, ...], [[cell, ...], ...]]}``,
where LABELS is null or has a label for each item or row. NODE is ``{"file": "..."}``, ``{"list": [NODE, ...]}``,
``{"mapping": [[ENCODED, NODE], ...]}`` or ``{"unreadable": "..."}``. Tensors are in
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
import weakref
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
)
from .libraries import as_labelled, as_number, as_table, is_array, is_of, type_of
from .pictures import Closed, digest, pixels_of, png

MAX_BYTES = 600 << 20
"""Everything that is kept of one moment of a run, in bytes; for an instant there are two."""
LARGE = 1 << 19
"""Bytes above which of a frozen parameter only a digest is kept: no matrix of an adapter has as many."""
MAX_PICTURES = 500
CHEAP = 0.05
"""Seconds: what the session holds is noted after every cell if that takes no longer,"""
PATIENCE = 10
"""and otherwise when this many times the duration of the last note has passed."""

_open = open  # the notebook may replace the built-in one


class Collector:
    """Reads the variables of ``spec`` (name to kind) from a namespace into the folder ``folder``."""

    def __init__(self, spec: Mapping[str, str], folder: str) -> None:
        """``folder`` is an absolute path of a folder that exists; the notebook may change its working directory."""
        self.spec = dict(spec)
        self.folder = folder
        self.size = 0
        self.records: dict[str, dict[str, Any]] = {}
        self.noted, self.cost = -math.inf, 0.0
        self.digests: dict[int, tuple[Any, tuple[int, int], str]] = {}
        self.readers = {
            "value": self._value, "tensor": self._tensor, "pictures": self._pictures, "module": self._module,
            "optimizer": self._optimizer,
        }  # fmt: skip

    def collect(self, namespace: Mapping[str, Any], cell: int = 0, final: bool = True) -> None:
        """Write a record of every variable as it stands after the code cell of this number."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            watchers.after_cell()
            if final:
                self.digests.clear()  # whoever writes past PyTorch's count of changes is found out at the end
            self.size = 0
            records = {name: self._record(name, kind, namespace, cell) for name, kind in self.spec.items()}
            for name, record in records.items():
                self._write(f"{name}.json.new", [json.dumps(record, allow_nan=False).encode()])
            self._note_session(final)
            for name in records:
                os.replace(os.path.join(self.folder, f"{name}.json.new"), os.path.join(self.folder, f"{name}.json"))
            self.records = records
            self._tidy()

    def _note_session(self, final: bool) -> None:
        if final or self.cost <= CHEAP or time.monotonic() - self.noted > PATIENCE * self.cost:
            started = time.monotonic()
            session = {"device": watchers.device(), "raised": watchers.raised()}
            session |= {"peak_gpu_memory_bytes": watchers.peak_gpu_memory()}
            self._write("session.json", [json.dumps({**watchers.seen(), **session}).encode()])
            self.noted, self.cost = time.monotonic(), time.monotonic() - started

    def _record(self, name: str, kind: str, namespace: Mapping[str, Any], cell: int) -> dict[str, Any]:
        before, value, size = self.records.get(name), namespace.get(name), self.size
        record: dict[str, Any]
        closed = False
        if name not in namespace:
            record = {"missing": True}
        else:
            try:
                record = {"kind": kind, **self.readers[kind](value, name)}
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever a value of the notebook's raises while it is read
                self.size, closed = size, isinstance(error, Closed)
                reason = str(error) if isinstance(error, Unreadable) else f"{type(error).__name__}: {error}"
                record = {"unreadable": type_of(value), "reason": reason[:300]}
        if before and "kind" in before and (value is None or closed or not _is_of_kind(kind, value)):
            now = "closed" if closed else "" if name not in namespace else type_of(value)
            self.size += sum(self._size_of(file) for file in _files_of(before))
            return {"gone": {"cell": cell, "now": now}, **before}
        same = before is not None and record == {key: before[key] for key in before if key not in _MOMENTS}
        had = before is not None and "kind" in before
        moments = {"first": before["first"] if before and had else cell, "until": cell}
        return {**record, "since": before["since"] if before and same else cell, **moments}

    def _size_of(self, file: str) -> int:
        try:
            return os.path.getsize(os.path.join(self.folder, file))
        except OSError:
            return 0

    def _tidy(self) -> None:
        """Delete the files that no record names."""
        kept = {f"{name}.json" for name in self.records} | {"session.json"}
        kept |= {file for record in self.records.values() for file in _files_of(record)}
        folders = {os.path.dirname(file) for file in kept}
        for folder in ("", *(folders - {""})):
            place = os.path.join(self.folder, folder)
            for entry in os.listdir(place):
                path, file = os.path.join(place, entry), os.path.join(folder, entry)
                if file not in kept and file not in folders:
                    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)

    def _write(self, name: str, chunks: Iterable[bytes | memoryview]) -> None:
        path = os.path.join(self.folder, name)
        with _open(path + ".part", "wb") as file:
            file.writelines(chunks)
        os.replace(path + ".part", path)

    def _spend(self, size: int) -> None:
        self.size += size
        if self.size > MAX_BYTES:
            raise Unreadable(f"more than {MAX_BYTES} bytes")

    # -- kinds: each takes the value and the variable's name, and gives the rest of the record

    def _value(self, value: Any, name: str) -> dict[str, Any]:
        encoded = Encoder().encode(value)
        if isinstance(encoded, dict) and "unreadable" in encoded:
            raise Unreadable("not a number, a text or a collection of them")
        return {"value": encoded}

    def _tensor(self, value: Any, name: str) -> dict[str, Any]:
        file = self._save(name, {"value": value})
        graph = bool(getattr(value, "requires_grad", False) or getattr(value, "grad_fn", None) is not None)
        return {
            "file": file,
            "dtype": dtype_of(ensure_dense(value)),
            "device": str(getattr(value, "device", "cpu")),
            "in_graph": graph,
        }

    def _pictures(self, value: Any, name: str) -> dict[str, Any]:
        folder = f"{name}.pictures"
        os.makedirs(os.path.join(self.folder, folder), exist_ok=True)
        node = self._node(value, folder, count := [0])
        if not count[0] and "unreadable" in node:
            raise Unreadable(node["unreadable"])
        return {"folder": folder, "pictures": node}

    def _node(self, value: Any, folder: str, count: list[int], depth: int = 0) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} deep")
        if not is_of(value, "PIL.Image", "Image") and not is_array(value) and hasattr(value, "images"):
            value = value.images  # what a pipeline of diffusers returns is a mapping, too
        if is_array(value) and (len(value.shape) >= 4 or dtype_of(value) == "object"):
            value = value.tolist() if dtype_of(value) == "object" else list(value)
        if (table := as_table(value)) is not None:
            value = dict(zip(table.columns, zip(*table.rows, strict=True), strict=True))
        elif (labelled := as_labelled(value)) is not None:
            value = dict(zip(labelled.labels, labelled.items, strict=True)) if labelled.labels else labelled.items
        if isinstance(value, Mapping):
            pairs = [[Encoder().encode(key), self._node(item, folder, count, depth + 1)] for key, item in value.items()]
            return {"mapping": pairs}
        if isinstance(value, Sequence | ValuesView) and not isinstance(value, str | bytes | bytearray):
            return {"list": [self._node(item, folder, count, depth + 1) for item in value]}
        try:
            width, height, pixels = pixels_of(value)
        except Closed:
            raise
        except Unreadable as error:
            return {"unreadable": str(error)}
        if count[0] >= MAX_PICTURES:
            raise Unreadable(f"more than {MAX_PICTURES} pictures")
        file = f"{digest(width, height, pixels)}.png"
        path = os.path.join(folder, file)
        if not os.path.exists(os.path.join(self.folder, path)):
            self._write(path, [png(width, height, pixels)])
        self._spend(self._size_of(path))
        count[0] += 1
        return {"file": file}

    def _module(self, value: Any, name: str) -> dict[str, Any]:
        if not is_of(value, "torch.nn", "Module"):
            raise Unreadable("not a torch.nn.Module")
        kind = {"class": type(value).__name__, "training": bool(value.training)}
        tensors: dict[str, Any] = {}
        parameters = []
        for key, parameter in value.named_parameters():
            facts = {"name": key, "trainable": parameter.requires_grad, "identity": id(parameter)}
            parameters.append(facts)
            if parameter.grad is not None:
                tensors["gradient:" + key] = parameter.grad
            elif not parameter.requires_grad and parameter.nbytes > LARGE:
                shape = [int(length) for length in parameter.shape]
                facts |= {"dtype": dtype_of(parameter), "shape": shape, "sha256": self._digest_of(parameter)}
                continue
            tensors["value:" + key] = parameter
        return {"file": self._save(name, tensors), "parameters": parameters, **kind}

    def _digest_of(self, parameter: Any) -> str:
        """Of a large parameter, which is gone through again only if PyTorch has counted a change."""
        known, state, digest = self.digests.get(id(parameter), (None, (-1, -1), ""))
        now = -1, parameter.data_ptr()
        if not parameter.is_inference():
            now = parameter._version, parameter.data_ptr()
        if known is None or known() is not parameter or state != now or now[0] < 0:
            digest = hashlib.sha256(bytes_of(ensure_dense(parameter))).hexdigest()
            self.digests[id(parameter)] = weakref.ref(parameter), now, digest
        return digest

    def _optimizer(self, value: Any, name: str) -> dict[str, Any]:
        if not is_of(value, "torch.optim", "Optimizer"):
            raise Unreadable("not a torch.optim.Optimizer")
        parameters = [id(parameter) for group in value.param_groups for parameter in group["params"]]
        options = [{key: item for key, item in group.items() if key != "params"} for group in value.param_groups]
        return {"class": type(value).__name__, "parameters": parameters, "options": Encoder().encode(options)}

    def _save(self, name: str, tensors: Mapping[str, Any]) -> str:
        """Have tensors or arrays in a safetensors file, each in its own dtype; its name, by which it is known if it is there.

        In full: merged adapters and optimizers of one's own get past PyTorch's count of changes.
        """
        header: dict[str, Any] = {}
        start = 0
        dense = {key: ensure_dense(tensor) for key, tensor in tensors.items()}
        for key, tensor in dense.items():
            end = start + int(tensor.nbytes)
            self._spend(end - start)
            shape = [int(length) for length in tensor.shape]
            header[key] = {"dtype": SAFETENSORS[dtype_of(tensor)], "shape": shape, "data_offsets": [start, end]}
            start = end
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        head = [struct.pack("<Q", len(text)), text]
        digest = hashlib.sha256()
        for chunk in chain(head, map(bytes_of, dense.values())):
            digest.update(chunk)
        file = f"{name}.{digest.hexdigest()}.safetensors"
        if not self._size_of(file):
            self._write(file, chain(head, map(bytes_of, dense.values())))
        return file


_MOMENTS = ("first", "since", "until", "gone")


def _is_of_kind(kind: str, value: Any) -> bool:
    """Whether it could be meant for the variable; what is not is another use of its name."""
    if kind == "module":
        return is_of(value, "torch.nn", "Module")
    if kind == "optimizer":
        return is_of(value, "torch.optim", "Optimizer")
    if kind == "tensor":
        return is_array(value) or as_number(value) is not None
    if kind == "pictures":
        return not isinstance(value, str | bytes | int | float)
    return not callable(value) and not isinstance(value, type(os))


def _files_of(record: Mapping[str, Any]) -> list[str]:
    """The data files that a record names."""
    if "pictures" not in record:
        return [record["file"]] if "file" in record else []
    files, nodes = [], [record["pictures"]]
    for node in nodes:  # which grows meanwhile
        nodes += node.get("list", ()) or [item for _, item in node.get("mapping", ())]
        files += [os.path.join(record["folder"], node["file"])] if "file" in node else []
    return files


_collector: Collector


def prepare(spec: Mapping[str, str], folder: str, lesson: str = "") -> None:
    """Set up the collection of the variables of ``spec`` into ``folder``, an absolute path.

    ``lesson`` is the code of the lesson's watchers.
    """
    global _collector
    watchers.begin(lesson)  # what is imported already
    sys.meta_path.insert(0, watchers.Imports())
    _collector = Collector(spec, folder)


def collect(final: bool, cell: int) -> None:
    """Collect from the namespace of the caller, which is the notebook's, after the code cell of this number."""
    watchers.watch()
    _collector.collect(sys._getframe(1).f_globals, cell, final)
    watchers.tell_of_shutdown()
