"""What an instructor has decided about a course: the file ``course.toml`` in the folder of results, which people edit as well.

    lesson = "lora"                         # a lesson by its name or path; the only one that is installed if it is not said
    exercises = ["ex1", "ex2"]              # those that are set by now; all that come in if it is not said
    timezone = "Europe/Berlin"              # of times that name none; the machine's own if it is not said
    attempts = "last"                       # which attempt counts: "last" or "best"
    late_penalty = 10                       # per cent of an exercise's points for each day that has begun
    grace_minutes = 5                       # what is not late yet
    python = "/opt/notebooks/bin/python"    # notebooks run in this Python
    own_files = ["lora_utils"]              # modules that students write themselves

    [due]
    ex1 = 2026-11-30T23:59:00

    [[extensions]]
    person = "Ada Lovelace"                 # an id, a login, an e-mail address or a name
    exercise = "ex1"
    due = 2026-12-07T23:59:00

    [weights.ex3]                           # points of checks, where they are not the rubric's
    style_shift = 10
    rank_table = 0                          # is left out, and counts nothing

Comments stay. What only a person can answer stands there as a comment that begins with ``# ?``, until it is answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import tomlkit
from tomlkit.exceptions import TOMLKitError

from graders.harness import lessons
from graders.harness.course.rules import Extension, Rules
from graders.harness.course.weights import adjustable
from graders.harness.data import files
from graders.harness.data.saving import put
from graders.harness.data.times import in_zone
from graders.harness.errors import ExplainedError

FILE = "course.toml"
MAX_BYTES = 1_000_000
ATTEMPTS = ("last", "best")
_BEGINNING = "# What is decided about this course. `grade batch` reads it, and options of it are written here.\n"
_QUESTION = "# ? "
MOST = 1000.0
"""Points for a check, at most."""
_KEY = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_HEADER = re.compile(rf"\s*\[+\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*\]")
_ASSIGNED = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=")


class SettingsError(ExplainedError):
    """A ``course.toml`` that cannot be used, or that an option would change without a word."""


@dataclass(frozen=True)
class Settings:
    """What is decided, as far as it is; the names are those in the file, and so are the units."""

    exercises: tuple[str, ...] = ()
    lesson: str | None = None
    timezone: str | None = None
    attempts: str | None = None
    late_penalty: float | None = None
    grace_minutes: float | None = None
    python: str | None = None
    own_files: tuple[str, ...] = ()
    due: Mapping[str, datetime] = field(default_factory=dict)
    extensions: tuple[Extension, ...] = ()
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def zone(self) -> tzinfo | None:
        """The time zone of the course, if it is said."""
        return ZoneInfo(self.timezone) if self.timezone else None

    def rules(self, before: Rules) -> Rules:
        """The rules of the course: those ``before``, but for what is decided here."""
        return replace(
            before,
            exercises=tuple(name for name in before.exercises if name in (self.exercises or lessons.meant().names)),
            attempts=self.attempts or before.attempts,
            late_penalty=before.late_penalty if self.late_penalty is None else self.late_penalty,
            grace=before.grace if self.grace_minutes is None else timedelta(minutes=self.grace_minutes),
            due={**before.due, **self.due},
            extensions=self.extensions,
            weights=self.weights,
        )

    def changed(self, by: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
        """What other settings would change that is decided: where it is in the file, and a sentence's part, such as "10 → 0"."""
        for name in _KEYS:
            old, new = getattr(self, name), getattr(by, name)
            if None not in (old, new) and not isinstance(old, tuple) and old != new:
                yield (name,), f"{name} {_shown(old)} → {_shown(new)}"
        for exercise, due in by.due.items():
            if exercise in self.due and self.due[exercise] != due:
                yield ("due", exercise), f"due time of {exercise} {self.due[exercise]} → {due}"

    def with_(self, other: Settings) -> Settings:
        """These settings with what others decide."""
        given = {one.name: getattr(other, one.name) for one in fields(other)}
        given = {name: value for name, value in given.items() if value not in (None, (), {})}
        return replace(self, **given | {"due": {**self.due, **other.due}})


