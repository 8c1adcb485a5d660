"""What a run left that is worth looking at beside its marks: pictures, encoded anew, and curves."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from graders.harness.data import files, values
from graders.harness.errors import HandInError
from graders.harness.marks import Grade
from graders.harness.report import charts
from graders.harness.report.wording import visible
from graders.harness.result import Result
from graders.harness.run.evidence import Evidence
from graders.lora.figures import gradients, timesteps
from graders.lora.figures.gradients import Gradients
from graders.lora.figures.unet import Drawing, drawings
from graders.lora.measures.tables import number

MAX_BYTES = 200_000
"""Bytes of the pictures of one exercise, before they become text, which makes them a third larger."""
MAX_ROWS, MAX_COLUMNS = 12, 6
QUALITIES = ((192, 100), (192, 85), (160, 75), (128, 70), (96, 60), (64, 50), (48, 30))
"""Pixels of the longer side and WebP's quality, 100 without loss: the first of them that fits is taken. The last does
whatever the pictures show: noise of 48 × 48 pixels has about 2 kB at that quality."""
_STEPS = 100_000
"""Of a training; a curve of more is not drawn."""


@dataclass(frozen=True)
class Picture:
    """A picture as an address that holds it, with its size in pixels and what it shows in words."""

    source: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Gallery:
    """Pictures in rows and columns, each with a heading; None where there is none. ``left_out`` are not shown."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Picture | None, ...]], ...]
    left_out: int = 0


@dataclass(frozen=True)
class Exhibits:
    """What there is to see of one exercise."""

    gallery: Gallery | None = None
    caption: str = ""
    losses: charts.Plot | None = None
    unets: tuple[Drawing, ...] = ()
    gradients: Gradients | None = None
    timesteps: charts.Plot | None = None


def of(grade: Grade) -> Exhibits:
    """What is in the folder that keeps a grade's run, of what can be read there, and what the checks have measured."""
    if grade.result is None:
        return Exhibits()
    make = _EXERCISES.get(grade.exercise)
    found = make(Evidence(grade.folder / "run")) if make and grade.folder else Exhibits()
    return replace(found, **_measured(grade.result))


def _measured(result: Result) -> dict[str, Any]:
    """The figures that are made from the result alone."""
    parts = {check.id: check.measured for check in result.checks}
    if result.exercise == "ex1":
        return {"unets": drawings(parts.get("cross_attention_layers", {}))}
    if result.exercise == "ex2":
        return {"gradients": gradients.chart(parts.get("gradients", {}).get("", {}))}
    if result.exercise == "ex3":
        spread, profiles = parts.get("cross_attention_only", {}), parts.get("denoises_the_style", {})
        return {"unets": drawings(spread), "timesteps": timesteps.curves(profiles)}
    return {}


def _adapters(evidence: Evidence) -> Exhibits:
    """Of exercise 3: each prompt painted by the base model and with each adapter, and the losses."""
    base = _groups(_read(evidence.pictures, "base_images"), lambda key: f"base model, {_shown(key)}", "base model")
    lora = _groups(_read(evidence.pictures, "lora_images"), lambda key: f"rank {_shown(key)}", "with an adapter")
    columns = {**base, **lora}
    prompts = _prompts(evidence, max(map(len, columns.values()), default=0))
    rows = [
        (prompt, [pictures[i] if i < len(pictures) else None for pictures in columns.values()])
        for i, prompt in enumerate(prompts)
    ]
    caption = "Your pictures: each prompt without and with your adapters"
    return Exhibits(_gallery(list(columns), rows), caption, _losses(_read(evidence.value, "losses")))


def _compositions(evidence: Evidence) -> Exhibits:
    """Of exercise 4: the pictures of each pair of weights."""
    rows = _groups(_read(evidence.pictures, "images"), _weights, "in the order that you left them")
    columns = _prompts(evidence, max(map(len, rows.values()), default=0))
    return Exhibits(_gallery(columns, list(rows.items())), "Your grid: a row for each pair of weights")


_EXERCISES: dict[str, Callable[[Evidence], Exhibits]] = {"ex3": _adapters, "ex4": _compositions}


