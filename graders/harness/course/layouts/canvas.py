"""Canvas: a zip of submissions. https://github.com/instructure/canvas-lms, lib/content_zipper.rb"""

from __future__ import annotations

import re

from graders.harness.course.layouts.piece import Piece, Reading
from graders.harness.course.tree import Tree
from graders.harness.marks import Student

_FILE = re.compile(r"(?P<name>.+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<attachment>\d+)_(?P<file>[^/]+)")
# What is no file, but a link or a text that was typed in
_ENTRY = re.compile(r"(?P<name>.+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<file>(?:link|text|media|annotation)\.html?)")
_ANONYMOUS = re.compile(
    r"(?P<late>LATE_)?anon_(?P<id>[A-Za-z0-9]+)(?P<later>_LATE)?_(?:(?P<attachment>\d+)_)?(?P<file>[^/]+)"
)


def read(tree: Tree) -> Reading | None:
    """`surnamename_LATE_1234_5678_ex3.ipynb`: the numbers are the student's and the attachment's."""
    matches = {
        name: _ANONYMOUS.fullmatch(name) or _FILE.fullmatch(name) or _ENTRY.fullmatch(name) for name in tree.files
    }
    found = [(name, match, match.groupdict()) for name, match in matches.items() if match]
    # The number of an attachment grows from attempt to attempt
    found.sort(key=lambda one: (int(one[2].get("attachment") or 0), one[0]))
    pieces = [
        Piece(
            name,
            match["file"],
            Student(match["id"], said.get("name") or ""),
            late=bool(match["late"] or said.get("later")),
            number=int(said.get("attachment") or 0),
        )
        for name, match, said in found
    ]
    return Reading(pieces) if pieces else None
