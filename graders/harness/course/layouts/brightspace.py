"""Brightspace: the submissions of an assignment, as "Download" in its list packs them."""

from __future__ import annotations

import re
from datetime import datetime

from graders.harness.course.layouts.piece import Piece, Reading, local, parsed
from graders.harness.course.tree import Tree
from graders.harness.marks import Student

_FILE = re.compile(r"(?P<id>\d+)-\d+ - (?P<name>[^/]+) - (?P<when>[^/]*\d{4}[^/]*?)/(?P<file>.+)")
_FORMS = (
    "%b %d, %Y %I%M %p",
    "%B %d, %Y %I%M %p",
    "%d %B, %Y %I%M %p",
    "%d %b, %Y %I%M %p",
    "%b %d, %Y %H%M",
    "%d %B, %Y %H%M",
)
"""How it writes a time; without the colon, which no file may have in its name."""


def read(tree: Tree) -> Reading | None:
    """`12345-67890 - Ada Lovelace - Nov 20, 2026 907 AM/ex3.ipynb`: a folder for each attempt, and a list, `index.html`."""
    matches = [match for name in tree.files if (match := _FILE.fullmatch(name))]
    pieces = [
        Piece(match[0], match["file"], Student(match["id"], match["name"]), submitted=_time(match["when"]))
        for match in matches
    ]
    return Reading(pieces, {"index.html"} & set(tree.files)) if pieces else None


def _time(text: str) -> datetime | None:
    padded = re.sub(r"\b(\d)(\d\d)\b(?= [AaPp]\.?[Mm])|\b(\d)(\d\d)$", lambda m: m[0].zfill(4), text.strip())
    read = (parsed(padded, form) for form in _FORMS)
    return next((local(when) for when in read if when), None)
