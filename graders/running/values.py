"""Tagged JSON, as the collector writes it, back to Python values; every byte of it may be an attacker's."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_KEYS = 10_000
"""The most items of one mapping or set. Numbers can be chosen to have the same hash, and so many of those still take only
seconds to tell apart, though a time that grows with the square of their number."""
_MAX_DEPTH = 32


class Malformed(ValueError):
    """Bytes that are not what the collector writes."""


@dataclass(frozen=True)
class Opaque:
    """Stands for an item that is no data, inside a collection that is; equal to nothing a check asks for."""

    type_name: str


def parse(content: bytes) -> Any:
    """JSON text to objects; :class:`Malformed` if it is none."""
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON ({type(error).__name__})") from None


def parse_object(content: bytes) -> dict[str, Any]:
    """JSON text to the object that it holds; :class:`Malformed` if it holds anything else."""
    document = parse(content)
    if not isinstance(document, dict):
        raise Malformed("not a JSON object")
    return document


def decode(encoded: Any, depth: int = 0) -> Any:
    """The value: arrays as nested lists, keys of mappings as :func:`normalise` gives them; or :class:`Malformed`."""
    if depth > _MAX_DEPTH:
        raise Malformed("nested too deeply")
    if encoded is None or isinstance(encoded, bool | int | float):
        return encoded
    if isinstance(encoded, str):
        return clean(encoded)
    if isinstance(encoded, list):
        return [decode(item, depth + 1) for item in encoded]
    if not isinstance(encoded, dict) or len(encoded) != 1:
        raise Malformed("an object without a tag")
    [(tag, content)] = encoded.items()
    if tag == "float" and content in ("nan", "inf", "-inf"):
        return float(content)
    if tag == "unreadable" and isinstance(content, str):
        return Opaque(one_line(content, 200))
    if not isinstance(content, list):
        raise Malformed("a tag with the wrong content")
    if tag == "set" and len(content) > MAX_KEYS:
        raise Malformed(f"a set of more than {MAX_KEYS} items")
    if tag == "mapping":
        return {key: decode(item, depth + 1) for key, item in pairs(content, depth)}
    items = [decode(item, depth + 1) for item in content]
    if tag == "array":
        return items
    if tag == "tuple":
        return tuple(items)
    if tag == "set":
        return frozenset(_hashable(item) for item in items)
    raise Malformed("an unknown tag")


def pairs(content: list[Any], depth: int = 0) -> list[tuple[Hashable, Any]]:
    """Pairs of a decoded, normalised key and a still encoded item."""
    if len(content) > MAX_KEYS:
        raise Malformed(f"a mapping of more than {MAX_KEYS} items")
    if any(not isinstance(pair, list) or len(pair) != 2 for pair in content):
        raise Malformed("a mapping that does not hold pairs")
    return [(_hashable(normalise(decode(key, depth + 1))), item) for key, item in content]


def normalise(key: Any) -> Any:
    """One form for keys that mean the same: 4 for 4.0, 0.7 for the float32 nearest to it, (1, 0) for (1.0, 0.0)."""
    if isinstance(key, float) and math.isfinite(key):
        return int(key) if key.is_integer() else round(key, 6)
    if isinstance(key, tuple | list):
        return tuple(normalise(item) for item in key)
    return key


def _hashable(item: Any) -> Hashable:
    if isinstance(item, list):
        return tuple(_hashable(inner) for inner in item)
    if isinstance(item, tuple):
        return tuple(_hashable(inner) for inner in item)
    if isinstance(item, dict):
        raise Malformed("a mapping where only hashable values can be")
    return item if isinstance(item, Hashable) else repr(item)


def clean(text: str) -> str:
    """The text with halves of Unicode characters replaced, so that it can be written again."""
    return text.encode("utf-8", "replace").decode("utf-8")


def one_line(text: str, limit: int) -> str:
    """The text as at most ``limit`` printable characters, without line breaks or control sequences."""
    shown = "".join(character if character.isprintable() else " " for character in clean(text[: 4 * limit]))
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def keys(mapping: Mapping[Any, Any]) -> str:
    """The keys of a mapping from the hand-in on one line, or "none"."""
    return one_line(", ".join(map(repr, mapping)), 80) or "none"


def shown(name: str) -> str:
    """A name from the hand-in, fit for one line: control characters escaped, cut where it is very long."""
    return repr(name if len(name) <= 120 else name[:120] + "…")
