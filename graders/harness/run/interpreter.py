"""The Python that notebooks run in, if it is not the graders' own: a virtual environment, conda's, or any other one.

Its kernel needs ipykernel there, and nothing else: what collects a notebook's variables stands on the standard library alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from graders.harness import DISTRIBUTION
from graders.harness.data.values import one_line
from graders.harness.errors import MachineError

PATIENCE = 60.0
"""Seconds within which it has to say what it is."""
_ASK = """
import json, sys
from importlib.metadata import distributions
from importlib.util import find_spec
print(json.dumps({
    "version": sys.version_info[:3],
    "prefixes": [sys.prefix, sys.base_prefix],
    "path": sys.path,
    "kernel": find_spec("ipykernel") is not None,
    "graders": bool(getattr(find_spec("graders"), "origin", None) or find_spec("INSTRUCTORS")),
    "packages": sorted({(str(d.metadata["Name"]).lower(), d.version) for d in distributions()}),
}))
""".replace("INSTRUCTORS", f"{DISTRIBUTION.replace('-', '_')}_instructors")


@dataclass(frozen=True)
class Interpreter:
    """A Python: the program, its version, the folders that it is made of, those in which it looks for modules, and what is
    installed. ``has_graders`` if that are these graders as well.
    """

    program: Path
    version: tuple[int, ...]
    prefixes: tuple[Path, ...]
    path: tuple[Path, ...]
    packages: tuple[tuple[str, str], ...]
    has_graders: bool

    @property
    def speaks_ours(self) -> bool:
        """Whether what compiles here compiles there."""
        return self.version[:2] == sys.version_info[:2]

    @property
    def named(self) -> str:
        """What people call it."""
        return f"Python {'.'.join(map(str, self.version))} in {self.prefixes[0]}"


def interpreter(path: Path) -> Interpreter | None:
    """The Python at a path, which may be its environment's folder; None if that is the one that runs this.

    Raises :class:`MachineError` if there is none, or it has no ipykernel.
    """
    path = path.expanduser()
    program = next(
        (p for p in (path / "bin" / "python", path / "Scripts" / "python.exe") if path.is_dir() and p.exists()), path
    )
    found = _asked(os.path.abspath(program))
    same = os.path.realpath(found.prefixes[0]) == os.path.realpath(sys.prefix)
    return None if same else found


@cache
def _asked(program: str) -> Interpreter:
    wrong = "Give the path of a Python that has ipykernel, such as ENVIRONMENT/bin/python."
    try:
        done = subprocess.run([program, "-I", "-c", _ASK], capture_output=True, timeout=PATIENCE, check=False)
        about: dict[str, Any] = json.loads(done.stdout)
        found = Interpreter(
            Path(program),
            tuple(about["version"]),
            tuple(dict.fromkeys(Path(name) for name in about["prefixes"])),
            tuple(Path(name) for name in about["path"] if name),
            tuple((name, version) for name, version in about["packages"]),
            bool(about["graders"]),
        )
    except OSError as error:
        raise MachineError(f"{program} cannot be run: {error.strerror}.", wrong) from None
    except subprocess.TimeoutExpired:
        raise MachineError(f"{program} has said nothing within {PATIENCE:.0f} s.", wrong) from None
    except (ValueError, KeyError, TypeError):
        said = one_line(done.stderr.decode("utf-8", "replace").strip()[-200:], 200)
        raise MachineError(f"{program} is not a Python that works{f' ({said})' if said else ''}.", wrong) from None
    if not about["kernel"]:
        raise MachineError(f"{found.named} has no ipykernel.", f"Run: {program} -m pip install ipykernel")
    return found