_KEYS = tuple(one.name for one in fields(Settings) if one.name not in ("due", "extensions", "weights"))
"""The keys of the file that stand for themselves; the others are tables."""


def mean_lesson(results: Path) -> None:
    """Have the lesson meant that the file names, if it names one and no other is meant already.

    Raises :class:`SettingsError` for another one, and :class:`graders.harness.lessons.LessonError`.
    """
    text = _text(results)
    reader = _Reader(results, text, _document(text, results))
    named, asked = reader.text("lesson"), lessons.asked()
    if named is None:
        return
    if asked and asked != named:
        raise reader.wrong("lesson", f"is {named}, and another lesson was asked for, {asked}")
    lessons.mean(named)


def read(results: Path) -> Settings:
    """The settings of a course; those of a new one where there are none. Raises :class:`SettingsError`."""
    text = _text(results)
    reader = _Reader(results, text, _document(text, results))
    zone = reader.timezone()
    return Settings(
        reader.exercises(),
        reader.text("lesson"),
        reader.text("timezone"),
        reader.one_of("attempts", ATTEMPTS),
        reader.number("late_penalty", 100),
        reader.number("grace_minutes", 100_000),
        reader.text("python"),
        reader.texts("own_files"),
        {name: reader.time(("due", name), when, zone) for name, when in reader.table("due").items()},
        tuple(reader.extensions(zone)),
        reader.weights(),
    )


def ensure_said(results: Path, before: Settings, given: Settings) -> None:
    """:class:`SettingsError` if options would change what is decided, with the line of the file that they contradict."""
    for key, what in before.changed(given):
        raise SettingsError(
            f"{results / FILE}{_line(_text(results), *key)} says otherwise: {what}.",
            "Change it there or, to have the option change it, add --set.",
        )


def write(results: Path, settings: Settings, questions: Sequence[str] = ()) -> None:
    """Keep the settings, and put the questions there in place of those that stood there. What else people wrote stays."""
    before = _text(results)
    lines = [line for line in before.splitlines(keepends=True) if not line.startswith(_QUESTION)]
    known = read(results)
    document = _document("".join(lines) or _BEGINNING, results)
    for name in _KEYS:
        value = getattr(settings, name)
        if value != getattr(known, name) and value is not None:
            _put(document, name, list(value) if isinstance(value, tuple) else value)
    new = {name: when for name, when in settings.due.items() if known.due.get(name) != when}
    if new:
        table = document.setdefault("due", tomlkit.table())
        for name, when in new.items():
            table[name] = when
    text = tomlkit.dumps(document)
    asked = "".join(f"{_QUESTION}{' '.join(question.split())}\n" for question in questions)
    text = f"{text.rstrip()}\n\n{asked}" if asked else text
    if text != before and (before or settings != Settings() or questions):
        put(text.encode(), results / FILE)


def _put(document: tomlkit.TOMLDocument, name: str, value: object) -> None:
    """Set a value; a new one comes before the first table, or it would be the table's."""
    first = next((key for key, item in document.items() if isinstance(item, (dict, tomlkit.items.AoT))), None)
    if name in document or first is None:
        document[name] = value
        return
    after = [(key, document.pop(key)) for key in [*document.keys()][[*document.keys()].index(first) :]]
    document[name] = value
    for key, item in after:
        document[key] = item


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value}"


