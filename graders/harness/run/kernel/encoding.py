"""Values as data: numbers, texts and collections of them as tagged JSON, the elements of tensors as bytes."""

from __future__ import annotations

import ctypes
import math
import os
import struct
import sys
from collections.abc import Mapping, Sequence, Set, ValuesView
from typing import Any

from .libraries import Labelled, Table, as_labelled, as_number, as_record, as_table, cells_of, is_array, is_of, type_of

MAX_ELEMENTS = 100_000
"""Numbers, strings and containers in one variable of kind ``value``."""
MAX_CHARACTERS = 2_000_000
"""Characters of text in one variable of kind ``value``."""
MAX_DEPTH = 8
MAX_COLUMNS = 100
MAX_LABELS = 500
"""Of labels of rows or items: more are those of what is left of something larger, and are left out."""

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
        self._check_size(cells_of(value))
        if (table := as_table(value)) is not None:
            return self._table(table, type_of(value), depth)
        if (labelled := as_labelled(value)) is not None:
            return self._items(labelled, type_of(value), depth)
        if is_of(value, "numpy", "generic") and type(item := value.item()) is not type(value) and not value.dtype.names:
            return self.encode(item, depth)
        if is_array(value):
            return self._array(value, depth)
        return self._container(value, depth)

    def _array(self, value: Any, depth: int) -> Any:
        self._check_size(math.prod(value.shape))
        content = (value.detach().cpu() if is_of(value, "torch", "Tensor") else value).tolist()
        return (
            self._items(Labelled(content, None), type_of(value), depth)
            if len(value.shape)
            else self.encode(content, depth + 1)
        )

    def _items(self, labelled: Labelled, kind: str, depth: int) -> Any:
        self._check_size(len(labelled.items))
        items = [self.encode(item, depth + 1) for item in labelled.items]
        return {"items": [kind, self._labels(labelled.labels, depth), items]}

    def _table(self, table: Table, kind: str, depth: int) -> Any:
        self._check_size(len(table.rows) * len(table.columns))
        if len(table.columns) > MAX_COLUMNS:
            raise Unreadable(f"a table of more than {MAX_COLUMNS} columns")
        columns = [self.encode(column, depth + 1) for column in table.columns]
        rows = [[self.encode(cell, depth + 1) for cell in row] for row in table.rows]
        return {"table": [kind, self._labels(table.labels, depth), columns, rows]}

    def _labels(self, labels: Sequence[Any] | None, depth: int) -> Any:
        """None also for so many labels that nobody has given them one by one."""
        short = labels is not None and len(labels) <= MAX_LABELS
        return [self.encode(label, depth + 1) for label in labels or ()] if short else None

    def _check_size(self, size: int) -> None:
        if size > self.elements:
            raise Unreadable(f"an array of {size} elements")

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            pairs = [[self.encode(key, depth + 1), self.encode(item, depth + 1)] for key, item in value.items()]
            return {"mapping": pairs}
        if isinstance(value, bytes | bytearray | memoryview):
            return {"unreadable": type_of(value)}
        if isinstance(value, Set):
            return {"set": [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, tuple):
            items = [self.encode(item, depth + 1) for item in value]
            names = getattr(type(value), "_fields", None)
            return {"tuple": items} if names is None else {"record": [list(map(str, names)), items]}
        if isinstance(value, Sequence | ValuesView):
            return [self.encode(item, depth + 1) for item in value]
        if (fields := as_record(value)) is not None:
            return self._container(fields, depth)
        if (number := as_number(value)) is not None:
            return self.encode(number, depth)
        if hasattr(type(value), "__array__") and "numpy" in sys.modules:
            return self._foreign_array(value, depth)
        return {"unreadable": type_of(value)}

    def _foreign_array(self, value: Any, depth: int) -> Any:
        """An array of a library that knows how to make it one of NumPy's."""
        array = sys.modules["numpy"].asarray(value)
        plain = is_array(array) and array.dtype.kind in "biuf"
        return self._array(array, depth) if plain else {"unreadable": type_of(value)}

    def _spend(self, elements: int) -> None:
        self.elements -= elements
        if self.elements < 0:
            raise Unreadable(f"more than {MAX_ELEMENTS} elements")


class Scalar:
    """A number as a tensor without dimensions."""

    dtype, shape, nbytes = "float64", (), 8

    def __init__(self, number: float) -> None:
        self.number = number


def ensure_dense(value: Any) -> Any:
    """The same value, if it is a tensor or an array whose elements can be written down; :class:`Unreadable` otherwise.

    A number of Python's or of another library is a tensor without dimensions.
    """
    if not is_array(value) and not is_of(value, "numpy", "generic"):
        if not isinstance(value, bool) and (number := as_number(value)) is not None:
            return Scalar(float(number))
        raise Unreadable("not a tensor or an array")
    if is_of(value, "numpy", "ndarray", "floating") and value.dtype == sys.modules["numpy"].longdouble:
        value = value.astype("float64")
    if dtype_of(value) not in SAFETENSORS or getattr(value, "is_sparse", False):
        raise Unreadable(f"a tensor of type {dtype_of(value)}")
    if getattr(value, "is_meta", False):
        raise Unreadable("a tensor on the meta device, which holds no numbers")
    return value


def dtype_of(value: Any) -> str:
    """The element type's name without its library: ``float32``."""
    dtype = getattr(value, "dtype", None)
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def bytes_of(value: Any) -> bytes | memoryview:
    """The elements of a tensor or an array in row-major order, little endian: of a tensor its own, without a copy of them."""
    if isinstance(value, Scalar):
        return struct.pack("<d", value.number)
    if is_of(value, "torch", "Tensor"):
        held = value.detach().cpu().resolve_conj().resolve_neg().contiguous()  # whose bits say what its bytes do not
        if held.nbytes and not held.data_ptr():
            raise Unreadable("a tensor without numbers of its own")
        if not held.nbytes:
            return b""
        there: Any = (ctypes.c_char * held.nbytes).from_address(held.data_ptr())
        there.tensor = held  # which stays for as long as anybody looks at its bytes
        return memoryview(there)
    return bytes(value.astype(value.dtype.newbyteorder("<")).tobytes())
