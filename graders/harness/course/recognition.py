"""Which layout hand-ins have: the one that explains nearly all of the files, or a question for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath

from graders.harness.course.layouts import PLAIN, SYSTEMS, Layout, Piece, Reading, plain
from graders.harness.course.tree import Given, Opened
from graders.harness.data.archive import ArchiveError
from graders.harness.data.names import is_version, named_student
from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError

NEARLY_ALL = 0.9
"""The part of the files that a course system's layout has to explain."""
SOME = 0.5
"""What explains more than this part might still be the right one, so a person is asked."""
EXAMPLES = 3


class LayoutError(ExplainedError):
    """The layout of the hand-ins is not clear: whose they are has to be said."""


@dataclass(frozen=True)
class Recognised:
    """What the layout is called, whose each file is, and the files that the course system added."""

    title: str
    tree: Given
    pieces: list[Piece]
    lists: frozenset[str] = frozenset()


def recognise(there: Given, asked: Layout | None = None) -> Recognised:
    """The layout of the files, or what the layout that was ``asked`` for makes of them. All may lie in a folder of its own.

    Raises :class:`LayoutError` where no layout explains nearly everything and one explains a good part, and where the
    layout that was asked for explains nothing.
    """
    views = list(_views(there))
    if asked:
        for view in views:
            if (reading := asked.read(view)) and reading.pieces:
                return _recognised(asked, view, reading)
        example = f"It expects files such as {asked.example}; the first one is {one_line(there.files[0], 100)}."
        raise LayoutError(f"This is not {asked.title}.", example)
    readings = [
        (layout, view, reading)
        for view in views
        for layout in SYSTEMS.values()
        if (reading := layout.read(view)) is not None and reading.pieces
    ]
    best = max(readings, key=lambda one: one[2].share(one[1].files), default=None)
    if best and best[2].share(best[1].files) >= NEARLY_ALL:
        return _recognised(*best)
    if best and best[2].share(best[1].files) > SOME:
        raise _unclear(*best)
    if packed := _packed(there):
        return packed
    # A folder that holds the only folder is somebody's packing, and so is one whose notebooks name several students
    view = [views[0], *(view for view in views[1:] if view.packed)][-1]
    for layout in PLAIN.values():
        if (reading := layout.read(view)) is not None:
            if doubt := plain.in_doubt(view):
                raise LayoutError(
                    f"It is not clear which folders are the students': those like {one_line(doubt[0], 40)!r} or the ones "
                    f"in them, like {one_line(doubt[1], 40)!r}.",
                    "Say it: --layout '{id}/**' for the first, --layout '{group}/{id}/**' for the second.",
                )
            return _recognised(layout, view, reading)
    raise AssertionError("the last layout takes everything")


def _recognised(layout: Layout, view: _View, reading: Reading) -> Recognised:
    pieces = [
        replace(piece, path=view.prefix + piece.path, above=view.prefix + piece.above) for piece in reading.pieces
    ]
    return Recognised(layout.title, view.there, pieces, frozenset(view.prefix + name for name in reading.lists))


def _packed(there: Given) -> Recognised | None:
    """Archives that each have a course system's layout, such as one for each exercise; students' archives have none."""
    if not there.files or not all(name.lower().endswith(".zip") for name in there.files):
        return None
    try:
        opened = Opened(there)
    except ArchiveError:
        return None  # a student's, of which it is said later
    found = []
    for place in opened.archives:
        views = list(_views(opened, place))
        readings = ((layout, view, layout.read(view)) for view in views for layout in SYSTEMS.values())
        fitting = ((layout, view, reading) for layout, view, reading in readings if reading and reading.pieces)
        best = max(fitting, key=lambda one: one[2].share(one[1].files), default=None)
        if best is None or best[2].share(best[1].files) < NEARLY_ALL:
            return None
        found.append(_recognised(*best))
    pieces, lists = (
        [piece for one in found for piece in one.pieces],
        frozenset[str]().union(*(one.lists for one in found)),
    )
    return Recognised(f"{found[0].title} in each of {len(found)} archives", opened, pieces, lists)


def _unclear(layout: Layout, view: _View, reading: Reading) -> LayoutError:
    explained = {piece.path for piece in reading.pieces} | reading.lists
    others = [name for name in view.files if name not in explained]
    read = "; ".join(
        f"{one_line(piece.path, 80)} is {one_line(piece.student.shown, 40)}'s" for piece in reading.pieces[:EXAMPLES]
    )
    left = ", ".join(one_line(name, 60) for name in others[:EXAMPLES])
    name = next(name for name, known in SYSTEMS.items() if known is layout)
    return LayoutError(
        f"This looks like {layout.title} ({read}), but {len(others)} of {len(view.files)} files do not: {left}.",
        f"If it is one, say so: --layout {name}. Otherwise name the layout, or describe it: --layout '{{id}}/**'.",
    )


class _View:
    """A tree as it is seen from a folder in it."""

    def __init__(self, there: Given, prefix: str) -> None:
        self.there, self.prefix = there, prefix
        self.files = [name.removeprefix(prefix) for name in there.files if name.startswith(prefix)]

    @property
    def packed(self) -> bool:
        """Whether students are told apart below this folder."""
        direct = [name for name in self.files if "/" not in name]
        said = {named_student(PurePosixPath(name).stem) for name in direct if name.lower().endswith((".ipynb", ".zip"))}
        # Beside a notebook that is named for the exercise alone, what may be versions are versions of that one
        people = {one for one in said - {""} if "" not in said or not is_version(one)}
        return not direct or bool(people)

    def read(self, name: str, limit: int) -> bytes:
        return self.there.read(self.prefix + name, limit)

    def changed(self, name: str) -> datetime | None:
        return self.there.changed(self.prefix + name)


def _views(there: Given, prefix: str = "") -> Iterator[_View]:
    """What is in a folder of the tree and, as long as all of it lies in one folder, what is in that."""
    view = _View(there, prefix)
    yield view
    while len(tops := {name.partition("/")[0] for name in view.files}) == 1 and all("/" in name for name in view.files):
        view = _View(there, f"{view.prefix}{tops.pop()}/")
        yield view
