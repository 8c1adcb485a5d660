"""The result of grading one hand-in: the one document that every kind of feedback is made from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from graders import measured
from graders.saving import save

SCHEMA_VERSION = 2
"""Version 1 had no ``undecided``, ``final`` and ``id``, and gave the points of a check that a grader broke at."""


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
        return self.max_score + self.undecided

    @property
    def written(self) -> bool:
        """Whether this stands for the written answers, which no program judges; other checks may await a person as well."""
        return self.id == "written_answers"


@dataclass(frozen=True)
class Result:
    """Everything there is to say about one hand-in.

    ``run`` says how executing the notebook ended: ``ended`` (completed, cell_error, timeout, out_of_memory, kernel_died or
    not_started), ``cell`` (the code cell it ended in, counted from 1, or None), ``seconds``,
    ``peak_memory_bytes``, ``device``, ``unets_at_once`` and ``peak_gpu_memory_bytes``.
    """

    exercise: str
    run: dict[str, Any]
    checks: tuple[CheckResult, ...]
    schema_version: int = SCHEMA_VERSION

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
        """0 full marks (written answers aside), 1 points were lost, 3 a grader fault."""
        if self.faulty:
            return 3
        return 0 if self.score == self.max_score else 1

    @property
    def id(self) -> str:
        """A digest of all that the result says: another result has another one."""
        return _digest(self._document())

    def to_json(self) -> str:
        """The documented JSON of this result, score before the checks that make it."""
        document = self._document()
        return json.dumps({"id": _digest(document), **document}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _document(self) -> dict[str, Any]:
        return {
            "schema_version": self.schema_version,
            "exercise": self.exercise,
            "score": self.score,
            "max_score": self.max_score,
            "undecided": self.undecided,
            "final": self.final,
            "run": self.run,
            "checks": [_fields(check) for check in self.checks],
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


def _digest(document: dict[str, Any]) -> str:
    """SHA-256 of the document without its id, in one spelling of its JSON."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def load(path: Path) -> Result:
    """The result that `Result.save` wrote, now or by an earlier version.

    Raises OSError where there is no such file, and ValueError, KeyError or TypeError for one that says something else than
    it did when it was written.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    if document["schema_version"] == 1:
        checks = tuple(_check(_of_version_1(fields)) for fields in document["checks"])
    else:
        if document.pop("id") != _digest(document):
            raise ValueError("it was changed after it was written")
        checks = tuple(_check(fields) for fields in document["checks"])
    return Result(document["exercise"], document["run"], checks)


def _check(fields: dict[str, Any]) -> CheckResult:
    read = {"outcome": Outcome(fields["outcome"]), "measured": measured.tables(fields.get("measured"))}
    return CheckResult(**{**fields, **read})


def _of_version_1(fields: dict[str, Any]) -> dict[str, Any]:
    """A check of version 1, which gave the points of a fault: they count as undecided, and none of them as earned."""
    if fields["outcome"] != Outcome.GRADER_FAULT:
        return fields
    return {**fields, "score": 0.0, "max_score": 0.0, "undecided": fields["max_score"]}
