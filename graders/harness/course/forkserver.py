"""The process that workers are forked from: it imports what they need, once for all of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from multiprocessing import forkserver, get_context
from multiprocessing.context import BaseContext

_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
"""On macOS it is not safe to fork a process with such libraries in it."""


def context() -> BaseContext:
    """How workers are started."""
    return get_context(_METHOD)


def prepare(modules: Sequence[str]) -> None:
    """Begin with what takes longest of a start, to import these modules, and do not wait for it."""
    if _METHOD == "forkserver":
        context().set_forkserver_preload(
            ["graders.harness.course.preloading", "graders.harness.course.workers", *modules]
        )
        forkserver.ensure_running()
