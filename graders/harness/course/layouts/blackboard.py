"""Blackboard: the assignment files of a column, as "Assignment File Download" packs them."""

from __future__ import annotations

import re
from itertools import takewhile

from graders.harness.course.layouts.piece import Piece, Reading, local, parsed
from graders.harness.course.tree import Tree
from graders.harness.marks import Student

_FILE = re.compile(r"(?P<who>.+)_attempt_(?P<when>\d{4}(?:-\d\d){5})(?:_(?P<file>[^/]+)|(?P<note>\.txt))")
_NOTE = re.compile(r"^[^:\n]{1,30}:\s*(?P<name>[^\n]+?)\s*\((?P<login>[^()\n]+)\)\s*$", re.MULTILINE)
"""In the note of each attempt, whatever the language: `Name: Ada Lovelace (alovelace)`."""


def read(tree: Tree) -> Reading | None:
    """`COURSE_ASSIGNMENT_alovelace_attempt_2026-11-20-21-14-05_ex3.ipynb`; a note has the same name without the file's."""
    matches = [match for name in tree.files if (match := _FILE.fullmatch(name))]
    if not any(match["file"] for match in matches):
        return None
    students = _logins({match["who"] for match in matches})
    for match in matches:
        if match["note"] and (said := _NOTE.search(tree.read(match[0], 10_000).decode("utf-8", "replace"))):
            students[match["who"]] = Student(said["login"], said["name"], login=said["login"])
    pieces = [
        Piece(match[0], match["file"], students[match["who"]], submitted=local(when) if when else None)
        for match in matches
        if match["file"]
        for when in [parsed(match["when"], "%Y-%m-%d-%H-%M-%S")]
    ]
    return Reading(pieces, {match[0] for match in matches if match["note"]})


def _logins(people: set[str]) -> dict[str, Student]:
    """Whom the names of the files name: course and assignment stand before the login, and all have them in common."""
    first, last = min(people), max(people)
    common = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    common = common[: common.rfind("_") + 1] if len(people) > 1 else ""
    logins = {who: who.removeprefix(common) if common else who.rpartition("_")[2] for who in people}
    return {who: Student(login, login=login) for who, login in logins.items()}
