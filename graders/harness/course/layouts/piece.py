"""What every reader of a layout gives: whose each file is, and which files are nobody's work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from graders.harness.course.tree import Tree
from graders.harness.data.times import in_zone
from graders.harness.marks import Student


@dataclass(frozen=True)
class Piece:
    """One file of a student: its path in the tree, and its name as the student gave it.

    ``above`` are the folders of the course system around it, which may say for which exercise it is. ``group`` names those who
    handed it in together, each of whom has such a piece; "" if somebody did alone. ``number`` grows from one to the next that
    they handed in, where the course system counts them. ``unversioned`` is what people's own name for it says of the student
    without what may be a version of the file, "" if nothing may be; and whether that is sure to be no part of their name.
    """

    path: str
    name: str
    student: Student
    late: bool = False
    submitted: datetime | None = None
    above: str = ""
    group: str = ""
    number: int = 0
    unversioned: tuple[str, bool] = ("", False)


@dataclass(frozen=True)
class Reading:
    """How a layout reads a tree: the students' files, and ``lists``, the files that the course system added."""

    pieces: list[Piece]
    lists: set[str] = field(default_factory=set)

    def share(self, files: Iterable[str]) -> float:
        """The part of the files that it explains, from 0 to 1."""
        explained = {piece.path for piece in self.pieces} | self.lists
        known = [name in explained for name in files]
        return sum(known) / len(known) if known else 0.0


@dataclass(frozen=True)
class Layout:
    """A layout: what it is called in a sentence, how its files are named, and its reader, which gives None where none fits."""

    title: str
    example: str
    read: Callable[[Tree], Reading | None]


def local(when: datetime) -> datetime:
    """A time without a zone, as one of this machine's; UTC for years that no clock knows."""
    try:
        return in_zone(when)
    except ValueError:
        return when.replace(tzinfo=UTC)


def parsed(text: str, form: str) -> datetime | None:
    """The time, without a zone, that stands in a form of :meth:`datetime.strptime`."""
    try:
        return datetime.strptime(text, form)  # the zone is the caller's
    except ValueError:
        return None
