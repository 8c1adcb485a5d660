"""What a live kernel's variables hold, written down as the evidence that a run would have left."""

from __future__ import annotations

import ast
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # publishes no types
from nbformat.v4 import new_notebook, writes

from graders.harness.data.saving import save
from graders.harness.ending import RunReport
from graders.harness.errors import ExplainedError
from graders.harness.run.kernel.collect import Collector
from graders.harness.run.kernel.watchers import device, peak_gpu_memory

SUFFIXES = (".safetensors", ".json")
"""Of the files in OUTPUT_DIR that graders read: adapters, and what says how they were trained."""
MAX_FILE = 1 << 30
"""Bytes of such a file; the adapter of the largest rank that fits a U-Net has some hundred MB."""
MAX_FILES, MAX_DEPTH = 200, 4
"""Of OUTPUT_DIR, which may be a folder with much else in it."""


class SnapshotError(ExplainedError):
    """The kernel lacks what there has to be before anything can be graded."""


@dataclass(frozen=True)
class Wanted:
    """What an exercise hands in, each variable with its kind, and its parameters, with those that name files."""

    hand_in: Mapping[str, str]
    parameters: tuple[str, ...]
    paths: frozenset[str]


def take(wanted: Wanted, namespace: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Write the evidence to ``folder``, a run folder which is made anew; why each variable that cannot be read cannot.

    A variable that was never assigned has an empty reason. Raises :class:`SnapshotError` if a parameter is missing, or is
    no plain value.
    """
    parameters = {"OUTPUT_DIR": "output"} | dict(_parameters(wanted, namespace))
    shutil.rmtree(folder, ignore_errors=True)
    variables = folder / "evidence" / "variables"
    variables.mkdir(parents=True)
    Collector(wanted.hand_in, str(variables.resolve())).collect(namespace)
    _copy(Path(str(namespace.get("OUTPUT_DIR", "output"))), folder / "work" / "output")
    request = {"parameters": repr(parameters | {"OUTPUT_DIR": "output"}), "hand_in": wanted.hand_in, "output": "output"}
    save(json.dumps(request).encode(), folder / "request.json")
    # Written answers are read in the file that is handed in
    save(writes(new_notebook()).encode(), folder / "notebook.ipynb")
    memory = psutil.Process().memory_info().rss
    report = RunReport("completed", None, None, 0.0, memory, device(), peak_gpu_memory())
    save(json.dumps(asdict(report)).encode(), folder / "run.json")
    return dict(_unread(wanted.hand_in, variables))


def _parameters(wanted: Wanted, namespace: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in wanted.parameters:
        if name not in namespace:
            raise SnapshotError(f"`{name}` has no value in this kernel.", "Run the notebook's first code cell.")
        value = namespace[name]
        if name in wanted.paths:
            value = {k: _absolute(v) for k, v in value.items()} if isinstance(value, dict) else _absolute(value)
        try:
            if ast.literal_eval(repr(value)) != value:
                raise ValueError
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            kind = type(value).__name__
            raise SnapshotError(
                f"The parameter `{name}` is a value of type {kind}.",
                "Write it as plain text or numbers, as in the exercise, and run its cell again.",
            ) from None
        yield name, value


def _absolute(value: Any) -> Any:
    """A path as text, from the root; what is no path of anything here, such as a Hub id, stays."""
    if not isinstance(value, str | os.PathLike):
        return value
    text = os.fspath(value)
    return os.path.abspath(text) if os.path.exists(text) else text


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for count, path in enumerate(_files(source, 0)):
        if count == MAX_FILES:
            return
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def _files(folder: Path, depth: int) -> Iterable[Path]:
    """What graders may read in a folder, the nearest first; hidden folders are nobody's adapters."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for path in entries:
        if path.suffix in SUFFIXES and path.is_file() and path.stat().st_size <= MAX_FILE:
            yield path
    for path in entries:
        if depth < MAX_DEPTH and path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _files(path, depth + 1)


def _unread(names: Iterable[str], variables: Path) -> Iterator[tuple[str, str]]:
    for name in names:
        record = json.loads((variables / f"{name}.json").read_text(encoding="utf-8"))
        if "missing" in record:
            yield name, ""
        elif "unreadable" in record:
            yield name, record["reason"]
