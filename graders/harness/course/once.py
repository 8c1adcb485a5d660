"""Nothing is done twice: a notebook that has been run is not run again, and one that has been checked is kept as it is."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from graders.harness import PACKAGE, lessons
from graders.harness.checking import CheckLimits
from graders.harness.data import documents
from graders.harness.data.documents import DamagedError, Fields
from graders.harness.data.saving import save
from graders.harness.grade import Setting, grade, lost_runs, rescore
from graders.harness.origin import fingerprint, rubric
from graders.harness.profile import Profile
from graders.harness.result import Result, load
from graders.harness.run.beside import FILE
from graders.harness.run.interpreter import Interpreter

KNOWN = "known.json"


class Done(StrEnum):
    """What had to be done to have a result."""

    EXECUTED = "executed"
    CHECKED = "checked again"
    KEPT = "kept"


def grade_once(
    exercise: str,
    notebook: Path,
    folder: Path,
    parameters: Mapping[str, Any] | None = None,
    within: Setting | None = None,
    again: bool = False,
) -> Done:
    """Have the notebook's result in ``folder`` as :func:`graders.harness.grade.grade` leaves it.

    The files that stand beside it are in the archive ``beside.zip`` there, if there are any.
    It is executed if it, its parameters, the fixtures, the libraries or the code that runs notebooks have changed since
    ``folder`` was made, if it ran into a limit that is higher now, or if it is to be done ``again``; and else only checked
    again, if the graders have changed.
    """
    known = folder / KNOWN
    within = within or Setting()
    limits = asdict(within.limits) | {"time_limit": within.time_limit}
    files = notebook.with_name(FILE)
    beside = files.read_bytes() if files.is_file() else b""
    ran = _key(exercise, notebook.read_bytes() + beside, parameters or {}, within.profile, within.python)
    checked = rubric(within.profile)
    before = _known(folder)
    unfit = before.get("ran") != ran or bool(lost_runs(folder))
    if again or unfit or (_higher(limits, before["limits"]) and _was_stopped(folder)):
        grade(exercise, notebook, folder, parameters, within=within, beside=beside)
        done = Done.EXECUTED
    elif before["checked"] != checked:
        rescore(exercise, folder, limits=within.checking)
        done = Done.CHECKED
    else:
        return Done.KEPT
    save(json.dumps({"ran": ran, "checked": checked, "limits": limits}).encode(), known)
    return done


def check_again(exercise: str, folder: Path, limits: CheckLimits | None = None, *, dry: bool = False) -> Result:
    """Check the run in ``folder`` with the graders of now, whatever it was checked with before; if ``dry``, keep nothing."""
    result = rescore(exercise, folder, limits=limits, dry=dry)
    if not dry and (before := _known(folder)):
        checked = rubric(lessons.meant().profile_in(folder))
        save(json.dumps(before | {"checked": checked}).encode(), folder / KNOWN)
    return result


def _known(folder: Path) -> dict[str, Any]:
    """What ``folder`` was made of; nothing if that is not known any more."""
    with suppress(DamagedError):
        return documents.read(folder, KNOWN, _made_of, "")
    return {}


def _made_of(fields: Fields) -> dict[str, Any]:
    limits = fields.object("limits")
    within = {name: None if limits[name] is None else limits.number(name, 0, 1e18) for name in limits.all()}
    return {"ran": fields.text("ran"), "checked": fields.text("checked"), "limits": within}


def _higher(limits: Mapping[str, float | None], before: Mapping[str, float | None]) -> bool:
    """Whether any limit is higher than it was; None is no limit."""
    return any((limits[name] or math.inf) > (before.get(name) or math.inf) for name in limits)


def _was_stopped(folder: Path) -> bool:
    return load(folder / "result.json").run["ended"] in ("timeout", "out_of_memory", "kernel_died")


def _key(
    exercise: str, handed_in: bytes, parameters: Mapping[str, Any], profile: Profile, python: Interpreter | None
) -> str:
    """What a run depends on."""
    own = "" if profile == lessons.meant().standard else f"{profile}"
    own += f"{python}" if python else ""
    asked = f"{_environment()} {lessons.meant().exercise(exercise)} {dict(parameters)} {own}"
    return hashlib.sha256(asked.encode() + handed_in).hexdigest()


@cache
def _environment() -> str:
    """What a run depends on besides its notebook and parameters: the code that runs it, fixtures and libraries."""
    lesson = lessons.meant()
    libraries = {name: version(name) for name in lesson.distributions}
    return f"{fingerprint((PACKAGE / 'harness' / 'run').rglob('*.py'))} {lesson.fixtures.digest} {libraries}"
