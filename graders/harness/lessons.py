"""Lessons: which there are, and which of them is meant.

A package brings lessons by the entry point :data:`GROUP`: the name of a lesson, and where its
:class:`graders.harness.lesson.Lesson` is. Others are named by a path.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tomllib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from graders.harness.errors import ExplainedError
from graders.harness.lesson import INTERFACE, Lesson
from graders.harness.validation import faults

GROUP = "graders.lessons"
VARIABLE = "GRADE_LESSON"
"""The environment variable that says which lesson is meant, so that every process of a command knows: a name, or a path."""
OBJECT = "LESSON"
"""What a module that is named by its path calls its lesson."""


class LessonError(ExplainedError):
    """A lesson that is not there, or cannot be used."""


def installed() -> dict[str, EntryPoint]:
    """Where the lessons of installed packages are, by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def mean(lesson: str) -> Lesson:
    """Have this one meant from here on, in this process and those that it starts: by its name, or by a path.

    Raises :class:`LessonError`.
    """
    found = load(lesson)
    place = Path(lesson)
    os.environ[VARIABLE] = str(place.absolute()) if lesson not in installed() else lesson
    return found


def meant() -> Lesson:
    """The lesson that is meant: that of :data:`VARIABLE`, or the only one that is installed. Raises :class:`LessonError`."""
    return load(name_of_meant())


def name_of_meant() -> str:
    """Its name, or its path."""
    return asked() or _only()


def asked() -> str | None:
    """By which name or path somebody has said which lesson is meant; None if nobody has."""
    return os.environ.get(VARIABLE)


@cache
def _only() -> str:
    names = [*installed()]
    if len(names) == 1:
        return names[0]
    if not names:
        raise LessonError("No lesson is installed.", "Install the package of one, or name its folder: --lesson PATH")
    raise LessonError(
        f"Several lessons are installed: {', '.join(names)}.", f"Say which: --lesson {names[0]}, or {names[0]}/ex1"
    )


@cache
def load(lesson: str) -> Lesson:
    """A lesson by its name, or by the path of the module or the package that has it as ``LESSON``.

    Raises :class:`LessonError` if there is none, or something is wrong with it.
    """
    found = read(lesson)
    if fault := next(faults(found), None):
        raise LessonError(fault.problem, fault.fix)
    return found


def read(lesson: str) -> Lesson:
    """The same, whatever is wrong with it, but for what no version of the graders can use."""
    points = installed()
    if lesson in points:
        try:
            found = points[lesson].load()
        except (ImportError, AttributeError) as error:
            problem = f"The lesson {lesson} cannot be imported ({error})."
            raise LessonError(problem, "Mend the package that brings it, or remove it.") from error
    elif Path(lesson).exists():
        found = getattr(_module(Path(lesson)), OBJECT, None)
    else:
        listed = f"Installed are: {', '.join(points)}." if points else "None is installed."
        raise LessonError(f"There is no lesson {lesson!r}.", f"{listed} Or give the folder or file of one.")
    if not isinstance(found, Lesson):
        raise LessonError(f"{lesson} has no {OBJECT}.", f"Define {OBJECT} = Lesson(...) there.")
    if found.interface != INTERFACE:
        raise LessonError(
            f"The lesson {found.name} was written for version {found.interface} of the graders' interface; this is {INTERFACE}.",
            "Install a version of the lesson, or of the graders, that fits.",
        )
    return found


def _module(place: Path) -> ModuleType:
    """The module or package at a path, imported under its own name."""
    place = place.absolute()
    name = _of_checkout(place)
    if name:
        place = (place / "src" if (place / "src").is_dir() else place).joinpath(*name.split("."))
        place = place if place.is_dir() else place.with_suffix(".py")
    elif place.is_dir() and not (place / "__init__.py").is_file():
        inside = [
            path.parent for path in sorted(place.glob("*/__init__.py")) if f"{OBJECT} =" in path.read_text("utf-8")
        ]
        if len(inside) != 1:
            raise LessonError(f"There is no lesson in {place}.", f"Name the package or module that defines {OBJECT}.")
        place = inside[0]
    name = name or place.stem
    looked_in = str(place.parents[name.count(".")])
    if looked_in not in sys.path:
        sys.path.insert(0, looked_in)
    try:
        module = importlib.import_module(name)
    except Exception as error:
        problem = f"{place} cannot be imported ({type(error).__name__}: {error})."
        raise LessonError(problem, "Mend it there.") from error
    if Path(module.__file__ or "").resolve() not in (place.resolve(), (place / "__init__.py").resolve()):
        raise LessonError(f"{place} cannot be imported: there is another module {name}.", "Give it another name.")
    return module


def _of_checkout(place: Path) -> str:
    """The module of the lesson that the package in a checkout brings, as its pyproject.toml says; "" if it says nothing."""
    try:
        document = tomllib.loads((place / "pyproject.toml").read_text("utf-8"))
        points = document["project"]["entry-points"][GROUP]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return next((str(value).partition(":")[0] for value in points.values()), "")
