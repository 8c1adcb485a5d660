"""nbgrader: the folder ``submitted``. https://nbgrader.readthedocs.io, "Philosophy: directory structure" """

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from graders.harness.course.layouts.piece import Piece, Reading
from graders.harness.course.tree import Tree
from graders.harness.marks import Student

STAMP = "timestamp.txt"
_FILE = re.compile(r"(?P<place>(?P<top>submitted/)?(?P<id>[^/]+)/(?P<assignment>[^/]+))/(?P<file>.+)")
_OFFSETS = {
    "UTC": 0, "GMT": 0, "Z": 0, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9,
    "KST": 9, "HKT": 8, "SGT": 8, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13, "EST": -5, "EDT": -4, "MST": -7,
    "MDT": -6, "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10,
}  # fmt: skip
"""Hours from UTC of the zones that clocks abbreviate in one way only, as `date` does. Not among them: IST, CST, BST."""


def read(tree: Tree) -> Reading | None:
    """`submitted/ada/ex3/ex3.ipynb`, with a file `timestamp.txt` beside it; without `submitted` where there are such files."""
    files = set(tree.files)
    matches = [match for name in tree.files if (match := _FILE.fullmatch(name))]
    below = any(match["top"] for match in matches)
    matches = [match for match in matches if bool(match["top"]) == below]
    if not below and not any(match["file"] == STAMP for match in matches):
        return None

    def pieces() -> Iterator[Piece]:
        for match in matches:
            stamp = f"{match['place']}/{STAMP}"
            when = timestamp(tree.read(stamp, 1000).decode("utf-8-sig", "replace")) if stamp in files else None
            if match["file"] != STAMP:
                name = f"{match['assignment']}/{match['file']}"
                yield Piece(match[0], name, Student(match["id"]), submitted=when)

    return Reading(list(pieces()), {match[0] for match in matches if match["file"] == STAMP})


def timestamp(text: str) -> datetime | None:
    """nbgrader's time, such as `2015-02-02 15:58:23.948203 America/Los_Angeles`; without a zone it is UTC."""
    when, _, zone = text.strip().rpartition(" ")
    try:
        if not zone or re.match(r"[\d:.+-]+$", zone):
            read = datetime.fromisoformat(text.strip())
            return read if read.tzinfo else read.replace(tzinfo=UTC)
        if zone.upper() in _OFFSETS:
            return datetime.fromisoformat(f"{when}{_OFFSETS[zone.upper()]:+03d}:00")
        return datetime.fromisoformat(when).replace(tzinfo=ZoneInfo(zone))
    except (ValueError, ZoneInfoNotFoundError, OSError):
        return None
