"""Files in a folder that somebody else's program wrote to: opened only when they are what they seem to be."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from graders.harness.data import values


class Refused(Exception):
    """A file that is not read: a link, a special file, outside the folder, or larger than allowed."""


def read_file(folder: Path, relative: str, limit: int) -> bytes:
    """What is in the regular file ``folder/relative``; FileNotFoundError if there is none.

    Raises :class:`Refused` for a path that leaves the folder, for a symbolic link at any step, for anything that is
    not a regular file with one name, and for more than ``limit`` bytes. ``folder`` itself is trusted.
    """
    descriptor = _open(folder, relative)
    try:
        if os.fstat(descriptor).st_size > limit:
            raise Refused(f"{values.shown(relative)} is larger than {limit} bytes")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise Refused(f"{values.shown(relative)} is larger than {limit} bytes")
    return content


def check_file(folder: Path, relative: str) -> Path:
    """The path of the regular file ``folder/relative``, under the same conditions as :func:`read_file`."""
    os.close(_open(folder, relative))
    return folder / relative


def _open(folder: Path, relative: str) -> int:
    """A descriptor of the file: every step is opened in the one before it and never through a link."""
    path = PurePosixPath(relative)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise Refused(f"{values.shown(relative)} does not stay inside its folder")
    if not relative.isprintable():  # among them what no name can hold, a null or half of a character
        raise Refused(f"{values.shown(relative)} is not a name that can be printed")
    safely = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in path.parts[:-1]:
            inner = os.open(step, safely | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
        descriptor = os.open(path.parts[-1], safely, dir_fd=here)
    except FileNotFoundError:
        raise
    except OSError as error:  # a link gives ELOOP or ENOTDIR, a socket ENXIO, an endless name ENAMETOOLONG
        raise Refused(f"{values.shown(relative)} is not a plain file in a plain folder ({error.strerror})") from None
    finally:
        os.close(here)
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        os.close(descriptor)
        raise Refused(f"{values.shown(relative)} is not a regular file with a single name")
    return descriptor


def with_blobs(path: Path) -> Path:
    """What has to be readable for ``path`` to be: of a snapshot its whole repository, to whose blobs its files are links."""
    for snapshots in path.parents:
        if snapshots.name == "snapshots" and (snapshots.parent / "blobs").is_dir():
            return snapshots.parent
    return path


def named_by(value: Any) -> Iterator[Path]:
    """The files and folders whose absolute paths stand in a value, in whichever lists and mappings."""
    if isinstance(value, str) and os.path.isabs(value) and os.path.exists(value):
        yield Path(value)
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from named_by(item)
