"""What is asked of a machine: all of it for `grade doctor`, and before a run what can be told at once."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graders.harness import lessons
from graders.harness.errors import ExplainedError
from graders.harness.finding import Finding, insist
from graders.harness.machine import packages
from graders.harness.run.interpreter import Interpreter


@dataclass(frozen=True)
class Part:
    """One thing that is examined; ``sandbox`` if only other people's notebooks need it."""

    title: str
    findings: Iterator[Finding]
    sandbox: bool = False


def examine(folder: Path, *, network: bool = False, python: Interpreter | None = None) -> Iterator[Part]:
    """Everything, as grading in ``folder`` needs it; each part is found out when its findings are asked for.

    Notebooks run in ``python``, if it is another one than this.
    """
    yield Part("Packages", _packages())
    yield Part("What notebooks find to import", _for_notebooks(python))
    yield Part("Device", _device())
    yield Part("Room", _room(folder))
    for title, findings in lessons.meant().examine(network=network):
        yield Part(title, findings)
    yield Part("The sandbox, for other people's notebooks (bubblewrap)", sandbox(), sandbox=True)


def before_run(exercise: str | None, parameters: Mapping[str, Any], isolation: str, folder: Path) -> Iterator[Finding]:
    """The warnings for a run with ``parameters`` of an exercise, or of all if none is named.

    :class:`MachineError` if it cannot come to anything. Takes half a second, and then as long as torch takes to be imported,
    which a run needs anyway.
    """
    yield from insist(_before(exercise, parameters, isolation, folder))


def _before(exercise: str | None, parameters: Mapping[str, Any], isolation: str, folder: Path) -> Iterator[Finding]:
    yield packages.python()
    yield from packages.versions()
    from graders.harness.machine import gpu, room  # which need some of the packages

    yield from lessons.meant().before_run(exercise, parameters, isolation)
    yield from room.examine(folder, lessons.meant(), exercise, parameters)
    yield from gpu.asked(parameters.get("DEVICE"))
    yield from packages.conflicts()
    yield from packages.torch()


def sandbox() -> Iterator[Finding]:
    """Whether the sandbox holds what it promises."""
    from graders.harness.machine.promises import examine as put_to_the_test
    from graders.harness.run.bubblewrap import Bubblewrap
    from graders.harness.run.warm_client import cold_because

    words = "a sandbox can be had"
    if sys.platform != "linux":  # elsewhere there is not even what would put it to the test
        yield Finding("sandbox", words, "it needs Linux", "Grade other people's notebooks on Linux, or in WSL.")
        return
    try:
        yield from put_to_the_test(Bubblewrap())
        yield Finding(
            "warm",
            "runs begin with all libraries imported already",
            cold_because(shutil.which("bwrap") or "bwrap").rstrip(".") or None,
            "Each is started anew instead, which takes some five seconds more.",
            essential=False,
        )
    except ExplainedError as error:  # it does not even start
        yield Finding("sandbox", words, error.problem.rstrip("."), error.fix)
    except OSError as error:
        yield Finding("sandbox", words, f"it could not be put to the test ({error})", "Mend that, and try again.")


def _packages() -> Iterator[Finding]:
    yield packages.python()
    yield from packages.versions()
    yield from packages.conflicts()
    yield from packages.imports()


def _for_notebooks(python: Interpreter | None) -> Iterator[Finding]:
    yield from packages.for_notebooks(python)
    if python:
        yield from packages.imports(python)


def _device() -> Iterator[Finding]:
    from graders.harness.machine import gpu

    outlines = lessons.meant().outlines
    slowest = max(outlines, key=lambda name: outlines[name].seconds)
    yield from gpu.examine(f"exercise {slowest[2:]}", math.ceil(2 * outlines[slowest].seconds / 60))


def _room(folder: Path) -> Iterator[Finding]:
    from graders.harness.machine import room

    yield from room.examine(folder, lessons.meant())
