"""Stored documents: JSON that the graders wrote once, and in which anything may stand by now."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from graders.harness.data import files
from graders.harness.data.saving import put
from graders.harness.data.values import Malformed, one_line
from graders.harness.errors import ExplainedError

MAX_BYTES = 16 << 20
"""The largest document that is read; a result takes some 50 kB, and the list of a large course 1 MB."""
T = TypeVar("T")


class DamagedError(ExplainedError):
    """A stored file that is not what the graders wrote."""


def write(document: Mapping[str, Any], path: Path) -> None:
    """Write a document; nobody ever sees half of it."""
    put((json.dumps(document, indent=1, default=datetime.isoformat) + "\n").encode(), path)


class Fields:
    """The fields of a document, each of which is asked for by its type; :class:`Malformed` names the one that is wrong."""

    def __init__(self, fields: Any, what: str = "the document") -> None:
        if not isinstance(fields, dict):
            raise Malformed(f"{what} is {_kind(fields)}, not an object")
        self._fields: Mapping[str, Any] = fields

    def __getitem__(self, name: str) -> Any:
        if name not in self._fields:
            raise Malformed(f"there is no {name}")
        return self._fields[name]

    def text(self, name: str) -> str:
        """A text."""
        return self._is(name, str, "a text")

    def flag(self, name: str) -> bool:
        """True or false."""
        return self._is(name, bool, "true or false")

    def whole(self, name: str, low: int = 0) -> int:
        """An integer from ``low`` to what 32 bits hold."""
        value: int = self._is(name, int, "a whole number")
        if not low <= value < 1 << 31:
            raise Malformed(f"{name} is out of range")
        return value

    def number(self, name: str, low: float = 0.0, high: float = 1e6) -> float:
        """A finite number from ``low`` to ``high``."""
        value = self[name]
        if type(value) not in (int, float) or not low <= value <= high:  # NaN is in no range
            raise Malformed(f"{name} is not a number from {low:g} to {high:g}")
        return float(value)

    def moment(self, name: str) -> datetime | None:
        """A date and time with its zone, or None."""
        return None if self[name] is None else moment(self.text(name), name)

    def items(self, name: str) -> list[Any]:
        """A list of anything."""
        return self._is(name, list, "a list")

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self.items(name)
        if not all(type(value) is str for value in values):
            raise Malformed(f"{name} is not a list of texts")
        return tuple(values)

    def object(self, name: str) -> Fields:
        """Fields within a field."""
        return Fields(self[name], name)

    def all(self) -> Mapping[str, Any]:
        """All fields, as they are."""
        return self._fields

    def _is(self, name: str, kind: type, called: str) -> Any:
        if type(self[name]) is not kind:  # True is no number
            raise Malformed(f"{name} is {_kind(self[name])}, not {called}")
        return self[name]


def read(place: Path, name: str, schema: Callable[[Fields], T], fix: str) -> T:
    """What ``schema`` makes of the JSON document ``place / name``; links are not followed on the way from ``place``.

    Raises :class:`DamagedError` with the ``fix`` for whatever is not such a document, and a missing one.
    """
    try:
        content = files.read_file(place, name, MAX_BYTES)
        return schema(Fields(json.loads(content.decode("utf-8"), parse_constant=_no_number)))
    except FileNotFoundError:
        problem = "it is missing"
    except OSError as error:
        problem = (error.strerror or type(error).__name__).lower()
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        problem = (
            "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"it is not JSON (line {error.lineno})"
        )
    except RecursionError:
        problem = "it is nested too deeply"
    except (files.Refused, ValueError) as error:
        problem = one_line(str(error), 200)
    raise DamagedError(f"{place / name} cannot be used: {problem}.", fix)


def moment(text: Any, name: str) -> datetime:
    """A date and time that says its zone."""
    try:
        when = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise Malformed(f"{name} is no date and time") from None
    if when.tzinfo is None:
        raise Malformed(f"{name} does not say its time zone")
    return when


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "empty"}
    return names.get(type(value), "a number")


def _no_number(name: str) -> NoReturn:
    raise Malformed(f"{name} is no number")
