"""Tagged JSON, as the collector writes it, back to Python values; every byte of it may be an attacker's."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_PARTS = 1_000_000
"""Brackets and commas of one JSON record; of 100,000 elements, as many as the collector keeps, it writes fewer."""
MAX_KEY = 500
"""Characters of a text that is a key, or an item of a set: names of layers have up to 100."""
MAX_COLUMNS = 100
MAX_LABELS = 500
"""Columns of a table, and labels of its rows or of a series: as many as the collector keeps."""
MAX_TUPLE = 8
"""Items of a tuple that is a key."""
_MAX_DEPTH = 32
_CHUNK = 1 << 16


class Malformed(ValueError):
    """Bytes that are not what the collector writes."""


@dataclass
class Budget:
    """What reading everything that a run left may take, in total: what is spent on one variable is gone for the next.

    Elements are numbers, texts and collections. Keys, and items of sets, are counted apart from those that are texts:
    numbers and tuples can be chosen to have the same hash, and take a time that grows with the square of their number. 1000
    of them took 10 ms. ``deadline`` is a time of :func:`time.monotonic`.
    """

    elements: int = 400_000
    texts: int = 20_000
    keys: int = 1_000
    tensors: int = 600 << 20
    """Bytes: a little more than an adapted U-Net of Stable Diffusion 1.5 has in trained parameters and their gradients, at
    rank 128 on every attention layer."""
    pictures: int = 500
    pixels: int = 64_000_000
    deadline: float = field(default_factory=lambda: time.monotonic() + 120.0)
    """The largest run folder within the other limits took 4 s on two free cores."""

    def spend(self, what: str, amount: int = 1) -> None:
        """Take an amount off; :class:`Malformed` if there is not so much left."""
        left = getattr(self, what) - amount
        setattr(self, what, left)
        if left < 0:
            raise Malformed(f"there are too many {_NAMES.get(what, what)}")
        if time.monotonic() > self.deadline:
            raise Malformed("reading all that the notebook left takes too long")


_NAMES = {
    "elements": "numbers, texts and collections in it",
    "texts": "names in it",
    "keys": "keys in it",
    "tensors": "bytes of tensors",
    "pixels": "pixels",
}


@dataclass(frozen=True)
class Opaque:
    """Stands for an item that is no data, inside a collection that is; equal to nothing a check asks for."""

    type_name: str


class Items(list[Any]):
    """Items that came out of something else than a list: of an array, a series or, as a dict for each row, of a table.

    ``type_name`` says of what; ``labels`` what each item is called there, None where they are only numbered.
    """

    def __init__(self, items: Iterable[Any], type_name: str, labels: Sequence[Any] | None = None) -> None:
        super().__init__(items)
        self.type_name, self.labels = type_name, labels


class Table(Items):
    """The rows of a table, each a dict."""


class Record(tuple[Any, ...]):
    """A tuple whose items have names."""

    names: tuple[str, ...]


def parse(content: bytes) -> Any:
    """JSON text to objects; :class:`Malformed` if it is none, or has more parts than :data:`MAX_PARTS`."""
    if _parts(content) > MAX_PARTS and _parts_outside_of_texts(content) > MAX_PARTS:
        raise Malformed("it has too many parts")
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON ({type(error).__name__})") from None


def _parts_outside_of_texts(content: bytes) -> int:
    """The parts of JSON that are not within its texts, counted piece by piece, so that it takes no memory."""
    content = content.replace(b"\\\\", b"").replace(b'\\"', b"")  # then every quote begins or ends a text
    count = inside = 0
    for start in range(0, len(content), _CHUNK):
        pieces = content[start : start + _CHUNK].split(b'"')
        count += _parts(b"".join(pieces[inside::2]))
        inside = (inside + len(pieces) - 1) % 2
    return count


def _parts(content: bytes) -> int:
    return sum(map(content.count, (b"[", b"{", b",")))


def parse_object(content: bytes) -> dict[str, Any]:
    """JSON text to the object that it holds; :class:`Malformed` if it holds anything else."""
    document = parse(content)
    if not isinstance(document, dict):
        raise Malformed("not a JSON object")
    return document


def decode(encoded: Any, budget: Budget | None = None, depth: int = 0) -> Any:
    """The value: arrays, series and tables as :class:`Items`, keys as :func:`normalise` gives them; or :class:`Malformed`."""
    budget = budget or Budget()
    budget.spend("elements")
    if depth > _MAX_DEPTH:
        raise Malformed("nested too deeply")
    if isinstance(encoded, int) and encoded.bit_length() > 64:
        raise Malformed("an integer of more than 64 bits")
    if encoded is None or isinstance(encoded, bool | int | float):
        return encoded
    if isinstance(encoded, str):
        return clean(encoded)
    if isinstance(encoded, list):
        return [decode(item, budget, depth + 1) for item in encoded]
    if not isinstance(encoded, dict) or len(encoded) != 1:
        raise Malformed("an object without a tag")
    [(tag, content)] = encoded.items()
    if tag == "float" and content in ("nan", "inf", "-inf"):
        return float(content)
    if tag == "unreadable" and isinstance(content, str):
        return Opaque(one_line(content, 200))
    if not isinstance(content, list):
        raise Malformed("a tag with the wrong content")
    if tag == "mapping":
        return {key: decode(item, budget, depth + 1) for key, item in pairs(content, budget, depth)}
    if tag == "set":
        return frozenset(_key(item, budget, depth + 1) for item in content)
    if tag == "tuple":
        return tuple(decode(item, budget, depth + 1) for item in content)
    if tag == "record" and len(content) == 2:
        return _record(content[0], content[1], budget, depth)
    if tag == "items" and len(content) == 3 and isinstance(content[2], list):
        kind, labels, items = content
        return Items([decode(item, budget, depth + 1) for item in items], *_called(kind, labels, items, budget, depth))
    if tag == "table" and len(content) == 4:
        kind, labels, columns, rows = content
        return _table(columns, rows, budget, depth, *_called(kind, labels, rows, budget, depth))
    raise Malformed("an unknown tag")


def _record(names: Any, items: Any, budget: Budget, depth: int) -> Record:
    if not isinstance(names, list) or not isinstance(items, list) or len(names) != len(items):
        raise Malformed("a record whose fields have no names")
    record = Record(decode(item, budget, depth + 1) for item in items)
    record.names = tuple(one_line(str(name), MAX_KEY) for name in names[:MAX_COLUMNS])
    return record


def _table(columns: Any, rows: Any, budget: Budget, depth: int, kind: str, labels: list[Hashable] | None) -> Table:
    if not isinstance(columns, list) or not isinstance(rows, list) or len(columns) > MAX_COLUMNS:
        raise Malformed("a table of no rows and columns")
    names = [normalise(_key(column, budget, depth + 1)) for column in columns]
    if any(not isinstance(row, list) or len(row) != len(names) for row in rows):
        raise Malformed("a table with rows of another length")
    decoded = ([decode(cell, budget, depth + 1) for cell in row] for row in rows)
    return Table([dict(zip(names, row, strict=True)) for row in decoded], kind, labels)


def _called(kind: Any, labels: Any, items: Any, budget: Budget, depth: int) -> tuple[str, list[Hashable] | None]:
    """The name of a type, and the labels of its items."""
    if labels is None:
        return one_line(str(kind), 200), None
    if (
        not isinstance(labels, list)
        or not isinstance(items, list)
        or len(labels) != len(items)
        or len(labels) > MAX_LABELS
    ):
        raise Malformed("items with other labels")
    return one_line(str(kind), 200), [normalise(_key(label, budget, depth + 1)) for label in labels]


def pairs(content: list[Any], budget: Budget, depth: int = 0) -> list[tuple[Hashable, Any]]:
    """Pairs of a decoded, normalised key and a still encoded item."""
    if any(not isinstance(pair, list) or len(pair) != 2 for pair in content):
        raise Malformed("a mapping that does not hold pairs")
    return [(normalise(_key(key, budget, depth + 1)), item) for key, item in content]


def _key(encoded: Any, budget: Budget, depth: int) -> Hashable:
    """A key of a mapping, or an item of a set: a number, a short text, or a flat tuple of those."""
    key = decode(encoded, budget, depth)
    if isinstance(key, list):
        key = tuple(key)
    flat = key if isinstance(key, tuple) else (key,)
    if len(flat) > MAX_TUPLE or any(isinstance(item, list | tuple | dict | frozenset) for item in flat):
        raise Malformed("it has keys that are neither numbers, short texts nor flat tuples of them")
    if any(isinstance(item, str) and len(item) > MAX_KEY for item in flat):
        raise Malformed(f"it has keys of more than {MAX_KEY} characters")
    budget.spend("texts" if isinstance(key, str) else "keys")
    return key


def normalise(key: Any) -> Any:
    """One form for keys that mean the same: 4 for 4.0, 0.7 for the float32 nearest to it, (1, 0) for (1.0, 0.0)."""
    if isinstance(key, float) and math.isfinite(key):
        return int(key) if key.is_integer() else round(key, 6)
    if isinstance(key, tuple | list):
        return tuple(normalise(item) for item in key)
    return key


def clean(text: str) -> str:
    """The text with halves of Unicode characters replaced, so that it can be written again."""
    return text.encode("utf-8", "replace").decode("utf-8")


def one_line(text: str, limit: int) -> str:
    """The text as at most ``limit`` printable characters, without line breaks or control sequences."""
    shown = "".join(character if character.isprintable() else " " for character in clean(text[: 4 * limit]))
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def type_name(value: Any) -> str:
    """The name of the type that a value had in the notebook, with its module if it is a library's."""
    return str(getattr(value, "type_name", type(value).__name__))


def keys(mapping: Mapping[Any, Any]) -> str:
    """The keys of a mapping from the hand-in on one line, or "none"."""
    return one_line(", ".join(map(repr, mapping)), 80) or "none"


def shown(name: str) -> str:
    """A name from the hand-in, fit for one line: control characters escaped, cut where it is very long."""
    return repr(name if len(name) <= 120 else name[:120] + "…")
