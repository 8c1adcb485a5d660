"""What was to be graded, as it is written down beside the results."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from graders.harness import lessons
from graders.harness.course.roster import Entry, Roster
from graders.harness.course.rules import Rules
from graders.harness.course.stored import student_of
from graders.harness.data import documents
from graders.harness.data.documents import Fields
from graders.harness.data.values import Malformed

SCHEMA_VERSION = 2
"""Of ``batch.json``; since 2 the rules in ``course.toml`` come first."""


@dataclass(frozen=True)
class Order:
    """What was to be graded: by which rules, for whom, in which layout it came, and what could not be assigned."""

    rules: Rules
    roster: Roster
    layout: str
    strays: tuple[str, ...] = ()
    anonymous: bool = False

    def document(self) -> dict[str, Any]:
        """All of it as data."""
        entries = [{**asdict(e), "exempt": sorted(e.exempt)} for e in self.roster.entries]
        rules = asdict(self.rules)
        for name in ("grace", "extensions", "weights"):  # course.toml has them
            del rules[name]
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "rules": rules, "roster": entries}

    @classmethod
    def of(cls, fields: Fields) -> Order:
        """What a document holds; :class:`Malformed` if it holds none."""
        rules = fields.object("rules")
        exercises, attempts = rules.texts("exercises"), rules.text("attempts")
        if not set(exercises) <= set(lessons.meant().names) or attempts not in ("last", "best"):
            raise Malformed("its rules are for other exercises or attempts")
        due = {name: documents.moment(when, "due") for name, when in rules.object("due").all().items()}
        entries = [_entry(Fields(entry, "an entry of the roster")) for entry in fields.items("roster")]
        return cls(
            Rules(exercises, attempts, due, rules.number("late_penalty", 0, 100)),
            Roster(tuple(entries)),
            fields.text("layout"),
            fields.texts("strays"),
            fields.flag("anonymous"),
        )


def _entry(fields: Fields) -> Entry:
    groups = fields.texts("groups") if "groups" in fields.all() else ()
    return Entry(student_of(fields.object("student")), frozenset(fields.texts("exempt")), fields.moment("due"), groups)
