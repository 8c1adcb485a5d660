"""What a run may take of the machine: memory, processes and files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a program and everything it starts may take together."""

    memory: int | None = None
    """Bytes of memory, with what its files in memory hold; None is no limit."""
    gpu_memory: int | None = None
    """Bytes of memory of NVIDIA GPUs; None is no limit."""
    processes: int = 1000
    """Processes and threads: a kernel with its libraries starts a few for every core."""
    disk: int = 2 << 30
    """Bytes of files in the working directory, and as many of temporary files."""
    shared_memory: int = 1 << 30
    """Bytes of files in `/dev/shm`."""
    files: int = 10_000
    """Files that are kept of what it wrote."""
