"""The files that a course system gave, in a folder or in a zip archive: their names, and their bytes when asked for."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Protocol

from graders.harness.data.archive import ZIP_EPOCH, Archive, ArchiveError, TooLargeError, hidden
from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError

MAX_INNER = 1_000_000_000
"""Bytes of an archive within the archive that was given; it is held in memory."""
_CLUTTER = {"Thumbs.db", "desktop.ini"}


class Tree(Protocol):
    """Files by their paths, with "/" between the parts; no hidden ones, no links, nothing but regular files."""

    files: list[str]

    def read(self, name: str, limit: int) -> bytes:
        """What is in one of the files, as far as ``limit`` + 1 bytes; or :class:`ExplainedError`."""

    def changed(self, name: str) -> datetime | None:
        """When one of the files was last changed, by the clock of whoever packed it; None if it is not known."""


class Given(Tree, Protocol):
    """All that a course system gave; ``left_out`` are the files that cannot be told apart or lie outside, and why."""

    left_out: list[tuple[str, str]]


class TreeError(ExplainedError):
    """What was named is neither a folder nor a zip archive, or a part of it cannot be read."""


def tree(path: Path) -> Given:
    """The files in a folder or zip archive; :class:`TreeError` or :class:`ArchiveError` if it is neither."""
    if path.is_dir():
        return _Folder(path)
    if not path.is_file():
        raise TreeError(f"There is no folder or file {path}.", "Name the folder or the zip file with the hand-ins.")
    with path.open("rb") as file:
        if not file.read(4).startswith(b"PK"):
            if path.suffix == ".ipynb":
                return _Folder(path.parent, [path.name])
            raise TreeError(f"{path.name} is no zip archive.", "Name the folder or the zip file with the hand-ins.")
    return _Zip(Archive(path, own=True), path.name)


class _Folder:
    def __init__(self, root: Path, names: Iterable[str] | None = None) -> None:
        self.root = root
        self._paths: dict[str, str] = {}
        self.left_out: list[tuple[str, str]] = []
        for name in sorted(names or _walk(root)):
            composed = unicodedata.normalize("NFC", name)
            if composed in self._paths:
                self.left_out.append((name, "there is another file of this name, with its accents written otherwise"))
            self._paths.setdefault(composed, name)
        self.files = _natural(self._paths)

    def read(self, name: str, limit: int) -> bytes:
        try:
            # Not followed and not waited for, should a link or a FIFO have taken its place
            descriptor = os.open(self.root / self._paths[name], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                return file.read(limit + 1)
        except OSError as error:
            raise TreeError(f"{name} cannot be read: {error.strerror}.", "Check its permissions.") from None

    def changed(self, name: str) -> datetime | None:
        try:
            when = datetime.fromtimestamp((self.root / self._paths[name]).lstat().st_mtime, UTC)
        except (OSError, OverflowError, ValueError):
            return None
        return when if when.year > ZIP_EPOCH else None


class _Zip:
    def __init__(self, archive: Archive, name: str) -> None:
        self.archive, self.name = archive, name
        self.files = _natural(name for name in self.archive.files if PurePosixPath(name).name not in _CLUTTER)
        self.left_out = archive.left_out

    def read(self, name: str, limit: int) -> bytes:
        try:
            return self.archive.read(name, limit)
        except TooLargeError:
            raise
        except ArchiveError as error:  # no student's doing
            raise TreeError(
                f"{self.name}: {one_line(name, 100)}: {error.problem}",
                "Download it again, or unpack it and name the folder. Nobody was graded.",
            ) from None

    def changed(self, name: str) -> datetime | None:
        return self.archive.changed(name)


class Opened:
    """A tree that consists of archives, such as a folder of what Canvas gave for each exercise: each is a folder of its name.

    ``archives`` are the paths of these folders, with "/" at the end. Raises :class:`ArchiveError` for one that is none.
    """

    def __init__(self, outer: Given) -> None:
        self.archives: list[str] = []
        self.left_out = list(outer.left_out)
        self._places: dict[str, tuple[_Zip, str]] = {}
        for name in outer.files:
            packed = _Zip(Archive(outer.read(name, MAX_INNER), own=True), name)
            place = f"{PurePosixPath(name).with_suffix('').as_posix()}/"
            self.archives.append(place)
            self._places |= {f"{place}{file}": (packed, file) for file in packed.files}
            self.left_out += [(f"{name}/{file}", problem) for file, problem in packed.left_out]
        self.files = _natural(self._places)

    def read(self, name: str, limit: int) -> bytes:
        """As a tree does."""
        packed, file = self._places[name]
        return packed.read(file, limit)

    def changed(self, name: str) -> datetime | None:
        """As a tree does."""
        packed, file = self._places[name]
        return packed.changed(file)


def _walk(root: Path) -> Iterable[str]:
    for folder, inner, names in os.walk(root):
        if "batch.json" in names and "hand-ins" in inner:  # results, whose hand-ins were handed in elsewhere
            inner.clear()
            continue
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