class _Reader:
    """Reads values of their kinds; what is wrong is said with its line."""

    def __init__(self, results: Path, text: str, document: Mapping[str, Any]) -> None:
        self.results, self.source = results, text
        self.document: dict[str, Any] = {
            key: getattr(item, "unwrap", lambda i=item: i)() for key, item in document.items()
        }

    def wrong(self, key: str | tuple[str, ...], what: str) -> SettingsError:
        """What is wrong with a key, or with one in a table."""
        path = (key,) if isinstance(key, str) else key
        return _wrong(self.results, f"{path[-1]} {what}", _line(self.source, *path))

    def text(self, key: str) -> str | None:
        value = self.document.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "is no text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.document.get(key, [])
        if not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
            raise self.wrong(key, "is no list of texts")
        return tuple(value)

    def exercises(self) -> tuple[str, ...]:
        names = self.texts("exercises")
        if not {*names} <= {*lessons.meant().names}:
            raise self.wrong("exercises", f"names one that there is not; there are {', '.join(lessons.meant().names)}")
        return names

    def one_of(self, key: str, choices: Sequence[str]) -> str | None:
        value = self.text(key)
        if value is not None and value not in choices:
            raise self.wrong(key, f"is not one of {', '.join(choices)}")
        return value

    def number(self, key: str, most: float) -> float | None:
        value = self.document.get(key)
        return None if value is None else self.amount((key,), value, most)

    def amount(self, key: tuple[str, ...], value: object, most: float) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
            raise self.wrong(key, f"is no number from 0 to {most:g}")
        return float(value)

    def table(self, key: str) -> dict[str, Any]:
        """A table with keys that are exercises."""
        value, names = self.document.get(key, {}), lessons.meant().names
        if not isinstance(value, dict):
            raise self.wrong(key, "is no table")
        if unknown := [name for name in value if name not in names]:
            raise self.wrong((key, unknown[0]), f"is no exercise; there are {', '.join(names)}")
        return value

    def weights(self) -> dict[str, dict[str, float]]:
        given = self.table("weights")
        return {exercise: self.of_checks(exercise, table) for exercise, table in given.items()}

    def of_checks(self, exercise: str, table: object) -> dict[str, float]:
        if not isinstance(table, dict):
            raise self.wrong(("weights", exercise), "is no table of checks and their points")
        known = adjustable(exercise)
        for check in table:
            if check not in known:
                listed = ", ".join(known)
                raise self.wrong(
                    ("weights", exercise, check), f"is no check of {exercise} that has points; there are {listed}"
                )
        return {check: self.amount(("weights", exercise, check), worth, MOST) for check, worth in table.items()}

    def timezone(self) -> tzinfo | None:
        name = self.text("timezone")
        try:
            return ZoneInfo(name) if name else None
        except (ValueError, OSError, LookupError):
            raise self.wrong("timezone", "is no time zone, such as Europe/Berlin") from None

    def time(self, key: str | tuple[str, ...], value: object, zone: tzinfo | None) -> datetime:
        with suppress(ValueError):
            if isinstance(value, str):
                value = datetime.fromisoformat(value)
            if isinstance(value, datetime):
                return in_zone(value, zone)
        raise self.wrong(key, "is no date and time, such as 2026-11-30T23:59:00")

    def extensions(self, zone: tzinfo | None) -> Iterator[Extension]:
        for entry in self.document.get("extensions", []):
            if not isinstance(entry, dict) or not isinstance(entry.get("person"), str):
                raise self.wrong("extensions", "need a person, an exercise and a due time each")
            if entry.get("exercise") not in lessons.meant().names:
                raise self.wrong("extensions", f"need an exercise, one of {', '.join(lessons.meant().names)}")
            yield Extension(entry["person"], entry["exercise"], self.time("extensions", entry.get("due"), zone))


def _line(text: str, *path: str) -> str:
    """Where a key stands in a file, by the tables that it is in and its name, as the end of a path.

    Of one that stands in the middle of a line it is where the table of that line begins.
    """
    table: tuple[str, ...] = ()
    nearest = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if found := _HEADER.match(line):
            table = at = _parts(found[1])
        elif found := _ASSIGNED.match(line):
            at = (*table, *_parts(found[1]))
        else:
            continue
        if at == path[: len(at)] and len(at) > nearest[0]:
            nearest = len(at), f", line {number}"
    return nearest[1]


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, dotted))


def _text(results: Path) -> str:
    try:
        return files.read_file(results, FILE, MAX_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError, files.Refused) as error:
        raise _wrong(results, str(error)) from None


def _document(text: str, results: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise _wrong(results, str(error)) from None


def _wrong(results: Path, what: str, line: str = "") -> SettingsError:
    return SettingsError(
        f"{results / FILE}{line} cannot be used: {what.rstrip('.')}.", "Mend it there, or put it out of the way."
    )
