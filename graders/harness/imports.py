"""Imports that take seconds."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Within it, the garbage collector rests, and what was made meanwhile it leaves alone for good, at the end of Python, too.

    What is imported stays. To go through all of it again and again took four tenths of the time that a start takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
