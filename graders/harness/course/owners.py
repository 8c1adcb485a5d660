"""Whose each file is, where a name alone does not say it: a group's, one of a group's, or another version of somebody's."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from graders.harness.course.layouts import Piece
from graders.harness.course.people import groups, known_as, match, names_any
from graders.harness.course.roster import Roster
from graders.harness.marks import Student, letters


def owned(pieces: Iterable[Piece], roster: Roster) -> list[Piece]:
    """The pieces, each of them of the person who handed it in.

    What comes under the name of a group on the roster is the work of each of its members. Raises :class:`PeopleError` where a
    number is one person's, and the name that comes with it another's.
    """
    return [*_of_members([*_of_versions([*pieces], roster)], roster)]


def _of_versions(pieces: Sequence[Piece], roster: Roster) -> Iterator[Piece]:
    """What may be another version of somebody's file is that one's, if it is known that there is such a person.

    Who is on the roster under the whole name has that name: there are people called Neu, Final and Kopie.
    """
    listed = {key for entry in roster.entries for key in known_as(entry.student)}
    handed_in = {letters(piece.student.id): piece.student for piece in pieces}
    for piece in pieces:
        without, surely = piece.unversioned
        key = letters(without)
        if key and letters(piece.student.id) not in listed and (key in listed or (surely and key in handed_in)):
            name = f"{piece.student.id}/{piece.name}" if "/" in piece.path else piece.name
            yield replace(piece, student=handed_in.get(key, Student(without)), name=name)
        else:
            yield piece


def _of_members(pieces: Sequence[Piece], roster: Roster) -> Iterator[Piece]:
    """What came under the name of a group is the work of all its members, unless a file there names one of them.

    Who is in such a group and handed in something under their own name as well is one person.
    """
    known = groups(roster)
    of_name: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        of_name[piece.student.shown].append(piece)
    members = {
        name: known[letters(name)]
        for name, mine in of_name.items()
        if letters(name) in known and not any(names_any(piece.name, known[letters(name)]) for piece in mine)
    }
    own = _own(
        {piece.student for name, mine in of_name.items() if name not in members for piece in mine},
        {member.id for those in members.values() for member in those},
        roster,
    )
    twice = {member.id for member in own.values()}
    for name, mine in of_name.items():
        for piece in mine:
            if name not in members:
                yield replace(piece, student=own.get(piece.student, piece.student))
            for member in members.get(name, ()):
                file = f"{name}/{piece.name}" if member.id in twice else piece.name
                yield replace(piece, student=member, name=file, group=name if len(members[name]) > 1 else "")


def _own(alone: Iterable[Student], members: set[str], roster: Roster) -> dict[Student, Student]:
    """Who of those that handed in alone is also a member of a group that did, each with the member that they are."""
    if not members:
        return {}
    people = match(dict.fromkeys(alone, ()), roster)
    found = {student: people.entry(student).student for student in alone}
    times = Counter(member.id for member in found.values())
    return {student: member for student, member in found.items() if member.id in members and times[member.id] == 1}
