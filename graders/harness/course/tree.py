"""The files that a course system gave, in a folder or in a zip archive: their names, and their bytes when asked for."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol

from graders.harness.data.archive import Archive, hidden
from graders.harness.errors import ExplainedError

_CLUTTER = {"Thumbs.db", "desktop.ini"}


class Tree(Protocol):
    """Files by their paths, with "/" between the parts; no hidden ones, no links, nothing but regular files."""

    files: list[str]

    def read(self, name: str, limit: int) -> bytes:
        """What is in one of the files, as far as ``limit`` + 1 bytes; or :class:`ExplainedError`."""


class TreeError(ExplainedError):
    """What was named is neither a folder nor a zip archive."""


def tree(path: Path) -> Tree:
    """The files in a folder or zip archive; :class:`TreeError` or :class:`ArchiveError` if it is neither."""
    if path.is_dir():
        return _Folder(path)
    if not path.is_file():
        raise TreeError(f"There is no folder or file {path}.", "Name the folder or the zip file with the hand-ins.")
    with path.open("rb") as file:
        if not file.read(4).startswith(b"PK"):
            raise TreeError(f"{path.name} is no zip archive.", "Name the folder or the zip file with the hand-ins.")
    return _Zip(path)


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = _natural(_walk(root))

    def read(self, name: str, limit: int) -> bytes:
        try:
            # Not followed and not waited for, should a link or a FIFO have taken its place
            descriptor = os.open(self.root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                return file.read(limit + 1)
        except OSError as error:
            raise TreeError(f"{name} cannot be read: {error.strerror}.", "Check its permissions.") from None


class _Zip:
    def __init__(self, path: Path) -> None:
        self.archive = Archive(path)
        self.files = _natural(name for name in self.archive.files if PurePosixPath(name).name not in _CLUTTER)

    def read(self, name: str, limit: int) -> bytes:
        return self.archive.read(name, limit)


def _walk(root: Path) -> Iterable[str]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if name not in _CLUTTER and not hidden(relative) and stat.S_ISREG(path.lstat().st_mode):
                yield relative


def _natural(names: Iterable[str]) -> list[str]:
    """Sorted as people do: `ex3-2` before `ex3-10`."""
    return sorted(names, key=natural)


def natural(name: str) -> list[tuple[int, str]]:
    """A key to sort names by, numbers in them by their value."""
    # Digits stand at the odd places; one too long for a number that is worth comparing is compared as text
    parts = re.split(r"([0-9]{1,18})", name)
    return [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts)]
