"""How course systems lay out hand-ins: who handed in a file is told by its path, or by a list beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from graders.harness.course.tree import Tree
from graders.harness.data.names import named_student
from graders.harness.marks import Student

MAX_LIST = 20_000_000
"""Bytes of a list of hand-ins. Gradescope's, with the history of every student's attempts, is a few kB for each."""


@dataclass(frozen=True)
class Piece:
    """One file of a student: its path in the tree, and its name as the student gave it."""

    path: str
    name: str
    student: Student
    late: bool = False
    submitted: datetime | None = None


Layout = Callable[[Tree, list[str]], Iterator[Piece] | None]

# https://github.com/instructure/canvas-lms, lib/content_zipper.rb
_CANVAS = re.compile(r"(?P<name>.+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<attachment>\d+)_(?P<file>[^/]+)")
_CANVAS_ANONYMOUS = re.compile(r"anon_(?P<id>[A-Za-z0-9]+)(?P<late>_LATE)?_(?P<attachment>\d+)_(?P<file>[^/]+)")
# A folder for each student or, if the teacher chose so, everything in one; https://github.com/moodle/moodle, mod/assign
_MOODLE = re.compile(r"(?P<name>[^/]+)_(?P<id>\d+)_assignsubmission_file(?:_?/|_)(?P<file>.+)")
_GRADESCOPE = re.compile(r"submission_(?P<id>\d+)/(?P<file>.+)")
_NBGRADER = re.compile(r"(?P<id>[^/]+)/(?P<assignment>[^/]+)/(?P<file>.+)")


def canvas(tree: Tree, files: list[str]) -> Iterator[Piece] | None:
    """A zip of submissions as Canvas packs it: `surnamename_LATE_1234_5678_ex3.ipynb`."""
    matches = {name: _CANVAS_ANONYMOUS.fullmatch(name) or _CANVAS.fullmatch(name) for name in files}
    if not _most(matches.values()):
        return None
    # The number of an attachment grows from attempt to attempt
    ordered = sorted((int(m["attachment"]), name, m) for name, m in matches.items() if m)
    return (
        Piece(name, m["file"], Student(m["id"], m.groupdict().get("name") or ""), late=bool(m["late"]))
        for _, name, m in ordered
    )


def moodle(tree: Tree, files: list[str]) -> Iterator[Piece] | None:
    """A zip of submissions as Moodle packs it: `Ada Lovelace_1234_assignsubmission_file/ex3.ipynb`."""
    matches = {name: _MOODLE.fullmatch(name) for name in files}
    if not any(matches.values()):
        return None

    def student(m: re.Match[str]) -> Student:
        # Blind marking: nobody is called that
        return Student(m["id"], "" if m["name"] == "Participant" else m["name"])

    return (Piece(name, m["file"], student(m)) for name, m in matches.items() if m)


def gradescope(tree: Tree, files: list[str]) -> Iterator[Piece] | None:
    """An export of submissions as Gradescope packs it: `submission_1234/ex3.ipynb`, and a list of who that is."""
    if "submission_metadata.yml" not in files:
        return None
    try:
        listed = yaml.load(tree.read("submission_metadata.yml", MAX_LIST), _Yaml)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    if not isinstance(listed, dict):
        return None

    def pieces() -> Iterator[Piece]:
        for name in files:
            if match := _GRADESCOPE.fullmatch(name):
                entry = listed.get(f"submission_{match['id']}")
                entry = entry if isinstance(entry, dict) else {}
                when = entry.get(":created_at")
                piece = Piece(name, match["file"], Student(match["id"]), submitted=_aware(when))
                # A group hands in once; each of its members gets the grade
                people = [person for person in entry.get(":submitters") or [] if isinstance(person, dict)]
                for person in people:
                    said = {key: str(person.get(f":{key}") or "") for key in ("name", "sid", "email")}
                    known = said["sid"] or said["email"] or said["name"] or match["id"]
                    yield replace(piece, student=Student(known, said["name"], sis_id=said["sid"], email=said["email"]))
                if not people:
                    yield piece

    return pieces()


def nbgrader(tree: Tree, files: list[str]) -> Iterator[Piece] | None:
    """The folder `submitted` of nbgrader: `submitted/ada/ex3/ex3.ipynb`, with a file `timestamp.txt` beside it."""
    below = [name.removeprefix("submitted/") for name in files if name.startswith("submitted/")]
    top = "submitted/" if below else ""
    matches = [m for name in below or files if (m := _NBGRADER.fullmatch(name))]
    if not below and not any(m["file"] == "timestamp.txt" for m in matches):
        return None

    def pieces() -> Iterator[Piece]:
        for m in matches:
            place = f"{top}{m['id']}/{m['assignment']}"
            stamp = f"{place}/timestamp.txt"
            when = _timestamp(tree.read(stamp, 1000).decode("utf-8", "replace")) if stamp in known else None
            if m["file"] != "timestamp.txt":
                yield Piece(f"{place}/{m['file']}", f"{m['assignment']}/{m['file']}", Student(m["id"]), submitted=when)

    known = set(files)
    return pieces()


def folders(tree: Tree, files: list[str]) -> Iterator[Piece] | None:
    """A folder for each student: `ada/ex3.ipynb`."""
    deep = [name for name in files if "/" in name]
    if len(deep) <= len(files) / 2:
        return None
    return (Piece(name, name.partition("/")[2], Student(name.partition("/")[0])) for name in deep)


def notebooks(tree: Tree, files: list[str]) -> Iterator[Piece] | None:
    """A file for each student: `ada-ex3.ipynb`."""
    return (
        Piece(name, name, Student(named_student(name) or PurePosixPath(name).stem)) for name in files if "/" not in name
    )


LAYOUTS: dict[str, Layout] = {
    "a Gradescope export": gradescope,
    "a Canvas zip of submissions": canvas,
    "a Moodle zip of submissions": moodle,
    "nbgrader's submitted folder": nbgrader,
    "a folder for each student": folders,
    "a folder of notebooks": notebooks,
}
"""In the order in which they are tried: the last two fit nearly everything."""


def _most(matches: Collection[re.Match[str] | None]) -> bool:
    return sum(map(bool, matches)) > len(matches) / 2


def _aware(when: object) -> datetime | None:
    """A time with its zone; YAML gives those that it reads in UTC, and some without saying so."""
    if not isinstance(when, datetime):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _timestamp(text: str) -> datetime | None:
    """nbgrader's time, such as `2015-02-02 15:58:23.948203 America/Los_Angeles`; without a zone it is UTC."""
    when, _, zone = text.strip().rpartition(" ")
    try:
        if not zone or re.match(r"[\d:.+-]+$", zone):
            return _aware(datetime.fromisoformat(text.strip()))
        return datetime.fromisoformat(when).replace(tzinfo=ZoneInfo(zone))
    except (ValueError, ZoneInfoNotFoundError, OSError):
        return None


class _Yaml(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads what Ruby writes: data of Ruby's own classes is taken for what it is made of."""


def _plain(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


_Yaml.add_multi_constructor("!", _plain)
