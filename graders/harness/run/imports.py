"""What a notebook imports at its top level, and what of that is not there in the Python that it runs in.

Imports in blocks and functions are left alone: whoever writes them so has thought of their failing.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from graders.harness.errors import ExplainedError
from graders.harness.run import packages
from graders.harness.run.interpreter import PATIENCE, Interpreter
from graders.harness.run.kernel.stand_ins import ELSEWHERE
from graders.harness.run.source import Code

MOST = 500
"""Imports that are looked for."""
OFFERED = "graders"
"""It is there for every notebook, whatever is installed."""
_SPACES = ("google",)
"""Names that several packages share, of which one may be there and another not."""
_FILE = re.compile(r"(?<!\w)(\w{1,100})\.py(?!\w)")
_INSTALLS = re.compile(r"\b(?:pip3?|conda|mamba|uv(?:\s+pip)?)\s+(?:-\S+\s+)*install\b|\bsys\.path\b|\bimport_module\b")
_FIND = """
import json, sys
from importlib.util import find_spec
def place(name):
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    where = spec and (spec.origin or next(iter(spec.submodule_search_locations or ()), None))
    return where
print(json.dumps({name: place(name) for name in sys.argv[1:]}))
"""


@dataclass(frozen=True)
class Import:
    """A module that a cell imports at its top level: the name that is looked for, and which cell it is."""

    name: str
    place: str


class MissingImports(ExplainedError):
    """A notebook imports what is not there: a package that the machine lacks, or a file that was not handed in.

    ``names`` are the modules. Nobody's points depend on it before a person has said which of the two it is.
    """

    def __init__(self, missing: Sequence[Import], fix: str) -> None:
        self.names = tuple(dict.fromkeys(one.name for one in missing))
        first, others = missing[0], [f"`{name}`" for name in self.names[1:]]
        also = f" The same goes for {', '.join(others)}." if others else ""
        problem = f"The notebook imports `{first.name}` in {first.place}, and it is neither installed nor beside the notebook."
        super().__init__(problem + also, fix)


def top_level(cells: Sequence[Code]) -> list[Import]:
    """The modules that the cells import, each where it is imported first."""
    found: dict[str, Import] = {}
    for cell in cells:
        for module in _modules(cell.tree.body if cell.tree else ()):
            top = module.partition(".")[0]
            name = ".".join(module.split(".")[:2]) if top in _SPACES else top
            found.setdefault(name, Import(name, cell.place))
    return list(found.values())


def missing(
    cells: Sequence[Code], python: Interpreter | None, sandboxed: bool, beside: Collection[str] = ()
) -> list[Import]:
    """What the cells import at their top level that is neither installed nor ``beside`` the notebook: names of modules.

    Modules of Colab's and the like have stand-ins.
    Nothing where the notebook may install it or look elsewhere, which in a sandbox without network it cannot.
    """
    text = "\n".join(cell.text for cell in cells)
    if not sandboxed and _INSTALLS.search(text):
        return []
    written = {*_FILE.findall(text)}  # or fetched, or looked for: it is known that it is a file
    asked = [one for one in top_level(cells)[:MOST] if one.name not in {OFFERED, *ELSEWHERE, *written, *beside}]
    if python is None:
        asked = [one for one in asked if one.name not in sys.stdlib_module_names]
    there = _there(tuple(sorted(one.name for one in asked)), python, sandboxed) if asked else set()
    return [one for one in asked if one.name not in there]


def elsewhere(cells: Sequence[Code]) -> dict[str, list[str]]:
    """The modules that cells import as if they were there, and that are only on Colab and the like, by the cells' ids."""
    found = {cell.id: [one.name for one in top_level([cell]) if one.name in ELSEWHERE] for cell in cells}
    return {cell: names for cell, names in found.items() if names}


def advice(name: str, python: Interpreter | None) -> str:
    """What to do about a module that one's own notebook imports and that is not there."""
    program = python.program if python else sys.executable
    return f"If it is a package: {program} -m pip install {name}. If it is a file of yours, put {name}.py beside the notebook."


def _modules(body: Sequence[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module in _SPACES and not statement.level:
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
            yield statement.module
        elif isinstance(statement, ast.With):
            yield from _modules(statement.body)


@cache
def _there(names: tuple[str, ...], python: Interpreter | None, sandboxed: bool) -> frozenset[str]:
    """Those of the modules that the Python has, and that are to be seen where notebooks run."""
    program = str(python.program) if python else sys.executable
    try:
        done = subprocess.run([program, "-I", "-c", _FIND, *names], capture_output=True, timeout=PATIENCE, check=True)
        places: dict[str, str | None] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return frozenset(names)  # not known, so nothing is said of them
    hidden = sandboxed and python is None
    return frozenset(name for name, place in places.items() if place and not (hidden and _hidden(Path(place))))


def _hidden(place: Path) -> bool:
    """Whether a module is in a folder of packages of which notebooks see others alone."""
    folders, seen = packages.seen()
    home = next((folder for folder in folders if place.is_relative_to(folder)), None)
    return home is not None and home / place.relative_to(home).parts[0] not in seen
