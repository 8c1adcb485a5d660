"""The result of grading one hand-in: the one document that every kind of feedback is made from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from graders import measured
from graders.harness.course import documents
from graders.harness.course.documents import Fields
from graders.running.report import read_report
from graders.running.values import Malformed
from graders.saving import save

SCHEMA_VERSION = 1


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not_reached"
    """It needs something that another check found missing or wrong; ``found`` says which."""
    AWAITING_REVIEW = "awaiting_review"
    """A person marks this; it is never scored by the program."""
    GRADER_FAULT = "grader_fault"
    """The grader broke, not the hand-in. The points are given, and the result is not final."""


@dataclass(frozen=True)
class CheckResult:
    """One line of the rubric: what was looked at, what was found, and what it is worth.

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
    measured: dict[str, measured.Table] = field(default_factory=dict, hash=False)

    @property
    def written(self) -> bool:
        """Whether this stands for the written answers, which no program judges; other checks may await a person as well."""
        return self.id == "written_answers"


@dataclass(frozen=True)
class Result:
    """Everything there is to say about one hand-in.

    ``run`` says how executing the notebook ended: ``ended`` (completed, cell_error, timeout, out_of_memory or
    kernel_died), ``cell`` (the code cell it ended in, counted from 1, or None), ``seconds``,
    ``peak_memory_bytes``, ``device``, ``unets_at_once`` and ``peak_gpu_memory_bytes``.
    """

    exercise: str
    run: dict[str, Any]
    checks: tuple[CheckResult, ...]
    schema_version: int = SCHEMA_VERSION

    @property
    def score(self) -> float:
        """Points earned."""
        return round(sum(check.score for check in self.checks), 2)

    @property
    def max_score(self) -> float:
        """Points that can be earned without the written answers."""
        return sum(check.max_score for check in self.checks)

    @property
    def exit_status(self) -> int:
        """0 full marks (written answers aside), 1 points were lost, 3 a grader fault."""
        if any(check.outcome is Outcome.GRADER_FAULT for check in self.checks):
            return 3
        return 0 if self.score == self.max_score else 1

    def to_json(self) -> str:
        """The documented JSON of this result, score before the checks that make it."""
        document = {
            "schema_version": self.schema_version,
            "exercise": self.exercise,
            "score": self.score,
            "max_score": self.max_score,
            "run": self.run,
            "checks": [_document(check) for check in self.checks],
        }
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: Path) -> None:
        """Write the JSON; no half-written result is ever seen."""
        # Half of a character, which UTF-8 cannot hold, is written as JSON's own escape for it.
        save(self.to_json().encode(errors="backslashreplace"), path)


def _document(check: CheckResult) -> dict[str, Any]:
    fields = asdict(check)
    if not check.measured:
        del fields["measured"]
    return fields


def load(path: Path) -> Result:
    """The result that `Result.save` wrote, by this version or one before.

    Raises :class:`DamagedError` for a file that holds anything else.
    """
    return documents.read(path.parent, path.name, of_document, "Grade the notebook again.")


def of_document(fields: Fields) -> Result:
    """The result that a document holds; :class:`Malformed` if it holds none."""
    version = fields.whole("schema_version", 1)
    if version > SCHEMA_VERSION:
        raise Malformed(f"it is of version {version}, and these graders know {SCHEMA_VERSION}")
    checks = tuple(_check(Fields(check, "a check")) for check in fields.items("checks"))
    if len({check.id for check in checks}) < len(checks):
        raise Malformed("a check is there twice")
    run = fields.object("run").all()
    read_report(json.dumps(run).encode())
    return Result(fields.text("exercise"), dict(run), checks, version)


def _check(fields: Fields) -> CheckResult:
    of, known = fields.number("max_score"), fields.all()
    return CheckResult(
        fields.text("id"),
        fields.text("title"),
        Outcome(fields.text("outcome")),
        fields.number("score", 0, of),
        of,
        fields.text("found"),
        fields.text("expected"),
        fields.text("why"),
        misconception=None if fields["misconception"] is None else fields.text("misconception"),
        hint=fields.text("hint"),
        measured=measured.tables(known.get("measured")),
    )
