"""What there is to see of a hand-in beside its marks: galleries of pictures, curves, tables and diagrams.

A lesson makes them once a hand-in is checked. They are kept beside the result, in the folder ``exhibits``: each as a JSON
document under its name, and a gallery's pictures on one sheet, a PNG file. Every page is made of them and of the result. What
is read back may have been written by anyone: a damaged exhibit is left out, and costs nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from graders.harness.data import files, values
from graders.harness.data.documents import Fields
from graders.harness.data.saving import make_folder, put, set_aside
from graders.harness.data.values import Malformed
from graders.harness.measured import Number

if TYPE_CHECKING:
    import numpy as np

FOLDER = "exhibits"
MAX_EXHIBITS = 12
"""Of a result."""
MAX_BYTES = 6 << 20
"""Of a document, and of a sheet of pictures."""
MAX_ROWS, MAX_COLUMNS = 12, 6
"""Of a gallery."""
MAX_CURVES = 4
"""So many can be told apart by their dashes."""
MAX_STEPS = 100_000
"""Of a curve; one of more is not kept."""
MAX_TABLE_ROWS, MAX_TABLE_COLUMNS = 50, 12
MAX_TITLE, MAX_TEXT = 200, 1000
"""Characters of a heading or a label, and of a sentence."""
DIGITS = 6
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Exhibit(ABC):
    """What all kinds have: a name of small letters, a heading, and sentences before and after what is seen."""

    kind: ClassVar[str]
    name: str
    title: str
    lead: str = ""
    note: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to see."""
        return False

    @abstractmethod
    def packed(self) -> tuple[dict[str, Any], bytes]:
        """The document, in which there is not too much of anything, and its sheet of pictures, if it has one."""

    @classmethod
    @abstractmethod
    def unpacked(cls, heading: Mapping[str, str], fields: Fields, sheet: Callable[[], bytes]) -> Self:
        """The exhibit that a document holds; :class:`graders.harness.data.values.Malformed` if it holds none."""


@dataclass(frozen=True, kw_only=True)
class Gallery(Exhibit):
    """Pictures, uint8 [height, width, 3], in rows and columns that have headings; None where there is none.

    The first 12 rows and 6 columns are kept, made smaller as need be; ``left_out`` counts the pictures that are not.
    """

    kind = "gallery"
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[np.ndarray | None]]]
    left_out: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is no picture."""
        return all(picture is None for _, row in self.rows for picture in row)

    def packed(self) -> tuple[dict[str, Any], bytes]:
        """The pictures are on the sheet, and their sizes in the document."""
        from graders.harness.data.sheets import sheet

        columns = self.columns[:MAX_COLUMNS]
        labels = [_text(label) for label, _ in self.rows[:MAX_ROWS]]
        rows = [[*row, *[None] * len(columns)][: len(columns)] for _, row in self.rows[:MAX_ROWS]]
        every = sum(picture is not None for _, row in self.rows for picture in row)
        kept = sum(picture is not None for row in rows for picture in row)
        content, place, sizes = sheet(rows, MAX_BYTES)
        labelled = [{"label": label, "sizes": row} for label, row in zip(labels, sizes, strict=True)]
        document = {"columns": [_text(column) for column in columns], "place": place, "rows": labelled}
        return document | {"left_out": self.left_out + every - kept}, content

    @classmethod
    def unpacked(cls, heading: Mapping[str, str], fields: Fields, sheet: Callable[[], bytes]) -> Self:
        """What is cut out of the sheet."""
        from graders.harness.data.sheets import cut

        columns = [_text(column) for column in _bounded(fields.texts("columns"), MAX_COLUMNS)]
        rows = [Fields(row, "a row") for row in _bounded(fields.items("rows"), MAX_ROWS)]
        sizes = [
            [None if size is None else _size(size) for size in _bounded(row.items("sizes"), MAX_COLUMNS)]
            for row in rows
        ]
        pictures = cut(sheet(), _size(fields["place"]), sizes)
        labels = (_text(row.text("label")) for row in rows)
        left_out = fields.whole("left_out")
        return cls(**heading, columns=columns, rows=[*zip(labels, pictures, strict=True)], left_out=left_out)


@dataclass(frozen=True, kw_only=True)
class Curves(Exhibit):
    """Values by step, a curve for each label; None, NaN and infinity interrupt it. The first 4 curves are kept.

    Steps are called by their numbers from 1, or by ``steps``; ``unit`` follows each value along the axis. ``told`` puts a
    curve into words; by default that is how many steps it has, and what it begins and ends with.
    """

    kind = "curves"
    curves: Mapping[str, Sequence[Number]]
    steps: Sequence[str] = ()
    unit: str = ""
    told: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is no number."""
        return not self._kept

    @property
    def _kept(self) -> dict[str, list[Number]]:
        numbers = {name: [_number(v) for v in curve] for name, curve in self.curves.items() if len(curve) <= MAX_STEPS}
        drawn = [(name, curve) for name, curve in numbers.items() if any(value is not None for value in curve)]
        return dict(drawn[:MAX_CURVES])

    def packed(self) -> tuple[dict[str, Any], bytes]:
        """A list of the curves, each with its label."""
        kept = self._kept
        curves = [
            {"label": _text(name), "values": curve, "told": _text(self.told.get(name, ""), MAX_TEXT)}
            for name, curve in kept.items()
        ]
        steps = list(map(_text, self.steps[: max(map(len, kept.values()))]))
        left_out = self.left_out + len(self.curves) - len(kept)
        return {"curves": curves, "steps": steps, "unit": _text(self.unit), "left_out": left_out}, b""

    @classmethod
    def unpacked(cls, heading: Mapping[str, str], fields: Fields, sheet: Callable[[], bytes]) -> Self:
        """Values that are no numbers are gaps."""
        curves = [Fields(curve, "a curve") for curve in _bounded(fields.items("curves"), MAX_CURVES)]
        numbers = {
            _text(curve.text("label")): [_number(value) for value in _bounded(curve.items("values"), MAX_STEPS)]
            for curve in curves
        }
        told = {_text(curve.text("label")): _text(curve.text("told"), MAX_TEXT) for curve in curves}
        steps = tuple(map(_text, fields.texts("steps")[:MAX_STEPS]))
        unit, left_out = _text(fields.text("unit")), fields.whole("left_out")
        return cls(**heading, curves=numbers, steps=steps, unit=unit, told=told, left_out=left_out)


