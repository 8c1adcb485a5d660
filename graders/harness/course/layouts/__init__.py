"""How course systems lay out hand-ins: who handed in a file is told by its path, or by a list beside it.

A module for each course system; what goes back to them is :mod:`graders.harness.gradebooks`.
"""

from graders.harness.course.layouts import (
    blackboard,
    brightspace,
    canvas,
    gradescope,
    ilias,
    moodle,
    nbgrader,
    pattern,
    plain,
    sakai,
)
from graders.harness.course.layouts.piece import Layout, Piece, Reading

__all__ = ["PLAIN", "SYSTEMS", "Layout", "Piece", "Reading", "named"]

SYSTEMS = {
    "gradescope": Layout("a Gradescope export", "submission_1234/ex3.ipynb", gradescope.read),
    "canvas": Layout("a Canvas zip of submissions", "lovelaceada_1234_5678_ex3.ipynb", canvas.read),
    "moodle": Layout("a Moodle zip of submissions", "Ada Lovelace_1234_assignsubmission_file/ex3.ipynb", moodle.read),
    "sakai": Layout(
        "a Sakai bulk download", "Exercise 3/Lovelace, Ada(ada)/Submission attachment(s)/ex3.ipynb", sakai.read
    ),
    "ilias": Layout("an ILIAS download", "Lovelace_Ada_ada_815/20261120211405_ex3.ipynb", ilias.read),
    "blackboard": Layout(
        "a Blackboard download", "Exercise 3_ada_attempt_2026-11-20-21-14-05_ex3.ipynb", blackboard.read
    ),
    "brightspace": Layout(
        "a Brightspace download", "12345-67890 - Ada Lovelace - Nov 20, 2026 907 AM/ex3.ipynb", brightspace.read
    ),
    "nbgrader": Layout("nbgrader's submitted folder", "submitted/ada/ex3/ex3.ipynb", nbgrader.read),
}
"""Course systems' own layouts, in the order in which they are tried."""
PLAIN = {
    "folders": Layout("a folder for each student", "ada/ex3.ipynb", plain.folders),
    "notebooks": Layout("a folder of notebooks", "ada-ex3.ipynb", plain.notebooks),
}
"""What people have laid out themselves; these fit nearly everything."""


def named(name: str) -> Layout:
    """The layout of a name, or of a pattern of one's own; :class:`pattern.PatternError` if it is neither."""
    if known := (SYSTEMS | PLAIN).get(name):
        return known
    if "{" not in name:
        listed = ", ".join(SYSTEMS | PLAIN)
        raise pattern.PatternError(
            f"There is no layout {name!r}.", f"Name one of {listed}; or a pattern such as {{id}}/*.ipynb."
        )
    return pattern.layout(name)
