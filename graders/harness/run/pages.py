"""This process's memory in huge pages, of which a fork copies one entry in the place of 512, and an exit clears one.

What it calls is in madvise(2).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

_HUGE = 2 << 20
_COLLAPSE = 25
_library = ctypes.CDLL(None)


def make_huge() -> None:
    """Have what is held now moved to huge pages, as far as Linux has some; it takes a second for half a gigabyte."""
    for start, end in list(_writable()):
        # Where it cannot, nothing is lost
        _library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _COLLAPSE)


def _writable() -> Iterator[tuple[int, int]]:
    """Where whole huge pages would fit into private memory that is written to and belongs to no file; see proc_pid_maps(5)."""
    with open("/proc/self/maps") as file:
        for line in file:
            place, allowed, _, _, inode, *_ = line.split()
            start, end = (int(address, 16) for address in place.split("-"))
            start, end = -(-start // _HUGE) * _HUGE, end // _HUGE * _HUGE
            if start < end and allowed.startswith("rw") and allowed.endswith("p") and inode == "0":
                yield start, end
