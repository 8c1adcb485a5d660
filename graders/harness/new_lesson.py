"""A new lesson: a package that works, for its author to change."""

from __future__ import annotations

import keyword
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from string import Template

from graders.harness import DISTRIBUTION
from graders.harness.errors import ExplainedError
from graders.harness.release import release

_TEMPLATE = Path(__file__).with_name("lesson_template")
_SUFFIX = ".template"
_NAME = "NAME"
"""In paths of the template, what the lesson is called."""


class NewLessonError(ExplainedError):
    """A lesson that cannot be written."""


def write(name: str, folder: Path) -> None:
    """Write the package of a lesson into ``folder``, in which nothing may be. Raises :class:`NewLessonError`."""
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
        raise NewLessonError(
            f"A lesson cannot be called {name!r}.", "Its name is that of a Python package: letters, digits and “_”."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NewLessonError(f"{folder} is there already.", "Name another folder, or an empty one.")
    if (known := find_spec(name)) and known.origin:  # not a folder of that name, such as the one that is to be filled
        raise NewLessonError(f"There is a Python module {name} already.", "Give the lesson another name.")
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=f".{folder.name}-") as place:
        made = Path(place) / "made"  # whole, or not at all
        for source in sorted(_TEMPLATE.rglob(f"*{_SUFFIX}")):
            inside = source.relative_to(_TEMPLATE).as_posix().removesuffix(_SUFFIX).replace(_NAME, name)
            target = made / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            text = Template(source.read_text(encoding="utf-8"))
            target.write_text(text.substitute(name=name, distribution=DISTRIBUTION), encoding="utf-8")
        for solution in sorted(made.glob("solutions/*.ipynb")):
            release(solution, made / name / "assignments" / solution.name)
        if folder.exists():  # somebody may stand in it
            shutil.copytree(made, folder, dirs_exist_ok=True)
        else:
            shutil.move(made, folder)
