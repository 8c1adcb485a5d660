"""Sakai: the bulk download of an assignment. https://github.com/sakaiproject/sakai, assignment, zipSubmissions"""

from __future__ import annotations

import re
from datetime import UTC

from graders.harness.course.layouts.piece import Piece, Reading, parsed
from graders.harness.course.tree import Tree
from graders.harness.marks import Student

_FILE = re.compile(
    r"(?P<person>(?P<above>(?:[^/]+/)*?)(?P<name>[^/()]+)\((?P<login>[^/()]+)\))"
    r"/(?:Submission attachment\(s\)/(?P<file>.+)|(?P<other>[^/]+|Feedback Attachment\(s\)/.+))"
)
_LISTS = re.compile(r"(?:[^/]+/)*grades\.(?:csv|xls|xlsx)")
_TYPED = re.compile(r".*submissionText\.html?")


def read(tree: Tree) -> Reading | None:
    """`Exercise 3/Lovelace, Ada(alovelace)/Submission attachment(s)/ex3.ipynb`; `timestamp.txt` says when, in UTC."""
    matches = [match for name in tree.files if (match := _FILE.fullmatch(name))]
    if not any(match["file"] for match in matches):
        return None
    times = {
        match["person"]: parsed(
            tree.read(match[0], 100).decode("ascii", "replace").strip()[:17] + "000", "%Y%m%d%H%M%S%f"
        )
        for match in matches
        if match["other"] == "timestamp.txt"
    }
    pieces, lists = [], {name for name in tree.files if _LISTS.fullmatch(name)}
    for match in matches:
        if not match["file"] and not _TYPED.fullmatch(match["other"]):
            lists.add(match[0])
            continue
        last, comma, first = match["name"].partition(",")
        name = f"{first.strip()} {last.strip()}" if comma else match["name"].strip()
        when = times.get(match["person"])
        student = Student(match["login"], name, login=match["login"])
        file, submitted = match["file"] or match["other"], when.replace(tzinfo=UTC) if when else None
        pieces.append(Piece(match[0], file, student, submitted=submitted, above=match["above"]))
    return Reading(pieces, lists)
