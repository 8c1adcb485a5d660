"""Values as data: numbers, texts and collections of them as tagged JSON, the elements of tensors as bytes."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Mapping, Sequence, Set, ValuesView
from typing import Any

MAX_ELEMENTS = 100_000
"""Numbers, strings and containers in one variable of kind ``value``."""
MAX_CHARACTERS = 2_000_000
"""Characters of text in one variable of kind ``value``."""
MAX_DEPTH = 8

SAFETENSORS = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "bool": "BOOL", "uint8": "U8",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
}  # fmt: skip


class Unreadable(Exception):
    """A value that is not data of the kind asked for; the message says why."""


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
        if is_of(value, "pandas", "DataFrame"):
            named = any(name is not None for name in value.index.names)
            return self.encode((value.reset_index() if named else value).to_dict("records"), depth)
        if is_of(value, "pandas", "Series", "Index"):
            return self.encode(value.tolist(), depth)
        if is_of(value, "numpy", "generic"):
            item = value.item()
            return {"unreadable": type_of(value)} if type(item) is type(value) else self.encode(item, depth)
        if is_array(value):
            return self._array(value, depth)
        return self._container(value, depth)

    def _array(self, value: Any, depth: int) -> Any:
        size = math.prod(value.shape)
        if size > self.elements:
            raise Unreadable(f"an array of {size} elements")
        content = (value.detach().cpu() if is_of(value, "torch", "Tensor") else value).tolist()
        return {"array": self.encode(content, depth + 1)} if len(value.shape) else self.encode(content, depth + 1)

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            pairs = [[self.encode(key, depth + 1), self.encode(item, depth + 1)] for key, item in value.items()]
            return {"mapping": pairs}
        if isinstance(value, bytes | bytearray | memoryview):
            return {"unreadable": type_of(value)}
        if isinstance(value, Set):
            return {"set": [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, tuple):
            return {"tuple": [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, Sequence | ValuesView):
            return [self.encode(item, depth + 1) for item in value]
        return {"unreadable": type_of(value)}

    def _spend(self, elements: int) -> None:
        self.elements -= elements
        if self.elements < 0:
            raise Unreadable(f"more than {MAX_ELEMENTS} elements")


def is_of(value: Any, module: str, *names: str) -> bool:
    """Whether the value's type is, or derives from, a class of a module that is imported already."""
    home = sys.modules.get(module)
    classes = (getattr(home, name, None) for name in names)
    return any(isinstance(wanted, type) and issubclass(type(value), wanted) for wanted in classes)


def is_array(value: Any) -> bool:
    """Whether it is an array of NumPy's or a tensor of PyTorch's."""
    return is_of(value, "numpy", "ndarray") or is_of(value, "torch", "Tensor")


def ensure_dense(value: Any) -> Any:
    """The same value, if it is a tensor or an array whose elements can be written down; :class:`Unreadable` otherwise."""
    if not is_array(value) and not is_of(value, "numpy", "generic"):
        raise Unreadable("not a tensor or an array")
    if dtype_of(value) not in SAFETENSORS or getattr(value, "is_sparse", False):
        raise Unreadable(f"a tensor of type {dtype_of(value)}")
    if getattr(value, "is_meta", False):
        raise Unreadable("a tensor on the meta device, which holds no numbers")
    return value


def type_of(value: Any) -> str:
    """The name of its type, as people know it."""
    kind = type(value)
    prefix = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    return f"{prefix}{kind.__qualname__}"[:200]


def dtype_of(value: Any) -> str:
    """The element type's name without its library: ``float32``."""
    dtype = getattr(value, "dtype", None)
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def bytes_of(value: Any) -> bytes:
    """The elements of a tensor or an array in row-major order, little endian."""
    if is_of(value, "torch", "Tensor"):
        held = value.detach().cpu().contiguous()
        return ctypes.string_at(held.data_ptr(), held.nbytes) if held.nbytes else b""
    return bytes(value.astype(value.dtype.newbyteorder("<")).tobytes())
