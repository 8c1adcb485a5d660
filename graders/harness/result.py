"""The result of grading one hand-in: the one document that every kind of feedback is made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from graders.harness import exhibits, measured
from graders.harness.data import documents
from graders.harness.data.documents import Fields
from graders.harness.data.saving import save
from graders.harness.data.values import Malformed
from graders.harness.ending import read_report

SCHEMA_VERSION = 2
"""Version 1 had no ``undecided``, ``final`` and ``id``, and gave the points of a check that a grader broke at."""

ORIGIN = ("made_by", "parameters", "environment")
"""What says where a result comes from, and nothing about the hand-in: see :mod:`graders.harness.origin`."""


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not_reached"
    """It needs something that another check found missing or wrong; ``found`` says which."""
    AWAITING_REVIEW = "awaiting_review"
    """A person marks this; it is never scored by the program."""
    GRADER_FAULT = "grader_fault"
    """The grader broke, not the hand-in. Its points are undecided: neither given nor lost until a person has looked."""


@dataclass(frozen=True)
class CheckResult:
    """One line of the rubric: what was looked at, what was found, and what it is worth.

    ``score`` of ``max_score`` are the points that are decided, ``undecided`` those that are not: a grader broke, or a person
    has to look.
    ``measured`` holds what was measured for a figure: for each part of the check a table, columns of numbers by name.
    It decides nothing, and most checks have none.
    """

    id: str
    title: str
    outcome: Outcome
    score: float
    max_score: float
    found: str = ""
    expected: str = ""
    why: str = ""
    misconception: str | None = None
    hint: str = ""
    undecided: float = 0.0
    measured: dict[str, measured.Table] = field(default_factory=dict, hash=False)

    @property
    def worth(self) -> float:
        """Points that can be had here, decided or not."""
        return round(self.max_score + self.undecided, 2)

    @property
    def written(self) -> bool:
        """Whether this stands for the written answers, which no program judges; other checks may await a person as well."""
        return self.id == "written_answers"

    @property
    def practised(self) -> bool:
        """Whether it has no points here, because it is the instructor's run that decides it."""
        return not self.worth and not self.written


