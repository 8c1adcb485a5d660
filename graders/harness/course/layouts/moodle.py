"""Moodle: a zip of submissions. https://github.com/moodle/moodle, mod/assign"""

from __future__ import annotations

import re

from graders.harness.course.layouts.piece import Piece, Reading
from graders.harness.course.tree import Tree
from graders.harness.marks import Student

# A folder for each student or, if the teacher chose so, everything in one
_FILE = re.compile(r"(?P<name>[^/]+)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext)(?:_?/|_)(?P<file>.+)")
_NOBODY = re.compile(
    r"participant[ea]?|teilnehmer\W?(?:in)?|partecipante|deelnemer|deltak?ar?e|uczestnik|účastník", re.IGNORECASE
)
"""What Moodle calls everybody where names are hidden."""


def read(tree: Tree) -> Reading | None:
    """`Ada Lovelace_1234_assignsubmission_file/ex3.ipynb`: the number is that of the participant."""
    matches = {name: match for name in tree.files if (match := _FILE.fullmatch(name))}
    people = {match["id"]: match["name"] for match in matches.values()}
    # Whatever the language: nobody shares a name with all the others
    hidden = len(people) > 1 and len(set(people.values())) == 1

    def student(match: re.Match[str]) -> Student:
        nameless = hidden or _NOBODY.fullmatch(match["name"])
        return Student(match["id"], "" if nameless else match["name"])

    pieces = [Piece(name, match["file"], student(match)) for name, match in matches.items()]
    return Reading(pieces) if pieces else None
