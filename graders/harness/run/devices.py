"""What of `/dev` there is in the sandbox, as arguments of bubblewrap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def bare() -> Iterator[str]:
    """What bubblewrap makes of `/dev`, but for terminals, with which it would mask every view of the processes."""
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        yield from ("--dev-bind", f"/dev/{name}", f"/dev/{name}")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        yield from ("--symlink", f"/proc/self/fd/{number}", f"/dev/{name}")
    yield from ("--symlink", "/proc/self/fd", "/dev/fd", "--symlink", "pts/ptmx", "/dev/ptmx")
    yield from ("--dir", "/dev/pts", "--dir", "/dev/shm")


def gpus() -> Iterator[str]:
    """What a program needs of an NVIDIA GPU: its devices, and what the driver says of them."""
    for pattern in ("nvidia*", "dxg"):
        for device in sorted(Path("/dev").glob(pattern)):
            yield from ("--dev-bind", str(device), str(device))
    for folder in sorted(Path("/sys/module").glob("nvidia*")):
        yield from ("--ro-bind-try", str(folder), str(folder))
