"""A layout of one's own: a pattern for the paths of files, such as ``{group}/{last}_{first}_{id}/*.ipynb``."""

from __future__ import annotations

import re

from graders.harness.course.layouts.piece import Layout, Piece, Reading
from graders.harness.course.tree import Tree
from graders.harness.errors import ExplainedError
from graders.harness.marks import Student

FIELDS = ("id", "login", "name", "last", "first", "email", "group", "exercise", "file")
WHO = {"id", "login", "name", "last", "email"}
_PART = re.compile(r"\{(\w+)\}|(\*\*|\*)|([^{}*]+)|(.)")


class PatternError(ExplainedError):
    """A pattern that cannot be read."""


def layout(pattern: str) -> Layout:
    """A pattern's layout; :class:`PatternError` if it names a field that there is not, or nobody.

    A field is a part of the path without "/", ``*`` is anything without "/", and ``**`` anything.
    """
    expression, named = "", []
    for field, star, text, other in _PART.findall(pattern):
        if other or (field and (field not in FIELDS or field in named)):
            what = f"{{{field}}}" if field else other
            known = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise PatternError(f"--layout {pattern}: {what} cannot be used there.", f"Fields, once each: {known}.")
        if field:
            named.append(field)
            expression += f"(?P<{field}>[^/]+?)"
        else:
            expression += {"**": ".*", "*": "[^/]*"}.get(star, re.escape(text))
    if not WHO & set(named):
        raise PatternError(
            f"--layout {pattern} does not say who the students are.",
            "Write {id}, {login}, {email} or {name} where their folders or files name them.",
        )
    compiled = re.compile(expression)

    def read(tree: Tree) -> Reading | None:
        pieces = [_piece(name, match) for name in tree.files if (match := compiled.fullmatch(name))]
        return Reading(pieces) if pieces else None

    return Layout(f"the layout {pattern}", pattern, read)


def _piece(path: str, match: re.Match[str]) -> Piece:
    said = match.groupdict()
    name = said.get("name") or f"{said.get('first') or ''} {said.get('last') or ''}".strip()
    known = said.get("id") or said.get("login") or said.get("email") or name
    student = Student(known, name, login=said.get("login") or "", email=said.get("email") or "")
    file = said.get("file") or path.rpartition("/")[2]
    exercise = said.get("exercise")
    return Piece(path, f"{exercise}/{file}" if exercise else file, student)
