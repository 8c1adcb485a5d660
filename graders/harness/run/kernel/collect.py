"""What a notebook's variables hold, written down as data from inside its kernel.

The text of this one file is executed in the kernel before the notebook's first cell, as a module of its own: it needs
the standard library only, and shares no name with the notebook. NumPy, PyTorch, pandas, Pillow and PEFT are looked up
among the imported modules, because a value of theirs cannot exist before they are imported.

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

import contextlib
import ctypes
import functools
import gc
import hashlib
import importlib.machinery
import json
import math
import os
import shutil
import struct
import sys
import time
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence, Set, ValuesView
from itertools import chain
from typing import Any

MAX_BYTES = 1 << 30
"""Everything that is kept of one run, in bytes."""
LARGE = 1 << 19
"""Bytes above which of a frozen parameter only a digest is kept: no matrix of an adapter has as many."""
MAX_ELEMENTS = 100_000
"""Numbers, strings and containers in one variable of kind ``value``."""
MAX_CHARACTERS = 2_000_000
"""Characters of text in one variable of kind ``value``."""
MAX_DEPTH = 8
MAX_PICTURES = 500
MAX_PIXELS = 4096 * 4096
MAX_CONFIGS = 100
MAX_PAINTINGS = 500
NOISE = 128
"""Numbers that are kept of the noise that a picture starts from."""
CHEAP = 0.05
"""Seconds: a variable whose last reading took no longer is read again after every cell."""
PATIENCE = 10
"""Any other is read again before the end only when this many times the duration of its last reading has passed."""

_open = open  # the notebook may replace the built-in one

_SAFETENSORS = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "bool": "BOOL", "uint8": "U8",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
}  # fmt: skip


class Unreadable(Exception):
    """A value that is not data of the kind asked for; the message says why."""


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
            self.unets = max(self.unets, unets())  # every time: they may be gone when the next cell has run
            for name, kind in self.spec.items():
                if final or self._due(name):
                    started = time.monotonic()
                    self._record(name, kind, namespace)
                    self.costs[name] = (time.monotonic(), time.monotonic() - started)
            if final or self._due(""):
                started = time.monotonic()
                session = {"device": device(), "unets_at_once": self.unets, "peak_gpu_memory_bytes": peak_gpu_memory()}
                seen = {"lora_configs": _lora_configs(), "paintings": _painted, "backward_passes": _passes}
                self._write("session.json", [json.dumps({**session, **seen}).encode()])
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
                record = {"unreadable": _type(namespace[name]), "reason": reason[:300]}
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
            "dtype": _dtype(value),
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
        if not _is(value, "PIL.Image", "Image") and not _is_array(value) and hasattr(value, "images"):
            value = value.images  # what a pipeline of diffusers returns is a mapping, too
        if _is_array(value) and len(value.shape) >= 4:
            value = list(value)
        if isinstance(value, Mapping):
            pairs = [[Encoder().encode(key), self._node(item, folder, count, depth + 1)] for key, item in value.items()]
            return {"mapping": pairs}
        if isinstance(value, Sequence | ValuesView) and not isinstance(value, str | bytes | bytearray):
            return {"list": [self._node(item, folder, count, depth + 1) for item in value]}
        try:
            width, height, pixels = _pixels(value)
        except Unreadable as error:
            return {"unreadable": str(error)}
        if count[0] >= MAX_PICTURES:
            raise Unreadable(f"more than {MAX_PICTURES} pictures")
        content = _png(width, height, pixels)
        self._spend(len(content))
        name = f"{count[0]:04d}.png"
        self._write(os.path.join(folder, name), [content])
        count[0] += 1
        return {"file": name}

    def _module(self, value: Any, data: str) -> dict[str, Any]:
        if not _is(value, "torch.nn", "Module"):
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
                digest = hashlib.sha256(_bytes(_ensure_dense(parameter))).hexdigest()
                facts |= {"dtype": _dtype(parameter), "shape": shape, "sha256": digest}
                continue
            tensors["value:" + name] = parameter
        self._save(data + ".safetensors", tensors)
        kind = {"class": type(value).__name__, "training": bool(value.training)}
        return {"file": data + ".safetensors", **kind, "parameters": parameters}

    def _optimizer(self, value: Any, data: str) -> dict[str, Any]:
        if not _is(value, "torch.optim", "Optimizer"):
            raise Unreadable("not a torch.optim.Optimizer")
        parameters = [id(parameter) for group in value.param_groups for parameter in group["params"]]
        options = [{key: item for key, item in group.items() if key != "params"} for group in value.param_groups]
        return {"class": type(value).__name__, "parameters": parameters, "options": Encoder().encode(options)}

    def _save(self, name: str, tensors: Mapping[str, Any]) -> None:
        """Write tensors or arrays to a safetensors file, each in its own dtype."""
        header: dict[str, Any] = {}
        start = 0
        for key, tensor in tensors.items():
            end = start + int(_ensure_dense(tensor).nbytes)
            self._spend(end - start)
            shape = [int(length) for length in tensor.shape]
            header[key] = {"dtype": _SAFETENSORS[_dtype(tensor)], "shape": shape, "data_offsets": [start, end]}
            start = end
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        head = [struct.pack("<Q", len(text)), text]
        self._write(name, chain(head, (_bytes(tensor) for tensor in tensors.values())))


class Encoder:
    """Turns one value into tagged JSON, within the caps on elements, characters and depth."""

    def __init__(self) -> None:
        """The caps are for everything that this encoder is given."""
        self.elements = MAX_ELEMENTS
        self.characters = MAX_CHARACTERS

    def encode(self, value: Any, depth: int = 0) -> Any:
        """The value as tagged JSON; :class:`Unreadable` beyond a cap, ``{"unreadable": type}`` for other types."""
        self._spend(1)
        if depth > MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} deep")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if isinstance(value, str):
            self.characters -= len(value)
            if self.characters < 0:
                raise Unreadable(f"more than {MAX_CHARACTERS} characters")
            return str(value)
        if isinstance(value, int):
            if value.bit_length() > 4096:
                raise Unreadable("an integer of more than 4096 bits")
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if _is(value, "pandas", "DataFrame"):
            named = any(name is not None for name in value.index.names)
            return self.encode((value.reset_index() if named else value).to_dict("records"), depth)
        if _is(value, "pandas", "Series", "Index"):
            return self.encode(value.tolist(), depth)
        if _is(value, "numpy", "generic"):
            item = value.item()
            return {"unreadable": _type(value)} if type(item) is type(value) else self.encode(item, depth)
        if _is_array(value):
            return self._array(value, depth)
        return self._container(value, depth)

    def _array(self, value: Any, depth: int) -> Any:
        size = math.prod(value.shape)
        if size > self.elements:
            raise Unreadable(f"an array of {size} elements")
        content = (value.detach().cpu() if _is(value, "torch", "Tensor") else value).tolist()
        return {"array": self.encode(content, depth + 1)} if len(value.shape) else self.encode(content, depth + 1)

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            pairs = [[self.encode(key, depth + 1), self.encode(item, depth + 1)] for key, item in value.items()]
            return {"mapping": pairs}
        if isinstance(value, bytes | bytearray | memoryview):
            return {"unreadable": _type(value)}
        if isinstance(value, Set):
            return {"set": [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, tuple):
            return {"tuple": [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, Sequence | ValuesView):
            return [self.encode(item, depth + 1) for item in value]
        return {"unreadable": _type(value)}

    def _spend(self, elements: int) -> None:
        self.elements -= elements
        if self.elements < 0:
            raise Unreadable(f"more than {MAX_ELEMENTS} elements")


def _is(value: Any, module: str, *names: str) -> bool:
    """Whether the value's type is, or derives from, a class of a module that is imported already."""
    home = sys.modules.get(module)
    classes = (getattr(home, name, None) for name in names)
    return any(isinstance(wanted, type) and issubclass(type(value), wanted) for wanted in classes)