@dataclass(frozen=True)
class Result:
    """Everything there is to say about one hand-in.

    ``run`` says how executing the notebook ended: ``ended`` (completed, cell_error, timeout, out_of_memory, kernel_died or
    not_started), ``cell`` (the code cell it ended in, counted from 1, or None), ``place`` (the same in words), ``error``,
    ``seconds``, ``peak_memory_bytes``, ``device``, ``peak_gpu_memory_bytes``, ``remarks``, sentences on what it met with, and
    the counts that ``Lesson.sightings`` gives. ``timings`` says how many seconds each part of grading took: ``run`` and
    ``again``, and ``check NAME`` and ``check again NAME`` for the checks of each run. ``origin`` has the fields
    :data:`ORIGIN`, each a mapping of JSON. ``exhibits`` are what there is to see beside it, by name, each with the SHA-256 of
    its document; :mod:`graders.harness.exhibits` reads them.
    """

    exercise: str
    run: dict[str, Any]
    checks: tuple[CheckResult, ...]
    schema_version: int = SCHEMA_VERSION
    timings: dict[str, float] = field(default_factory=dict, compare=False)
    exhibits: dict[str, str] = field(default_factory=dict, compare=False)
    origin: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def score(self) -> float:
        """Points earned among those that are decided."""
        return round(sum(check.score for check in self.checks), 2)

    @property
    def max_score(self) -> float:
        """Points that are decided, without the written answers."""
        return round(sum(check.max_score for check in self.checks), 2)

    @property
    def undecided(self) -> float:
        """Points that nobody has decided on yet, either way."""
        return round(sum(check.undecided for check in self.checks), 2)

    @property
    def faulty(self) -> bool:
        """Whether a grader broke at a check."""
        return any(check.outcome is Outcome.GRADER_FAULT for check in self.checks)

    @property
    def final(self) -> bool:
        """Whether no check, the written answers aside, waits for a person or for the instructor's run."""
        waiting = (Outcome.GRADER_FAULT, Outcome.AWAITING_REVIEW)
        return not self.undecided and not any(c.outcome in waiting and not c.written for c in self.checks)

    @property
    def exit_status(self) -> int:
        """0 full marks (written answers aside), 1 points were lost, or will be, 3 a grader fault."""
        if self.faulty:
            return 3
        failed = any(check.outcome is Outcome.FAILED for check in self.checks)
        return 1 if failed or self.score != self.max_score else 0

    @property
    def id(self) -> str:
        """A digest of the verdict, without origin, exhibits, and how long it took: another verdict has another one."""
        return _digest(self._document())

    def to_json(self) -> str:
        """The documented JSON of this result, score before the checks that make it."""
        document = self._document()
        return json.dumps({"id": _digest(document), **document}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _document(self) -> dict[str, Any]:
        timings = {name: round(seconds, 3) for name, seconds in self.timings.items()}
        return {
            "schema_version": self.schema_version,
            "exercise": self.exercise,
            "score": self.score,
            "max_score": self.max_score,
            "undecided": self.undecided,
            "final": self.final,
            "run": self.run,
            **self.origin,
            **({"timings": timings} if timings else {}),
            "checks": [_fields(check) for check in self.checks],
            **({"exhibits": self.exhibits} if self.exhibits else {}),
        }

    def save(self, path: Path) -> None:
        """Write the JSON; no half-written result is ever seen."""
        # Half of a character, which UTF-8 cannot hold, is written as JSON's own escape for it.
        save(self.to_json().encode(errors="backslashreplace"), path)


def _fields(check: CheckResult) -> dict[str, Any]:
    fields = asdict(check)
    if not check.measured:
        del fields["measured"]
    return fields


def _digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document without its id, timings, origin and exhibits, in one spelling of its JSON."""
    said = {key: value for key, value in document.items() if key not in ("id", "timings", "exhibits", *ORIGIN)}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def load(path: Path) -> Result:
    """The result that `Result.save` wrote, by this version or one before.

    Raises :class:`DamagedError` for a file that holds anything else.
    """
    return documents.read(path.parent, path.name, of_document, "Grade the notebook again.")


def of_document(fields: Fields) -> Result:
    """The result that a document holds; :class:`Malformed` if it holds none, or says something else than it did once."""
    version = fields.whole("schema_version", 1)
    if version > SCHEMA_VERSION:
        raise Malformed(f"it is of version {version}, and these graders know {SCHEMA_VERSION}")
    if version > 1 and fields.text("id") != _digest(fields.all()):
        raise Malformed("it was changed after it was written")
    checks = tuple(_check(Fields(check, "a check"), version) for check in fields.items("checks"))
    if len({check.id for check in checks}) < len(checks):
        raise Malformed("a check is there twice")
    run = fields.object("run").all()
    read_report(json.dumps(run).encode())
    timings = fields.object("timings") if "timings" in fields.all() else Fields({}, "timings")
    seconds = {name: timings.number(name, 0, 1e9) for name in timings.all()}
    origin = {name: fields.object(name).all() for name in ORIGIN if name in fields.all()}
    json.dumps(origin, allow_nan=False)  # no digest covers it, and it is written again
    shown = exhibits.listed(fields.all().get("exhibits"))
    return Result(fields.text("exercise"), dict(run), checks, timings=seconds, origin=origin, exhibits=shown)


def _check(fields: Fields, version: int) -> CheckResult:
    of, known, outcome = fields.number("max_score"), fields.all(), Outcome(fields.text("outcome"))
    score, undecided = fields.number("score", 0, of), fields.number("undecided") if version > 1 else 0.0
    if version == 1 and outcome is Outcome.GRADER_FAULT:  # whose points were given then: they count as undecided
        score, of, undecided = 0.0, 0.0, of
    return CheckResult(
        fields.text("id"),
        fields.text("title"),
        outcome,
        score,
        of,
        fields.text("found"),
        fields.text("expected"),
        fields.text("why"),
        misconception=None if fields["misconception"] is None else fields.text("misconception"),
        hint=fields.text("hint"),
        undecided=undecided,
        measured=measured.tables(known.get("measured")),
    )
