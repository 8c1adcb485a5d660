"""Who is who: people on the roster, found again in what a course system calls those who handed in.

A number counts only where the name does not contradict it: systems number people each in its own way. A name counts only
where it is one person's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from graders.harness.course.roster import Entry, Roster
from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError
from graders.harness.marks import Student, letters, name_keys, name_parts

MAX_TEAM = 8
"""People who hand in together."""
_GROUP_WORDS = ("group", "gruppe", "groupe", "grupo", "gruppo", "groep", "grupp", "team", "équipe", "equipo", "équipo")
"""What course systems write before the number of a group."""
_LONG = 3
"""Letters of a part of a name that is not in another one by chance."""


class PeopleError(ExplainedError):
    """Numbers and names contradict each other, so that it is not clear whose a hand-in is."""


@dataclass(frozen=True)
class People:
    """The entries of the roster by the ids of those who handed in; ``doubts`` are sentences about who was not found, and why."""

    entries: Mapping[str, Entry]
    doubts: tuple[str, ...] = ()

    def entry(self, student: Student) -> Entry:
        """What the roster says of someone who handed in; an entry of its own for who is not on it."""
        return self.entries.get(student.id) or Entry(student)


def match(handed_in: Mapping[Student, Collection[str]], roster: Roster) -> People:
    """Find those who ``handed_in``, each with the exercises of that, on the roster.

    Raises :class:`PeopleError` where a number is one person's, and the name that comes with it another's.
    """
    found: dict[Student, Entry] = {}
    named: dict[Student, Entry] = {}
    by_name = _unique([(key, entry) for entry in roster.entries for key in name_keys(entry.student.name)])
    by_id = _unique([(key, entry) for entry in roster.entries for key in _ids(entry.student)])
    for student in handed_in:
        entry = next((by_id[key] for key in _ids(student) if key in by_id), None)
        called = next((by_name[key] for key in [*name_keys(student.name), letters(student.id)] if key in by_name), None)
        if entry and contradict(student.name, entry.student.name):
            if called is None and not (_single(student.name) and _single(entry.student.name)):
                raise _contradiction(student, entry)
            entry = None if called else entry
        if entry:
            found[student] = entry
        elif called:
            named[student] = called
    doubts = _settle(found, named, handed_in)
    return People({student.id: entry for student, entry in found.items()}, tuple(doubts))


def groups(roster: Roster) -> dict[str, list[Student]]:
    """The members of each group on the roster that may hand in together, by the letters of its name.

    What is somebody's own name or number is no group's, and neither are a mere number or letter and the name of a crowd, such
    as a tutorial's; a group that has a number alone is found as `Group 1`.
    """
    found: dict[str, list[Student]] = defaultdict(list)
    for entry in roster.entries:
        for name in {letters(name) for name in entry.groups}:
            found[name].append(entry.student)
            if name.isdigit():  # which may be anything, but not after the word
                for word in _GROUP_WORDS:
                    found[f"{word}{name}"].append(entry.student)
    own = {key for entry in roster.entries for key in known_as(entry.student)}
    return {
        name: members
        for name, members in found.items()
        if len(name) > 1 and not name.isdigit() and name not in own and len(members) <= MAX_TEAM
    }


def known_as(student: Student) -> list[str]:
    """All that a student is called, in letters alone: ids, login, e-mail, and the name in every order."""
    return [key for key in (*_ids(student), letters(student.name), *name_keys(student.name)) if key]


def names_any(path: str, students: Iterable[Student]) -> bool:
    """Whether a path names one of these students, in one of its parts."""
    said, parts = letters(path), {letters(part) for part in path.split("/")}
    own = {key for student in students for key in known_as(student)}
    return any(key in parts or (len(key) >= _LONG and key in said) for key in own)


def _settle(
    found: dict[Student, Entry], named: Mapping[Student, Entry], handed_in: Mapping[Student, Collection[str]]
) -> list[str]:
    """Add those of whom only the name is known, unless it may be another's: who was not added, and why."""
    doubts = []
    of_entry: dict[str, list[Student]] = defaultdict(list)
    for student, entry in named.items():
        of_entry[entry.student.id].append(student)
    sure: dict[str, list[Student]] = defaultdict(list)
    for student, entry in found.items():
        sure[entry.student.id].append(student)
    for identity, students in of_entry.items():
        everyone = [*sure[identity], *students]
        exercises = [exercise for student in everyone for exercise in {*handed_in[student]}]
        # Who is numbered otherwise for another exercise may be the same; twice for one exercise are two people
        if len(exercises) == len({*exercises}):
            found.update({student: named[student] for student in students})
            continue
        numbers = ", ".join(one_line(student.id, 30) for student in everyone)
        who = one_line(students[0].shown, 60)
        left = ", ".join(one_line(student.id, 30) for student in students)
        doubts.append(
            f"{len(everyone)} people called {who} handed in ({numbers}), and one is on the list: "
            f"{left} {'is' if len(students) == 1 else 'are'} not taken for that one"
        )
    return doubts


def _contradiction(student: Student, entry: Entry) -> PeopleError:
    return PeopleError(
        f"The hand-in of {one_line(student.name, 60)} has the number {one_line(student.id, 40)}, which is "
        f"{one_line(entry.student.name, 60)}'s on the list of students.",
        "Numbers of different systems cannot be compared: give a list with the numbers of the system that the hand-ins "
        "come from, or leave the column out, so that names are compared.",
    )


def _ids(student: Student) -> list[str]:
    said = (student.id, student.login, student.sis_id, student.email)
    return [key for key in dict.fromkeys(map(letters, said)) if key]


def _unique(pairs: Collection[tuple[str, Entry]]) -> dict[str, Entry]:
    """By each key the entry that it tells; what two people share tells neither."""
    entries: dict[str, dict[str, Entry]] = defaultdict(dict)
    for key, entry in pairs:
        entries[key][entry.student.id] = entry
    return {key: next(iter(those.values())) for key, those in entries.items() if len(those) == 1}


def named(person: str, students: Sequence[Student]) -> Student:
    """The one whom somebody means by an id, a login or a name; :class:`PeopleError` if that is nobody, or several."""
    wanted = {letters(person), *name_keys(person)} - {""}
    by_id = [one for one in students if wanted & {letters(one.id), letters(one.login)}]
    found = by_id or [one for one in students if wanted & {*name_keys(one.name)}]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{one_line(one.shown, 40)} ({one_line(one.id, 40)})" for one in found[:5])
    raise PeopleError(
        f"{person!r} is several people in these results: {listed}."
        if found
        else f"{person!r} is nobody in these results.",
        "Name one by id; gradebooks/gradebook.csv has them.",
    )


def _single(name: str) -> bool:
    """Whether it is a first name or a last name alone, which another one need not contradict."""
    return len(name_parts(name)) == 1


def contradict(name: str, other: str) -> bool:
    """Whether two names have nothing in common; what is not known contradicts nothing."""
    mine, theirs = name_parts(name), name_parts(other)
    if not mine or not theirs or {*name_keys(name)} & {*name_keys(other)}:
        return False
    shared = [part for part in mine if len(part) >= _LONG and part in "".join(theirs)]
    shared += [part for part in theirs if len(part) >= _LONG and part in "".join(mine)]
    return not shared and not {*mine} & {*theirs}
