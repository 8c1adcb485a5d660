"""Temporary folders that do not stay for good when who made them is killed: the next grader that makes one removes them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

_YOUNG = 10.0
"""Seconds in which whoever has made a folder will have locked it."""


class Scratch(tempfile.TemporaryDirectory[str]):
    """A new folder ``grade-KIND-…``, which only its user may look into; it is locked as long as it is in use."""

    def __init__(self, kind: str) -> None:
        _sweep()
        super().__init__(prefix=f"grade-{kind}-")
        self._locked = [os.open(self.name, os.O_RDONLY | os.O_CLOEXEC)]
        fcntl.flock(self._locked[0], fcntl.LOCK_SH)

    def empty(self) -> None:
        """Remove what is in it."""
        for entry in os.scandir(self.name):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)

    def cleanup(self) -> None:
        """Remove it; once is enough, and it does no harm if two threads do it."""
        with contextlib.suppress(IndexError):
            os.close(self._locked.pop())
        with contextlib.suppress(OSError):  # what cannot be removed now may be later
            super().cleanup()


def _sweep() -> None:
    """Remove this user's folders that nobody has locked."""
    for folder in Path(tempfile.gettempdir()).glob("grade-*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if found.st_uid != os.getuid() or time.time() - found.st_mtime < _YOUNG:
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
