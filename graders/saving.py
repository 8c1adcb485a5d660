"""Files written so that nobody sees half of one, whatever happens meanwhile."""

from __future__ import annotations

import os
from pathlib import Path


def save(content: bytes, path: Path, mode: int = 0o666) -> None:
    """Write a file beside its place and rename it there; ``mode`` is what it may be opened for, less the umask."""
    beside = path.with_name(f"{path.name}.partial")
    beside.unlink(missing_ok=True)  # one that was left may be open to others than this one should be
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # or a power cut could leave the name, and nothing in it
    beside.replace(path)