@dataclass(frozen=True, kw_only=True)
class Table(Exhibit):
    """Rows of texts and numbers under headings. The first 50 rows and 12 columns are kept."""

    kind = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Number]]
    left_out: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is no row."""
        return not self.rows

    def packed(self) -> tuple[dict[str, Any], bytes]:
        """As it is."""
        columns = [_text(column) for column in self.columns[:MAX_TABLE_COLUMNS]]
        rows = [[_cell(cell) for cell in row[: len(columns)]] for row in self.rows[:MAX_TABLE_ROWS]]
        return {"columns": columns, "rows": rows, "left_out": self.left_out + len(self.rows) - len(rows)}, b""

    @classmethod
    def unpacked(cls, heading: Mapping[str, str], fields: Fields, sheet: Callable[[], bytes]) -> Self:
        """What is neither text nor number is a gap."""
        columns = tuple(map(_text, _bounded(fields.texts("columns"), MAX_TABLE_COLUMNS)))
        rows = _bounded(fields.items("rows"), MAX_TABLE_ROWS)
        if not all(isinstance(row, list) and len(row) <= len(columns) for row in rows):
            raise Malformed("a row is none")
        cells = [[_cell(cell) for cell in row] for row in rows]
        return cls(**heading, columns=columns, rows=cells, left_out=fields.whole("left_out"))


@dataclass(frozen=True, kw_only=True)
class Diagram(Exhibit):
    """What a lesson draws itself: ``data`` of JSON, from which its :class:`Drawer` called ``drawer`` makes SVG."""

    kind = "diagram"
    drawer: str
    data: Any

    def packed(self) -> tuple[dict[str, Any], bytes]:
        """As it is."""
        return {"drawer": self.drawer, "data": self.data}, b""

    @classmethod
    def unpacked(cls, heading: Mapping[str, str], fields: Fields, sheet: Callable[[], bytes]) -> Self:
        """Data of any kind: it is up to the lesson what it makes of them."""
        return cls(**heading, drawer=fields.text("drawer"), data=fields["data"])


KINDS: dict[str, type[Exhibit]] = {kind.kind: kind for kind in (Gallery, Curves, Table, Diagram)}


@dataclass(frozen=True)
class Drawer:
    """How a lesson draws the diagrams of one kind: ``draw`` makes SVG of their data, and HTML around it; "" is nothing.

    Of both, pages take what :mod:`graders.harness.report.drawings` lists, and no figure with anything else in it. ``style``
    is CSS, which pages with such a diagram have beside their own.
    """

    draw: Callable[[Any], str]
    style: str = ""


def pack(exhibit: Exhibit) -> dict[str, bytes]:
    """The files of an exhibit, the document first; none if there is nothing to see. ValueError for what cannot be kept."""
    if not _NAME.fullmatch(exhibit.name):
        raise ValueError(f"{exhibit.name!r} is no name for an exhibit")
    if exhibit.empty:
        return {}
    document, sheet = exhibit.packed()
    heading = {"kind": exhibit.kind, "title": _text(exhibit.title)}
    heading |= {"lead": _text(exhibit.lead, MAX_TEXT), "note": _text(exhibit.note, MAX_TEXT)}
    held = {"sheet": _digest(sheet)} if sheet else {}
    content = json.dumps({**heading, **held, **document}, separators=(",", ":"), allow_nan=False).encode()
    if len(content) > MAX_BYTES:
        raise ValueError(f"the exhibit {exhibit.name} has more than {MAX_BYTES} bytes")
    return {f"{exhibit.name}.json": content} | ({f"{exhibit.name}.png": sheet} if sheet else {})


def write(packed: Iterable[Mapping[str, bytes]], folder: Path) -> dict[str, str]:
    """Write exhibits beside a result; returns what the result lists: the SHA-256 of each document by the exhibit's name.

    Those of an earlier result stay where they have other names, until :func:`clear`.
    """
    listed = {}
    for some in packed:
        make_folder(folder / FOLDER)
        for name, content in some.items():
            put(content, folder / FOLDER / name)
            if name.endswith(".json"):
                listed[name.removesuffix(".json")] = _digest(content)
    return listed


def clear(folder: Path, listed: Mapping[str, str]) -> None:
    """Remove what is not of the exhibits that the result lists."""
    place = folder / FOLDER
    if place.is_symlink() or not place.is_dir():
        set_aside(place)
        return
    for path in place.iterdir():
        if path.name not in {f"{name}{ending}" for name in listed for ending in (".json", ".png")}:
            with suppress(OSError):  # a folder, which is nothing of ours
                path.unlink()
    if not listed:
        with suppress(OSError):
            place.rmdir()


def listed(stored: Any) -> dict[str, str]:
    """The exhibits that a stored result lists; what is not the name of one is left out."""
    if not isinstance(stored, Mapping):
        return {}
    sound = {name: digest for name, digest in stored.items() if _NAME.fullmatch(name) and isinstance(digest, str)}
    return dict(list(sound.items())[:MAX_EXHIBITS])


def read(folder: Path, listed: Mapping[str, str]) -> list[Exhibit]:
    """The exhibits beside a result that are what it lists, in its order; those that are damaged or missing are left out."""
    found = []
    for name, digest in listed.items():
        with suppress(Exception):  # Pillow raises errors of any kind for what is no picture
            found.append(_read(folder, name, digest))
    return found


def _read(folder: Path, name: str, digest: str) -> Exhibit:
    fields = Fields(values.parse_object(_file(folder, f"{name}.json", digest)))
    heading = {"name": name, "title": _text(fields.text("title"))}
    heading |= {text: _text(fields.text(text), MAX_TEXT) for text in ("lead", "note")}
    kind = KINDS[fields.text("kind")]
    return kind.unpacked(heading, fields, lambda: _file(folder, f"{name}.png", fields.text("sheet")))


def _file(folder: Path, name: str, digest: str) -> bytes:
    content = files.read_file(folder, f"{FOLDER}/{name}", MAX_BYTES)
    if _digest(content) != digest:
        raise Malformed("it was changed after it was written")
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _size(value: Any) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 2 and all(type(n) is int and 0 < n < 1000 for n in value)):
        raise Malformed("a picture has no size")
    width, height = value
    return width, height


def _bounded(items: Sequence[Any], most: int) -> Sequence[Any]:
    if len(items) > most:
        raise Malformed(f"there are more than {most} of something")
    return items


def _text(text: str, most: int = MAX_TITLE) -> str:
    return values.clean(str(text)[:most])


def _number(value: Any) -> Number:
    try:
        real = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return float(f"{real:.{DIGITS}g}") if math.isfinite(real) else None


def _cell(value: Any) -> str | Number:
    return _text(value) if isinstance(value, str) else _number(value)