def _is_array(value: Any) -> bool:
    return _is(value, "numpy", "ndarray") or _is(value, "torch", "Tensor")


def _ensure_dense(value: Any) -> Any:
    """The same value, if it is a tensor or an array whose elements can be written down; :class:`Unreadable` otherwise."""
    if not _is_array(value) and not _is(value, "numpy", "generic"):
        raise Unreadable("not a tensor or an array")
    if _dtype(value) not in _SAFETENSORS or getattr(value, "is_sparse", False):
        raise Unreadable(f"a tensor of type {_dtype(value)}")
    if getattr(value, "is_meta", False):
        raise Unreadable("a tensor on the meta device, which holds no numbers")
    return value


def _type(value: Any) -> str:
    kind = type(value)
    prefix = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    return f"{prefix}{kind.__qualname__}"[:200]


def _dtype(value: Any) -> str:
    """The element type's name without its library: ``float32``."""
    dtype = getattr(value, "dtype", None)
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def _bytes(value: Any) -> bytes:
    """The elements of a tensor or an array in row-major order, little endian."""
    if _is(value, "torch", "Tensor"):
        held = value.detach().cpu().contiguous()
        return ctypes.string_at(held.data_ptr(), held.nbytes) if held.nbytes else b""
    return bytes(value.astype(value.dtype.newbyteorder("<")).tobytes())


