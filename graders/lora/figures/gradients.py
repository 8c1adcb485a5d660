"""The gradients of A and B as a chart: a mark for each layer on a logarithmic axis, zeros and gaps in rows below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from graders.harness.measured import Number, Table, count

LANE = 13.0
"""Height of the row for zeros, and of that for gradients that are not there, in percent of the chart."""
TICKS = 4
_MARKS = {"a": 0.28, "b": 0.72, "w": 0.5}
"""Where the mark of each matrix stands in the place of its layer."""
_LABELS = {"a": "A", "b": "B", "w": "W, the base model's own"}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Tick:
    """A number along an axis, and where it stands there, in percent."""

    label: str
    at: float


@dataclass(frozen=True)
class Row:
    """A row below the axis: what it is for, its upper edge, and its middle, in percent from the top."""

    label: str
    top: float
    middle: float


@dataclass(frozen=True)
class Marks:
    """The marks of one matrix as an SVG path of points, what the matrix is, and what its gradients are in words."""

    matrix: str
    label: str
    path: str
    told: str


@dataclass(frozen=True)
class Gradients:
    """The chart. ``edges`` part the groups of blocks along the axis; ``stems`` lead from B's marks down to the axis."""

    marks: tuple[Marks, ...]
    stems: str
    up: tuple[Tick, ...]
    rows: tuple[Row, ...]
    across: tuple[Tick, ...]
    edges: tuple[float, ...]
    floor: float
    told: str
    left_out: int


def chart(table: Table) -> Gradients | None:
    """The chart of what :func:`graders.lora.measures.lora_gradients.norms` measured; None if there is nothing in it."""
    norms = {name: [_norm(number) for number in table.get(name, [])] for name in _MARKS}
    size = len(norms["a"])
    if not size or any(len(some) != size for some in norms.values()):
        return None
    broken = dict(zip(_MARKS, [*map(count, table.get("broken", [])), 0, 0, 0], strict=False))
    shown = {name: some for name, some in norms.items() if name != "w" or any(norm is not None for norm in some)}
    every = [norm for some in shown.values() for norm in some]
    positive = [norm for norm in every if norm]
    labels = ["0"] * (0.0 in every) + ["none"] * (None in every)
    height = LANE if positive else 100 / len(labels)
    floor = 100 - height * len(labels)
    rows = tuple(Row(label, floor + i * height, floor + (i + 0.5) * height) for i, label in enumerate(labels))
    low, high, up = _decades(positive)
    middles = {row.label: row.middle for row in rows}

    def y(norm: Number) -> float:
        if not norm:
            return middles["none" if norm is None else "0"]
        return (floor - 3) * (high - math.log10(norm)) / (high - low)

    def x(place: int, name: str) -> float:
        return 100 * (place + _MARKS[name]) / size

    def path(name: str) -> str:
        # A point has no length: the browser draws its round or square end. A dash has some.
        dash = 40 / size if name == "w" else 0
        some = shown.get(name, [])
        return "".join(f"M{x(i, name) - dash / 2:.2f},{y(norm):.1f}h{dash:.2g}" for i, norm in enumerate(some))

    marks = tuple(Marks(name, _LABELS[name], path(name), _told(some, broken[name])) for name, some in norms.items())
    stems = "".join(f"M{x(i, 'b'):.1f},{floor:.1f}V{y(norm):.1f}" for i, norm in enumerate(norms["b"]) if norm)
    ticks = tuple(Tick(label, round((floor - 3) * (high - at) / (high - low), 1)) for label, at in up)
    across, edges = _groups([count(number) for number in table.get("block", [])], table, size)
    total = max(size, *map(count, table.get("pairs", [])[:1]), 0)
    return Gradients(marks, stems, ticks, rows, across, edges, round(floor, 1), _summary(norms), left_out=total - size)


def _decades(positive: Sequence[float]) -> tuple[float, float, list[tuple[str, float]]]:
    """The powers of ten that the axis spans, and a few of them to be named."""
    if not positive:
        return 0.0, 1.0, []
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    high = max(high, low + 1)
    step = math.ceil((high - low) / TICKS)
    powers = range(low, high + 1, step)
    return float(low), float(high), [(f"10{str(power).translate(_RAISED)}", float(power)) for power in powers]


def _groups(blocks: Sequence[int], table: Table, layers: int) -> tuple[tuple[Tick, ...], tuple[float, ...]]:
    """The sides of the U-Net along the axis, and where one ends and the next begins."""
    depth = next(map(count, table.get("depth", [])), 0)
    if len(blocks) != layers or not depth:
        return (), ()
    ticks, edges, start = [], [], 0
    for side, some in groupby(_side(block, depth) for block in blocks):
        size = len(list(some))
        if size >= layers / 12:  # a name needs its room
            ticks.append(Tick(side, round(100 * (start + size / 2) / layers, 1)))
        start += size
        edges.append(round(100 * start / layers, 1))
    return tuple(ticks), tuple(edges[:-1])


def _side(block: int, depth: int) -> str:
    if block > 2 * depth:
        return "outside"
    return "down" if block < depth else "mid" if block == depth else "up"


def _told(norms: Sequence[Number], broken: int) -> str:
    """How many there are of each sort, and between which numbers."""
    positive = [norm for norm in norms if norm]
    zero, none = sum(norm == 0 for norm in norms), sum(norm is None for norm in norms)
    broken = min(broken, none)
    said = []
    if positive:
        low, high = min(positive), max(positive)
        said.append((f"from {low:.2g} to {high:.2g}" if low < high else f"{low:.2g}", len(positive)))
    said += [("exactly 0", zero), ("no gradient", none - broken), ("NaN or infinite", broken)]
    said = [(words, layers) for words, layers in said if layers]
    if len(said) == 1:
        return f"{said[0][0]} in {f'all {len(norms)} layers' if len(norms) > 1 else 'the one layer'}"
    return ", ".join(f"{words} in {layers}" for words, layers in said) + f" of {len(norms)} layers"


def _summary(norms: dict[str, list[Number]]) -> str:
    a, b = norms["a"], norms["b"]
    if any(norms["w"]):
        return "The base model's own weights have gradients. With LoRA they are frozen, and only A and B have any."
    if all(norm == 0 for norm in a) and all(norm for norm in b):
        return "Every A is at 0 and every B is not, as it must be: A's gradient is multiplied by B, which is still 0."
    if all(norm is None for norm in (*a, *b)):
        return "There is no gradient to be seen. After the first backward, every A is at 0 and every B is not."
    return "After the first backward, every A is at 0 and every B is not. Here it is otherwise."


def _norm(number: Number) -> Number:
    return number if number is not None and 0 <= number < math.inf else None
