"""A folder that one process works in at a time, without what an interrupted one has left there."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graders.harness.errors import ExplainedError

PATIENCE = 3.0
"""Seconds to wait for a folder that another command has, which is at work in it if it still has it then."""


class ClaimedError(ExplainedError):
    """Another process works in the folder."""


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """The folder, empty, which is this process's alone within the block, wherever it is moved.

    Raises :class:`ClaimedError`.
    """
    if folder.is_symlink() or folder.is_file():
        folder.unlink()  # not ours: what a link leads to stays as it is
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        # The other command may have put its result in place meanwhile, and this folder with it
        mine = _locked(descriptor) and folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat())
        if not mine:
            raise ClaimedError(
                "This notebook is being graded already, by another command.", "Wait until that has ended."
            )
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        yield folder
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Whether the lock could be had; what is left of a command that was killed ends, and gives it back, within seconds."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        except OSError:  # a file system without locks
            return True
        else:
            return True