def _pixels(value: Any) -> tuple[int, int, bytes]:
    """Width, height and RGB bytes of one picture: Pillow, NumPy or PyTorch; uint8 or float in [0, 1]; HWC or CHW."""
    if _is(value, "PIL.Image", "Image"):
        _check_size(*value.size)
        picture = value.convert("RGB")
        return (*picture.size, picture.tobytes())
    if not _is_array(value):
        raise Unreadable(f"not a picture but of type {_type(value)}")
    if _is(value, "torch", "Tensor"):
        tensor = value.detach().cpu()
        value = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if value.ndim == 3 and value.shape[2] not in (1, 3, 4) and value.shape[0] in (1, 3, 4):
        value = value.transpose(1, 2, 0)
    if value.ndim == 2:
        value = value[:, :, None]
    shape = "x".join(map(str, value.shape))
    if value.ndim != 3 or value.shape[2] not in (1, 3, 4) or not value.size:
        raise Unreadable(f"an array of shape {shape}, which is no picture")
    _check_size(value.shape[1], value.shape[0])
    low, high = value.min(), value.max()
    if value.dtype.kind == "f":
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # also when either is not a number
            raise Unreadable(f"a float picture with values from {low:.3g} to {high:.3g}, not in [0, 1]")
        value = (value.clip(0, 1) * 255).round()
    elif value.dtype.kind not in "iu" or low < 0 or high > 255:
        raise Unreadable(f"a picture of type {value.dtype} with values from {low} to {high}")
    value = value.astype("uint8")[:, :, :3]
    value = value.repeat(3 // value.shape[2], axis=2)
    return value.shape[1], value.shape[0], value.tobytes()


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Unreadable(f"a picture of {width}x{height} pixels")


def _png(width: int, height: int, pixels: bytes) -> bytes:
    """An RGB picture as a PNG file."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + pixels[at : at + 3 * width] for at in range(0, len(pixels), 3 * width))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 3)) + chunk(b"IEND", b"")


def device() -> Any:
    """``cuda`` once PyTorch has touched a GPU, else ``cpu``."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return "cuda" if cuda is not None and cuda.is_initialized() else "cpu"


def peak_gpu_memory() -> int:
    """Bytes that PyTorch has held of a GPU at most, whatever the notebook had of them in use."""
    return int(sys.modules["torch"].cuda.max_memory_reserved()) if device() == "cuda" else 0


def unets() -> int:
    """How many U-Nets there are with numbers in them; those of which only the architecture was built take no memory."""

    wanted = getattr(sys.modules.get(_UNETS), "UNet2DConditionModel", None)
    if not isinstance(wanted, type):
        return 0
    kinds = {wanted, *wanted.__subclasses__()}

    def living() -> int:
        return sum(_has_numbers(item) for item in gc.get_objects() if type(item) in kinds)

    if living() > 1:
        gc.collect()  # what only refers to itself is gone the next time that memory is wanted
    return living()


def _has_numbers(unet: Any) -> bool:
    try:
        return not next(iter(unet.parameters())).is_meta
    except Exception:  # one without parameters, half built, or not what its class says
        return False


_UNETS = "diffusers.models.unets.unet_2d_condition"
_CONFIGS = "peft.tuners.lora.config"
_FIELDS = ("r", "lora_alpha", "target_modules", "lora_dropout", "use_rslora")
_built: list[dict[str, Any]] = []


def watch_lora_configs() -> None:
    """From now on, note every LoRA configuration that is made, if PEFT is imported.

    A configuration is often gone when its cell ends, and with it the α that an adapter was trained with.
    """
    wanted = getattr(sys.modules.get(_CONFIGS), "LoraConfig", None)
    if not isinstance(wanted, type) or hasattr(wanted, "_noted"):
        return
    config_class: Any = wanted
    finish = config_class.__post_init__

    def note(config: Any) -> None:
        finish(config)
        if len(_built) < MAX_CONFIGS:
            _built.append({field: getattr(config, field, None) for field in _FIELDS})

    config_class.__post_init__, config_class._noted = note, True


def _lora_configs() -> list[Any]:
    """Rank, alpha and targets of every LoRA configuration that was seen being made or is alive, in that order."""
    wanted = getattr(sys.modules.get(_CONFIGS), "LoraConfig", None)
    if not isinstance(wanted, type):
        return []
    living = [item for item in gc.get_objects() if issubclass(type(item), wanted)][:MAX_CONFIGS]
    alive = [{field: getattr(config, field, None) for field in _FIELDS} for config in living]
    return [Encoder().encode(fields) for fields in _built + alive]


_PIPELINE = "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion"
_painted: list[tuple[str, list[float]]] = []


def watch_paintings() -> None:
    """From now on, note which noise each picture of a pipeline starts from, if the pipeline is imported.

    Kept are the SHA-256 of the picture's pixels and the first numbers of its noise.
    """
    wanted = getattr(sys.modules.get(_PIPELINE), "StableDiffusionPipeline", None)
    if not isinstance(wanted, type) or hasattr(wanted, "_noted"):
        return
    pipeline_class: Any = wanted
    draw, paint = pipeline_class.prepare_latents, pipeline_class.__call__
    noises: list[Any] = []

    @functools.wraps(draw)
    def note_noise(*arguments: Any, **options: Any) -> Any:
        drawn = draw(*arguments, **options)
        with contextlib.suppress(Exception):  # a pipeline of the notebook's own may draw whatever it likes
            noises[:] = [noise.detach().flatten()[:NOISE].float().cpu().tolist() for noise in drawn]
        return drawn

    @functools.wraps(paint)
    def note_pictures(*arguments: Any, **options: Any) -> Any:
        noises.clear()
        output = paint(*arguments, **options)
        with contextlib.suppress(Exception):  # of what is no picture nothing is noted
            for picture, noise in zip(output[0], noises, strict=True):
                if len(_painted) < MAX_PAINTINGS:
                    _painted.append((digest(*_pixels(picture)), [round(number, 3) for number in noise]))
        return output

    pipeline_class.prepare_latents, pipeline_class.__call__ = note_noise, note_pictures
    pipeline_class._noted = True


def digest(width: int, height: int, pixels: bytes) -> str:
    """What a picture is known by, which has three bytes for each pixel."""
    return hashlib.sha256(f"{width}x{height} ".encode() + pixels).hexdigest()


_passes = 0


def watch_training() -> None:
    """From now on, count the backward passes, if PyTorch is imported."""
    autograd: Any = getattr(sys.modules.get("torch"), "autograd", None)
    backward = getattr(autograd, "backward", None)  # Tensor.backward calls it
    if not callable(backward) or hasattr(autograd, "_noted"):
        return

    @functools.wraps(backward)
    def count(*arguments: Any, **options: Any) -> Any:
        global _passes
        _passes += 1
        return backward(*arguments, **options)

    autograd.backward, autograd._noted = count, True


def watch() -> None:
    """Note from here on what is gone when the notebook has run, of the libraries that were imported so far."""
    watch_lora_configs()
    watch_paintings()
    watch_training()


class Imports:
    """Finds nothing itself, but has :func:`watch` called as soon as a module that is watched has been imported.

    A cell may import a pipeline and paint with it at once.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """What the other finders know of the module; its loader calls :func:`watch` once, and is then as it was."""
        if name not in ("torch", _CONFIGS, _PIPELINE):
            return None
        others = (getattr(finder, "find_spec", None) for finder in list(sys.meta_path) if finder is not self)
        found = next((spec for find in others if find is not None and (spec := find(name, path, target))), None)
        if found is not None:
            with contextlib.suppress(Exception):  # a loader of the notebook's own may be anything
                self._add_watch(found.loader)
        return found

    @staticmethod
    def _add_watch(loader: Any) -> None:
        load = loader.exec_module

        def load_and_watch(module: Any) -> None:
            with contextlib.suppress(AttributeError):
                del loader.exec_module
            load(module)
            with contextlib.suppress(Exception):  # the import is the notebook's, and goes on
                watch()

        loader.exec_module = load_and_watch


_collector: Collector


def prepare(spec: Mapping[str, str], folder: str) -> None:
    """Set up the collection of the variables of ``spec`` into ``folder``, an absolute path."""
    global _collector
    sys.meta_path.insert(0, Imports())
    _collector = Collector(spec, folder)


def collect(final: bool) -> None:
    """Collect from the namespace of the caller, which is the notebook's."""
    watch()
    _collector.collect(sys._getframe(1).f_globals, final)
