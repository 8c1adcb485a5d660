"""Files written so that nobody sees half of one, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from graders.harness.errors import MachineError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(MachineError):
    """Nothing can be written any more."""


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """Within it, :class:`DiskFullError` for a disk that is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(
            f"The disk is full ({error.filename or folder}).", "Free some space, then run the same command again."
        ) from None


def save(content: bytes, path: Path, mode: int = 0o666) -> None:
    """Write a file beside its place and rename it there; ``mode`` is what it may be opened for, less the umask."""
    beside = path.with_name(f"{path.name}.partial")
    beside.unlink(missing_ok=True)  # one that was left may be open to others than this one should be
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the name, and nothing in it
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()  # of what a full disk has no room for, a part is of no use
        raise


def put(content: bytes, path: Path) -> None:
    """Write a file in a folder of the graders' own, where a folder in its place is set aside."""
    for place in (path, path.with_name(f"{path.name}.partial")):
        if place.is_dir() and not place.is_symlink():
            set_aside(place)
    save(content, path)


def make_folder(path: Path) -> None:
    """Make a folder and those above it; a file or a link in its place is set aside."""
    if path.is_symlink() or path.is_file():
        set_aside(path)
    path.mkdir(parents=True, exist_ok=True)


def set_aside(path: Path) -> None:
    """Give what is at a path another name beside its own, so that nothing of it is lost."""
    if os.path.lexists(path):
        path.rename(_aside(path))


def keep_aside(path: Path) -> None:
    """Keep what is at a path beside it before it is replaced, so that at no time there is nothing."""
    try:
        os.link(path, _aside(path), follow_symlinks=False)
    except OSError:  # a folder, or a file system without links
        set_aside(path)


def _aside(path: Path) -> str:
    number = next(n for n in count(1) if not os.path.lexists(f"{path}.damaged-{n}"))
    return f"{path}.damaged-{number}"
