"""What people enter about a course, in ``marks.jsonl``: a line for each entry, to which no command adds but at the end.

Points are computed from results and from this; nothing that somebody has entered is ever written over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from graders.harness.data.documents import Fields
from graders.harness.data.values import Malformed, one_line, parse_object
from graders.harness.errors import ExplainedError
from graders.harness.marks import Grade, Status
from graders.harness.result import CheckResult, Outcome, Result

FILE = "marks.jsonl"
KINDS = ("check", "answer", "attempt", "exempt")


class JournalError(ExplainedError):
    """Something that cannot be entered."""


@dataclass(frozen=True)
class Entry:
    """What somebody has decided for one student and exercise.

    ``kind`` is one of :data:`KINDS`, and ``about`` the id of a check or the number of a question. ``value`` are points, the
    number of the attempt that counts, or 1 and 0 for exempt or not; None takes back what was entered before. ``result`` is
    the id of the result that it is about, ``before`` the points that this gave, and ``of`` those that the check was worth.
    """

    student: str
    exercise: str
    kind: str
    about: str
    value: float | None
    reason: str
    by: str
    result: str = ""
    before: float | None = None
    of: float | None = None
    when: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @classmethod
    def read(cls, fields: Fields) -> Entry:
        """What a line holds; :class:`Malformed` if it holds none."""
        kind = fields.text("kind")
        if kind not in KINDS:
            raise Malformed(f"{kind!r} is nothing that is entered")
        texts = {name: fields.text(name) for name in ("student", "exercise", "about", "reason", "by", "result", "when")}
        known = fields.all()
        value, before, of = (None if known.get(n) is None else fields.number(n) for n in ("value", "before", "of"))
        return cls(kind=kind, value=value, before=before, of=of, **texts)

    @property
    def said(self) -> str:
        """Who decided it, and why."""
        return f"{one_line(self.by, 60)} on {self.when[:10]}: {one_line(self.reason, 500)}"


class Journal:
    """The entries of a course, in their order; of each kind about the same thing the last one holds."""

    def __init__(self, results: Path) -> None:
        self.path = results / FILE
        self.entries: list[Entry] = []
        self._holding: dict[tuple[str, str, str], dict[str, Entry]] = {}
        """What holds, by student, exercise and kind, and then by what it is about."""
        self.unread = 0
        """Lines that cannot be read, such as the last one of a command that was killed: they stay, and count for nothing."""
        for line in self._lines():
            try:
                self._note(Entry.read(Fields(parse_object(line.encode()), "an entry")))
            except Malformed:
                self.unread += 1

    def _lines(self) -> Iterable[str]:
        try:
            return [
                line for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
            ]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalError(f"{self.path} cannot be read: {error.strerror}.", "Check its permissions.") from None

    def add(self, entry: Entry) -> None:
        """Write it at the end, and have it on the disk; or, if there is no room for it, nothing. Raises OSError."""
        line = json.dumps(asdict(entry), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with self.path.open("ab+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(-1, os.SEEK_END)
                line = (b"" if file.read(1) == b"\n" else b"\n") + line  # somebody was killed while writing
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
        self._note(entry)

    def _note(self, entry: Entry) -> None:
        self.entries.append(entry)
        holding = self._holding.setdefault((entry.student, entry.exercise, entry.kind), {})
        holding.pop(entry.about, None)
        if entry.value is not None:
            holding[entry.about] = entry

    def holding(self, student: str, exercise: str, kind: str) -> dict[str, Entry]:
        """What holds of one kind, by what it is about."""
        return dict(self._holding.get((student, exercise, kind), {}))

    def exempt(self, student: str, exercise: str, otherwise: bool) -> bool:
        """Whether an exercise does not count for a student."""
        entry = self.holding(student, exercise, "exempt").get("")
        return bool(entry.value) if entry else otherwise

    def attempt(self, student: str, exercise: str) -> int | None:
        """The number of the attempt that counts, if somebody has chosen one."""
        entry = self.holding(student, exercise, "attempt").get("")
        return int(entry.value) if entry and entry.value else None

    def checked(self, student: str, grade: Grade) -> Grade:
        """The grade with the points that people gave for its checks, and a note of those that were given for another result."""
        entries = self.holding(student, grade.exercise, "check")
        if not entries or grade.result is None:
            return grade
        known = {check.id for check in grade.result.checks}
        given = {about: entry for about, entry in entries.items() if about in known}
        checks = tuple(_given(check, given[check.id]) if check.id in given else check for check in grade.result.checks)
        earlier = [about for about, entry in given.items() if entry.result and entry.result != grade.graded_as]
        note = f"Given for an earlier version of the result, so look again: {', '.join(earlier)}." if earlier else ""
        note = " ".join(filter(None, (grade.note, note)))
        return replace(grade, result=replace(grade.result, checks=checks), note=note)


def _given(check: CheckResult, entry: Entry) -> CheckResult:
    """A check with the points that somebody gave for it, in proportion if it is worth others by now."""
    points = entry.value or 0.0
    points = min(round(points * check.worth / entry.of, 2) if entry.of else points, check.worth)
    outcome = Outcome.PASSED if points >= check.worth else Outcome.FAILED
    found = f"{check.found}\n\n{points:g} of {check.worth:g} points were given by {entry.said}".strip()
    misconception = None if outcome is Outcome.PASSED else check.misconception
    return replace(
        check,
        outcome=outcome,
        score=points,
        max_score=check.worth,
        undecided=0.0,
        found=found,
        misconception=misconception,
    )


def points_of(result: Result | None, check: str, value: float | None) -> CheckResult:
    """The check that somebody gives points for; :class:`JournalError` if there is none of that id, or not so many points."""
    checks: Mapping[str, CheckResult] = {one.id: one for one in result.checks if not one.written} if result else {}
    if check not in checks:
        raise JournalError(f"There is no check {check!r} in that result.", f"There are: {', '.join(checks) or 'none'}.")
    if value is not None and not 0 <= value <= checks[check].worth:
        raise JournalError(f"{value:g} is no number of points for {check}.", f"Give 0 to {checks[check].worth:g}.")
    return checks[check]


def ensure_graded(grade: Grade) -> None:
    """:class:`JournalError` for a grade without a result, which holds no checks."""
    if grade.status is not Status.GRADED:
        raise JournalError(f"There is no result for {grade.exercise}: it is {grade.status}.", "Grade it first.")
