"""What people's names for their files say of exercises and of themselves."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_EXERCISE = re.compile(r"(?i)(?:^|(?<=[\W_]))(?:ex|exercise|assignment|hw|homework|lab)[\s_-]*0*(\d+)(?![0-9])")


def exercises_named(name: str) -> list[str]:
    """The exercises that the name of a file or folder names, such as "ex3"."""
    return [f"ex{number}" for number in _EXERCISE.findall(name)]


def named_student(name: str) -> str:
    """What the name of a file says besides the exercise; nothing if that is all."""
    return _EXERCISE.sub("", PurePosixPath(name).stem).strip(" _-.")
