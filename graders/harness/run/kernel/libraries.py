"""What a value of some library is: a table, labelled items, a record or a number, as the standard library would have it.

The libraries are looked up among the imported modules, because a value of theirs cannot exist before they are imported.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import sys
import types
from collections.abc import Sequence
from typing import Any, NamedTuple


class Labelled(NamedTuple):
    """Items in order, and what each is called there; None where they are only numbered from 0."""

    items: Sequence[Any]
    labels: Sequence[Any] | None


class Table(NamedTuple):
    """Rows of cells, one for each column, and what each row is called there."""

    columns: Sequence[Any]
    rows: Sequence[Sequence[Any]]
    labels: Sequence[Any] | None


def is_of(value: Any, module: str, *names: str) -> bool:
    """Whether the value's type is, or derives from, a class of a module that is imported already."""
    home = sys.modules.get(module)
    for name in names:  # a loop, because this is asked ten thousand times of a model
        wanted = getattr(home, name, None)
        if isinstance(wanted, type) and issubclass(type(value), wanted):
            return True
    return False


def is_array(value: Any) -> bool:
    """Whether it is an array of NumPy's or a tensor of PyTorch's."""
    return is_of(value, "numpy", "ndarray") or is_of(value, "torch", "Tensor")


def type_of(value: Any) -> str:
    """The name of its type with its module, as people know it: ``pandas.Series``, and ``list`` for what needs no import."""
    kind = type(value)
    module, name = str(kind.__module__), str(kind.__qualname__)
    if module in ("builtins", "__main__"):
        return name[:200]
    parts = module.split(".")
    packages = (".".join(parts[:end]) for end in range(1, len(parts)))
    known = next((package for package in packages if getattr(sys.modules.get(package), name, None) is kind), module)
    return f"{known}.{name}"[:200]


_TABULAR = {"pandas": ("DataFrame", "Series", "Index"), "polars": ("DataFrame", "Series")}
_TABULAR |= {"pyarrow": ("Table", "RecordBatch"), "datasets": ("Dataset",)}


def cells_of(value: Any) -> int:
    """How many cells a table or a series has; 0 for others. It is known before they are looked at."""
    tabular = any(is_of(value, module, *names) for module, names in _TABULAR.items())
    return math.prod(value.shape) if tabular else 0


def as_table(value: Any) -> Table | None:
    """The rows of a table of pandas, polars, PyArrow or datasets, or of a NumPy array with named fields; None for others."""
    if is_of(value, "pandas", "DataFrame"):
        if any(name is not None for name in value.index.names):
            value = value.reset_index(allow_duplicates=True)
        rows = list(value.itertuples(index=False, name=None))
        return Table(value.columns.tolist(), rows, None if _is_numbered(value.index) else value.index.tolist())
    if is_of(value, "polars", "DataFrame"):
        return Table(value.columns, value.rows(), None)
    columns = None
    if is_of(value, "pyarrow", "Table", "RecordBatch"):
        columns = value.to_pydict()
    elif is_of(value, "datasets", "Dataset"):
        columns = value.to_dict()
    if columns is not None:
        return Table(list(columns), list(zip(*columns.values(), strict=False)), None)
    if is_of(value, "numpy", "ndarray") and value.dtype.names and value.ndim == 1:
        return Table(value.dtype.names, value.tolist(), None)
    return None


def as_labelled(value: Any) -> Labelled | None:
    """The items of a series or an index of pandas or polars; None for others."""
    if is_of(value, "pandas", "Series"):
        return Labelled(value.tolist(), None if _is_numbered(value.index) else value.index.tolist())
    if is_of(value, "pandas", "Index"):
        return Labelled(value.tolist(), None)
    if is_of(value, "polars", "Series"):
        return Labelled(value.to_list(), None)
    return None


def _is_numbered(index: Any) -> bool:
    """Whether an index of pandas' is the one that it gives to what nobody has labelled."""
    return is_of(index, "pandas", "RangeIndex") and (index.start, index.step) == (0, 1)


def as_record(value: Any) -> dict[str, Any] | None:
    """The fields of a data class, of attrs, of a namespace or of a NumPy record; None for others."""
    if isinstance(value, types.SimpleNamespace):
        return dict(vars(value))
    if is_of(value, "numpy", "void") and value.dtype.names:
        return dict(zip(value.dtype.names, value.item(), strict=True))
    names = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(type(value)) else None
    if hasattr(type(value), "__attrs_attrs__"):
        names = [field.name for field in type(value).__attrs_attrs__]
    return None if names is None else {name: getattr(value, name, None) for name in names}


def as_number(value: Any) -> int | float | None:
    """The number that a fraction, a decimal or another library's number is equal to, or comes nearest to; None for others."""
    kind = type(value)
    try:
        if hasattr(kind, "__index__"):
            return operator.index(value)
        if not hasattr(kind, "__float__") or getattr(value, "imag", 0) != 0:
            return None
        near = float(value)
        if math.isfinite(near) and abs(near) < 2.0**63 and bool((whole := int(value)) == value):
            return whole
        return near
    except Exception:  # a number of the notebook's own may refuse, and an expression may stand for none
        return None
