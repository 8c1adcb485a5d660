"""Gradescope: an export of submissions, with a list of who handed them in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import yaml

from graders.harness.course.layouts.piece import Piece, Reading
from graders.harness.course.tree import Tree
from graders.harness.marks import Student

LIST = "submission_metadata.yml"
MAX_LIST = 20_000_000
"""Bytes of the list. With the history of every student's attempts, it is a few kB for each."""
_FILE = re.compile(r"submission_(?P<id>\d+)/(?P<file>.+)")


def read(tree: Tree) -> Reading | None:
    """`submission_1234/ex3.ipynb`: a group hands in once, and the file is each member's."""
    if LIST not in tree.files:
        return None
    try:
        listed = yaml.load(tree.read(LIST, MAX_LIST), _Yaml)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return Reading(list(_pieces(tree, listed)), {LIST}) if isinstance(listed, dict) else None


def _pieces(tree: Tree, listed: dict[object, object]) -> Iterator[Piece]:
    for name in tree.files:
        if match := _FILE.fullmatch(name):
            entry = listed.get(f"submission_{match['id']}")
            entry = entry if isinstance(entry, dict) else {}
            when = _aware(entry.get(":created_at"))
            people = [person for person in entry.get(":submitters") or [] if isinstance(person, dict)]
            group = f"submission {match['id']}" if len(people) > 1 else ""
            for student in map(_student, people) if people else [Student(match["id"])]:
                yield Piece(name, match["file"], student or Student(match["id"]), submitted=when, group=group)


def _student(person: dict[str, object]) -> Student | None:
    said = {key: str(person.get(f":{key}") or "") for key in ("name", "sid", "email")}
    known = said["sid"] or said["email"] or said["name"]
    return Student(known, said["name"], sis_id=said["sid"], email=said["email"]) if known else None


def _aware(when: object) -> datetime | None:
    """A time with its zone; YAML gives those that it reads in UTC, and some without saying so."""
    if not isinstance(when, datetime):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


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