def _read(read: Callable[[str], Any], name: str) -> Any:
    """A variable, or None where it was not handed in, cannot be read or has no place in this run."""
    try:
        return read(name)
    except (HandInError, KeyError, OSError, files.Refused, values.Malformed):
        return None


def _prompts(evidence: Evidence, count: int) -> list[str]:
    """What ``count`` pictures were painted for; those beyond the prompts are numbered."""
    try:
        prompts = evidence.parameters.get("PROMPTS", ())
    except (OSError, ValueError, SyntaxError, KeyError, files.Refused):
        prompts = ()
    named = [visible(str(prompt)) for prompt in prompts] if isinstance(prompts, list | tuple) else []
    return [named[i] if i < len(named) else f"picture {i + 1}" for i in range(count)]


def _groups(node: Any, name: Callable[[Any], str], alone: str) -> dict[str, list[np.ndarray]]:
    """The lists of pictures of a variable by what they are called; ``alone`` is what a list in no mapping is called."""
    if isinstance(node, list):
        return {alone: node} if node else {}
    return {name(path[0] if len(path) == 1 else path): pictures for path, pictures in _lists(node) if pictures}


def _lists(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], list[np.ndarray]]]:
    if isinstance(node, list):
        yield path, node
    elif isinstance(node, Mapping):
        for key, item in node.items():
            yield from _lists(item, (*path, key))


def _shown(key: Any) -> str:
    return values.one_line(visible(str(key)), 40)


def _weights(key: Any) -> str:
    if isinstance(key, tuple) and len(key) == 2 and None not in [number(part) for part in key]:
        return f"style {_shown(key[0])}, subject {_shown(key[1])}"
    return _shown(key)


def _gallery(columns: list[str], rows: Sequence[tuple[str, Sequence[np.ndarray | None]]]) -> Gallery | None:
    """The pictures as they fit into their bytes, the first rows and columns where there are more than can be shown."""
    every = sum(picture is not None for _, row in rows for picture in row)
    if not every:
        return None
    shown = [(label, row[:MAX_COLUMNS]) for label, row in rows[:MAX_ROWS]]
    columns = columns[:MAX_COLUMNS]
    pictures = [picture for _, row in shown for picture in row if picture is not None]
    encoded = iter(_encoded(pictures))
    made = []
    for label, row in shown:
        cells = [
            Picture(*next(encoded), alt=f"{label}; {column}") if picture is not None else None
            for column, picture in zip(columns, row, strict=False)
        ]
        made.append((label, tuple(cells)))
    return Gallery(tuple(columns), tuple(made), every - len(pictures))


def _encoded(pictures: Iterable[np.ndarray]) -> list[tuple[str, int, int]]:
    """Each as the address of a WebP picture with its width and height, together within :data:`MAX_BYTES`."""
    small = [_small(Image.fromarray(pixels), QUALITIES[0][0]) for pixels in pictures]
    for side, quality in QUALITIES:
        resized = [_small(picture, side) for picture in small]
        room = MAX_BYTES if (side, quality) != QUALITIES[-1] else math.inf
        contents = []
        for picture in resized:
            contents.append(_webp(picture, quality))
            room -= len(contents[-1])
            if room < 0:
                break
        else:
            break
    addresses = [f"data:image/webp;base64,{base64.b64encode(content).decode()}" for content in contents]
    return [(address, *picture.size) for address, picture in zip(addresses, resized, strict=True)]


def _small(picture: Image.Image, side: int) -> Image.Image:
    small = picture.copy()
    small.thumbnail((side, side))
    return small


def _webp(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=quality == 100, quality=quality)
    return file.getvalue()


def _losses(recorded: Any) -> charts.Plot | None:
    """A curve for each rank, of whatever in `losses` is a list."""
    curves = recorded if isinstance(recorded, Mapping) else {"": recorded}
    drawn = {
        f"rank {_shown(key)}" if key != "" else "losses": [number(value) for value in curve]
        for key, curve in curves.items()
        if isinstance(curve, list | tuple) and len(curve) <= _STEPS
    }
    return charts.plot(drawn)
