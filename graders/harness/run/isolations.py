"""The isolations by the names that they have on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from graders.harness.run.bubblewrap import Bubblewrap
from graders.harness.run.interpreter import Interpreter
from graders.harness.run.unconfined import NoIsolation


def isolation(
    name: str,
    likely: Sequence[Path] = (),
    python: Interpreter | None = None,
    shared: Mapping[str, Path] | None = None,
) -> Bubblewrap | NoIsolation:
    """The isolation of that name, in which runs are ``likely`` to read these files and folders.

    Notebooks run in ``python``, if it is another one than this, and may import the modules of a lesson that are ``shared``.
    """
    if name == NoIsolation.name:
        return NoIsolation(python=python)
    return Bubblewrap(likely=likely, python=python, shared=shared)
