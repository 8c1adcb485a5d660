"""A hostile hand-in: what it tries, how its run must end, and what must be true afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from graders.harness.grade import Setting
from graders.harness.result import Result
from graders.harness.run.bubblewrap import Bubblewrap
from graders.harness.run.evidence import Evidence
from graders.harness.run.limits import Limits
from graders.lora import catalog

LIMITS = Limits(memory=800 << 20, processes=200, disk=32 << 20, shared_memory=32 << 20, files=1000)
SMALL = Setting(Bubblewrap(likely=(catalog.ROOT,)), LIMITS, time_limit=120.0, grace=3.0)
"""For hand-ins that come to an end by themselves."""
SHORT = replace(SMALL, time_limit=4.0, grace=2.0)
"""For those that have to be ended."""
EVIL = 3
"""The code cell that holds the attack: the parameters and the honest part come first."""


@dataclass(frozen=True)
class Honest:
    """The honest part of a hand-in, and what it deserves."""

    source: str
    name: str
    value: Any
    points: float


HONEST = {
    "ex1": Honest("unet_param_count = 859_520_964", "unet_param_count", 859_520_964, 2.0),
    "ex2": Honest("pass", "", None, 0.0),
    "ex3": Honest("losses = {4: [0.5]}", "losses", {4: [0.5]}, 0.0),
}


@dataclass(frozen=True)
class Aftermath:
    """What the grading of a hostile hand-in left, as observed from the host the moment it had ended."""

    folder: Path
    result: Result
    started: float
    ended: float
    leftovers: tuple[str, ...]
    """Processes below the grading process, in one of its control groups, or with the case's mark."""
    visitors: tuple[str, ...]
    """Listeners of the host that somebody came to."""
    planted: tuple[str, ...]
    """Marker files that only code of the hand-in, run on the host, could have made."""
    peak_memory: int
    """Bytes that the grading process held at most."""

    @property
    def runs(self) -> tuple[Evidence, ...]:
        """Both runs, or the only one."""
        return tuple(Evidence(self.folder / name) for name in ("run", "again") if (self.folder / name).is_dir())

    def kept(self, name: str) -> tuple[str, ...]:
        """A file that each run left in OUTPUT_DIR."""
        return tuple(evidence.path(name).read_text() for evidence in self.runs)


def nothing_else(aftermath: Aftermath) -> None:
    """No more than what is true after every hand-in."""


@dataclass(frozen=True)
class Case:
    """A hand-in of a cell of parameters, an honest cell, and cells that ``attack``.

    The honest cell assigns ``OUTSIDE``, which tells the attack all that there is to know about the host but its secrets.
    ``ended`` is how each run must end, in code cell ``cell``, for a ``reason`` (a regular expression); where several
    ends are named, it is a matter of luck which comes first. ``afterwards`` asserts whatever else must be true.
    """

    title: str
    attack: str | tuple[str, ...]
    ended: str | tuple[str, ...] = "completed"
    cell: int | None = None
    reason: str = ""
    afterwards: Callable[[Aftermath], None] = nothing_else
    exercise: str = "ex1"
    within: Setting = SMALL
    points: float | None = None
    """None for those of the honest part alone."""
    kept: bool = True
    """Whether the honest part's evidence is still there: an attack can destroy its own."""
    answers: tuple[str, ...] = ()
    saved_output: str = ""
    """Output that the file claims for the attacking cells, which nothing has printed."""
    once: bool = False
    """Run it once, and make the check of the honest part and one that fails: a second run would show the same."""

    @property
    def only(self) -> tuple[str, ...]:
        """The checks that are made, if not all."""
        return ("cross_attention_layers", "unet_param_count") if self.once else ()

    @property
    def honest(self) -> Honest:
        """The honest part."""
        return HONEST[self.exercise]

    def write(self, folder: Path, outside: Mapping[str, Any]) -> Path:
        """The notebook in the new folder ``folder``."""
        parameters = new_code_cell('MODEL = "none"\nOUTPUT_DIR = "output"', metadata={"tags": ["parameters"]})
        attack = (self.attack,) if isinstance(self.attack, str) else self.attack
        cells = [parameters, new_code_cell(f"{self.honest.source}\nOUTSIDE = {dict(outside)!r}")]
        cells += [new_code_cell(source.strip("\n")) for source in attack]
        if self.saved_output:
            for number, cell in enumerate(cells, 1):
                cell.execution_count = number
                cell.outputs = [new_output("stream", name="stdout", text=self.saved_output)]
        cells += [new_markdown_cell(text, metadata={"tags": ["written-answer"]}) for text in self.answers]
        folder.mkdir(parents=True)
        path = folder / f"{self.exercise}.ipynb"
        nbformat.write(new_notebook(cells=cells), path)
        return path


def cold(case: Case) -> Case:
    """The same in a sandbox of its own, which is not within another."""
    return replace(case, title=f"{case.title}, cold", within=replace(case.within, isolation=Bubblewrap(warm=False)))


KEEP = '''
import json, os
found = []
def attempt(what, act):
    """Note what was possible."""
    try:
        act()
    except Exception:
        return
    found.append(what)
def keep(name="found.json", content=None):
    os.makedirs(OUTPUT_DIR, exist_ok=True)
    with open(os.path.join(OUTPUT_DIR, name), "w") as file:
        json.dump(found if content is None else content, file)
'''
"""What attacks that look for something begin with; they end with ``keep()``."""


def nothing_found(aftermath: Aftermath) -> None:
    """The attack was made to its end, and none of it was possible."""
    found = [json.loads(text) for text in aftermath.kept("found.json")]
    assert found == [[] for _ in aftermath.runs], found
