"""A hostile file: what it is called, what is in it, and what the `grade` command must say of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Said:
    """What the command said, and what it left."""

    folder: Path
    status: int
    printed: bytes
    started: float
    ended: float
    peak_memory: int
    spared: bool
    """Whether the result of another hand-in in the same folder is still there."""


@dataclass(frozen=True)
class HandIn:
    """A file that is handed in: its name in bytes, its content, and the status and words that it must meet.

    ``lay`` may be asked to make something else than a regular file. A file that can be graded gets ``points``; one
    that cannot, None.
    """

    title: str
    content: bytes | Callable[[Path], None]
    name: bytes = b"ex1.ipynb"
    says: str = ""
    points: float | None = None
    exercise: str = "ex1"
    others: Mapping[str, bytes] = field(default_factory=dict)

    def lay(self, folder: Path) -> None:
        """Put the file into its folder, with what lies beside it."""
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), self.name)))
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content)
        for name, content in self.others.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
