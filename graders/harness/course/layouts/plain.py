"""Folders and files that people have made themselves: a folder for each student, or a file."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from graders.harness.course.layouts.piece import Piece, Reading
from graders.harness.course.tree import Tree
from graders.harness.data.names import exercises_named, named_student, unversioned
from graders.harness.marks import Student

_GROUP = re.compile(
    r"(?:t|tut|tutorium|tutorial|tutorials|g|gr|group|gruppe|groupe|grupo|section|sec|class|klasse|td|tp|lab|übung|uebung)?"
    r"[\W_]*(?:\d{1,2}|[a-h])",
    re.IGNORECASE,
)
"""Folders of tutorials and sections, in which the students' folders lie."""


def folders(tree: Tree) -> Reading | None:
    """`ada/ex3.ipynb`, or `ex3-ada/solution.ipynb` as GitHub Classroom names repositories."""
    deep = [name for name in tree.files if "/" in name]
    if len(deep) <= len(tree.files) / 2:
        return None
    level = 1 if _in_groups(deep) else 0
    who = _people({name.split("/")[level] for name in deep})
    pieces = []
    for name in deep:
        parts = name.split("/")
        inside = "/".join(parts[level + 1 :])
        said = exercises_named(parts[level])
        file = f"{said[-1]}/{inside}" if said else inside
        pieces.append(Piece(name, file, Student(who[parts[level]]), unversioned=unversioned(parts[level])))
    return Reading(pieces)


def in_doubt(tree: Tree) -> tuple[str, str] | None:
    """A first folder with several folders of notebooks in it, and one of these: either may be a student's."""
    deep = [name.split("/") for name in tree.files if "/" in name and name.lower().endswith(".ipynb")]
    if any(len(parts) < 3 for parts in deep) or _in_groups(["/".join(parts) for parts in deep]):
        return None
    below: dict[str, set[str]] = {}
    for top, inner, *_ in deep:
        if not exercises_named(inner):
            below.setdefault(top, set()).add(inner)
    return next(((top, min(inner)) for top, inner in below.items() if len(inner) > 1), None)


def _in_groups(deep: list[str]) -> bool:
    """Whether the first folders are those of tutorials, and the second ones the students'."""
    tops = {name.split("/")[0] for name in deep}
    return all(_GROUP.fullmatch(top) for top in tops) and all(name.count("/") >= 2 for name in deep)


def _people(folders: set[str]) -> dict[str, str]:
    """Who is meant by the names of folders: what they have before the exercise in common is the course's."""
    named = {folder: named_student(folder) for folder in folders}
    if len(folders) > 1 and all(exercises_named(folder) for folder in folders):
        first = {re.split(r"[-_ ]", name)[0] for name in named.values()}
        if len(first) == 1 and all(re.search(r"[-_ ]", name) for name in named.values()):
            prefix = first.pop()
            if all(folder.startswith(prefix) for folder in folders):
                return {folder: name[len(prefix) :].strip(" -_.") for folder, name in named.items()}
    return {folder: name or folder for folder, name in named.items()}


def notebooks(tree: Tree) -> Reading | None:
    """`ada-ex3.ipynb`: a file for each student."""
    pieces = [
        Piece(name, name, Student(named_student(stem) or stem), unversioned=unversioned(stem))
        for name in tree.files
        if "/" not in name
        for stem in [PurePosixPath(name).stem]
    ]
    return Reading(pieces)
