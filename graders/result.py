"""The result of grading one hand-in: the one document that every kind of feedback is made from."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from graders import measured
from graders.saving import save

SCHEMA_VERSION = 2
"""Version 1 had no ``undecided``, ``final`` and ``id``, and gave the points of a check that a grader broke at."""


MAX_BYTES = 8_000_000
"""Of a stored result: a hundred times what the largest has."""
ENDED = ("completed", "cell_error", "timeout", "out_of_memory", "kernel_died", "not_started")
"""How a run may end."""


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


class ResultError(ValueError):
    """A stored result that is not what was written; the message continues a sentence."""


def load(path: Path) -> Result:
    """The result that `Result.save` wrote, now or by an earlier version.

    Raises :class:`ResultError` for a file that is missing, or is no result, or says something else than it did when it was
    written.
    """
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise ResultError("it is missing, no plain file or too large")
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document["schema_version"]
        if version != 1 and document.pop("id") != _digest(document):
            raise ResultError("it was changed after it was written")
        return Result(
            _text(document["exercise"]),
            _run(document["run"]),
            tuple(_check(_of_version_1(fields) if version == 1 else fields) for fields in document["checks"]),
        )
    except ResultError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ResultError(f"it is no result ({type(error).__name__})") from None


def _check(fields: dict[str, Any]) -> CheckResult:
    texts = {name: _text(fields[name]) for name in ("id", "title", "found", "expected", "why", "hint")}
    known_as = fields["misconception"]
    score, of, undecided = (_points(fields.get(name, 0.0)) for name in ("score", "max_score", "undecided"))
    if score > of:
        raise ResultError("it has more points than there are")
    return CheckResult(
        outcome=Outcome(fields["outcome"]),
        score=score,
        max_score=of,
        undecided=undecided,
        misconception=None if known_as is None else _text(known_as),
        measured=measured.tables(fields.get("measured")),
        **texts,
    )


def _run(run: dict[str, Any]) -> dict[str, Any]:
    """How a run ended, as far as every feedback relies on it."""
    numbers = [_points(run[name]) for name in ("seconds", "peak_memory_bytes")]
    error, cell = run.get("error"), run.get("cell")
    if run["ended"] not in ENDED or run["device"] not in ("cpu", "cuda") or max(numbers) > 1e18:
        raise ResultError("its run ended in no known way")
    if error is not None:
        _ = [_text(error[name]) for name in ("ename", "evalue", "line")]
    if not (cell is None or type(cell) is int):
        raise ResultError("its run ended in no known cell")
    return run


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ResultError("a text in it is none")
    return value


def _points(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ResultError("a number in it is out of range")
    return value


def _of_version_1(fields: dict[str, Any]) -> dict[str, Any]:
    """A check of version 1, which gave the points of a fault: they count as undecided, and none of them as earned."""
    if fields["outcome"] != Outcome.GRADER_FAULT:
        return fields
    return {**fields, "score": 0.0, "max_score": 0.0, "undecided": fields["max_score"]}
