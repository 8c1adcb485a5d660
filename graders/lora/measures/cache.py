"""What takes long to measure, kept on disk under a digest of all that it comes from."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import constants
from platformdirs import user_cache_path

from graders.lora.measures.adapters import Adapter

Arrays = dict[str, np.ndarray]
LIBRARIES = ("diffusers", "numpy", "torch", "transformers")
"""Those that measure; another version may measure something else in the last digits."""
ENTRIES = 5_000
"""Entries that are kept; the oldest go first. One of the fixtures' models takes 50 kB, so that all take 250 MB."""
_HEX = 40


class Cache:
    """Measurements that have ``sources`` in common: names, numbers, and paths, which stand for what lies there."""

    def __init__(self, *sources: object) -> None:
        self._common = hashlib.sha256(json.dumps([_environment(), [_said(source) for source in sources]]).encode())

    def get(self, what: str, comes_from: Iterable[object], measure: Callable[[], Mapping[str, np.ndarray]]) -> Arrays:
        """What ``measure`` gives, which is called if it is not known yet: arrays by name.

        ``comes_from`` is what it depends on besides the common sources: adapters and arrays as well. Where nothing can be
        written or read, everything is measured.
        """
        digest = self._common.copy()
        digest.update(what.encode())
        for source in comes_from:
            for part in _parts(source):
                digest.update(hashlib.sha256(part).digest())
        path = _folder() / f"{digest.hexdigest()[:_HEX]}.npz"
        with contextlib.suppress(OSError, ValueError, EOFError, zipfile.BadZipFile):  # not there, or damaged
            stored = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
            return {name: stored[name] for name in stored.files}
        measured = {name: np.asarray(array) for name, array in measure().items()}
        with contextlib.suppress(OSError):
            _keep(measured, path)
        return measured


def _folder() -> Path:
    return user_cache_path("lora-graders") / "measured"


def _keep(measured: Arrays, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial")  # another process may measure the same
    with partial.open("wb") as file:
        np.savez(file, **measured)  # type: ignore[arg-type]  # an array by its name
    partial.replace(path)
    entries = sorted(path.parent.iterdir(), key=lambda entry: entry.stat().st_mtime)
    for entry in entries[:-ENTRIES]:
        entry.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _environment() -> list[object]:
    """What else a measurement depends on: the code that measures, the libraries, and how the processor calculates."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    calculates = torch.backends.cpu.get_cpu_capability()
    return [code.hexdigest(), calculates, *(version(library) for library in LIBRARIES)]


def _said(source: object) -> Any:
    """A source in JSON. Of files, which may be gigabytes, it is name, size and when they were written that say what they are."""
    if not isinstance(source, Path):
        return source if source is None or isinstance(source, (bool, int, float)) else str(source)
    path = source if source.exists() else Path(constants.HF_HUB_CACHE, f"models--{str(source).replace('/', '--')}")
    files = sorted([path] if path.is_file() else (one for one in path.rglob("*") if one.is_file()))
    return [str(path.resolve()), *([str(one), one.stat().st_size, one.stat().st_mtime_ns] for one in files)]


def _parts(source: object) -> Iterator[bytes]:
    if isinstance(source, Adapter):
        for name, layer in source.layers.items():
            yield f"{name} {layer.scale} {[*layer.down.shape]} {[*layer.up.shape]}".encode()
            yield layer.down.contiguous().numpy().tobytes()
            yield layer.up.contiguous().numpy().tobytes()
    elif isinstance(source, np.ndarray):
        yield f"{source.dtype} {source.shape}".encode()
        yield source.tobytes()
    else:
        yield json.dumps(_said(source)).encode()
