"""What a result was made by and of: graders and lesson, parameters, packages. Nothing of it is a verdict."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from graders.harness import DISTRIBUTION, PACKAGE, lessons
from graders.harness.data import documents
from graders.harness.data.documents import DamagedError
from graders.harness.hand_in import HandIn
from graders.harness.profile import Profile
from graders.harness.run.interpreter import Interpreter

FILE = "environment.json"
"""In a run folder: the versions of Python and of the lesson's packages that the notebook ran with."""
_NO_VERDICT = (
    "harness/cli", "harness/course", "harness/data/saving.py", "harness/gradebooks", "harness/live",
    "harness/exhibits.py", "harness/machine", "harness/new_lesson.py", "harness/origin.py", "harness/release.py",
    "harness/report", "harness/rubric_source.py", "harness/trial.py", "harness/validation.py", "harness/zoo.py",
)  # fmt: skip
"""What of the harness no verdict depends on."""


def origin(hand_in: HandIn) -> dict[str, Any]:
    """What `result.json` says of it: ``made_by``, ``parameters`` and ``environment``, each a mapping of JSON."""
    lesson = lessons.meant()
    made_by = {
        "graders": version(DISTRIBUTION),
        "lesson": lesson.name,
        "lesson_version": lesson.version,
        "rubric": rubric(hand_in.profile),
    }
    runs = {"run": hand_in} | ({"again": hand_in.again} if hand_in.again else {})
    environment = {"run": _noted(hand_in.evidence.folder), "checks": _versions(None)}
    return {
        "made_by": made_by,
        "parameters": {name: _shown(one.evidence.parameters) for name, one in runs.items()},
        "environment": {name: versions for name, versions in environment.items() if versions},
    }


def note(python: Interpreter | None, run_folder: Path) -> None:
    """Write down what a notebook was run with: this Python, or another one."""
    documents.write(_versions(python), run_folder / FILE)


def rubric(profile: Profile) -> str:
    """A SHA-256 that changes with whatever a verdict depends on besides the run."""
    own = profile.deciding
    return hashlib.sha256(_sources().encode() + (Path(own).read_bytes() if own else b"")).hexdigest()


def fingerprint(files: Iterable[Path]) -> str:
    """A SHA-256 of the contents of files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()


@cache
def _sources() -> str:
    """Of the code that decides, of the harness and of the lesson."""
    skipped = [PACKAGE / name for name in _NO_VERDICT]
    ours = (path for path in (PACKAGE / "harness").rglob("*.py") if not any(path.is_relative_to(s) for s in skipped))
    return fingerprint(ours) + fingerprint(lessons.meant().sources)


def _noted(run_folder: Path) -> dict[str, str]:
    """Nothing for a run of before that was written down, and for a live one."""
    with suppress(DamagedError):
        return documents.read(run_folder, FILE, lambda fields: {n: fields.text(n) for n in fields.all()}, "")
    return {}


def _versions(python: Interpreter | None) -> dict[str, str]:
    """Of Python, and of the packages that the lesson names, as far as they are installed."""
    names = lessons.meant().distributions
    if python is None:
        return {"python": platform.python_version(), **{name: version(name) for name in names}}
    installed = dict(python.packages)
    own = {name: installed[name] for name in names if name in installed}
    return {"python": ".".join(map(str, python.version)), **own}


def _shown(value: Any) -> Any:
    """A parameter as JSON has it, without the folders of this machine: of a path of a fixture what is below the fixtures, of
    another one the last part.
    """
    if isinstance(value, Mapping):
        return {str(key): _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(item) for item in value]
    if isinstance(value, str | Path) and Path(value).is_absolute():
        root = lessons.meant().fixtures.root
        path = Path(value)
        return f"fixtures:{path.relative_to(root).as_posix()}" if path.is_relative_to(root) else f"…/{path.name}"
    plain = value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
    return value if plain else repr(value)
