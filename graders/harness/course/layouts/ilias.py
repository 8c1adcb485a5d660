"""ILIAS: all submissions of an exercise. https://github.com/ILIAS-eLearning/ILIAS, components/ILIAS/Exercise"""

from __future__ import annotations

import re
from collections import defaultdict

from graders.harness.course.layouts.piece import Piece, Reading, local, parsed
from graders.harness.course.tree import Tree
from graders.harness.marks import Student

_FILE = re.compile(
    r"(?P<above>(?:[^/]+/)*)(?P<last>[^/_]+)_(?P<first>[^/_]+)_(?P<login>[^/]+)_(?P<id>\d+)"
    r"/(?:(?P<when>20\d{12})_)?(?P<file>.+)"
)
_TEAM = re.compile(r"(?:.*/)?(?P<team>Team \d+)/")


def read(tree: Tree) -> Reading | None:
    """`Abgaben/Lovelace_Ada_alovelace_815/20261120211405_ex3.ipynb`: what a member of a team hands in is all members' work."""
    matches = [match for name in tree.files if (match := _FILE.fullmatch(name))]
    if not any(match["when"] for match in matches):
        return None
    teams: dict[str, dict[str, Student]] = defaultdict(dict)
    for match in matches:
        if _TEAM.fullmatch(match["above"]):
            teams[match["above"]][match["id"]] = _student(match)
    pieces = []
    for match in matches:
        when = parsed(match["when"], "%Y%m%d%H%M%S") if match["when"] else None
        at = local(when) if when else None
        members = teams.get(match["above"], {}).values()
        group = match["above"].rstrip("/").rpartition("/")[2] if len(members) > 1 else ""
        for student in members or [_student(match)]:
            pieces.append(Piece(match[0], match["file"], student, submitted=at, group=group))
    return Reading(pieces)


def _student(match: re.Match[str]) -> Student:
    return Student(match["login"], f"{match['first']} {match['last']}", login=match["login"])
