"""Provenance: where what was handed in may have come from, for a person to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graders.harness import lessons
from graders.harness.errors import HandInError
from graders.harness.marks import Gradebook, Student
from graders.harness.run.evidence import Evidence


@dataclass(frozen=True)
class Untrained:
    """A student's adapters, and how few backward passes the run that left them was seen to make: a reason to ask, no verdict.

    Honest work trains in other processes, too, where nothing is seen: `accelerate launch`, `notebook_launcher`.
    """

    student: Student
    exercise: str
    passes: int
    steps: int


def untrained(gradebook: Gradebook) -> Iterator[Untrained]:
    """Hand-ins with adapters from runs that made fewer backward passes than one training has steps."""
    for name in gradebook.exercises:
        if not lessons.meant().exercise(name).seeds:
            continue
        for record in gradebook.records:
            grade = record.grades[name]
            if grade.folder is None or grade.result is None or not (grade.folder / "run").is_dir():
                continue
            evidence = Evidence(grade.folder / "run")
            passes = evidence.backward_passes
            if passes is not None and passes < (steps := evidence.parameters["STEPS"]) and _has_adapters(evidence):
                yield Untrained(record.student, name, passes, steps)


def _has_adapters(evidence: Evidence) -> bool:
    for rank in evidence.parameters["RANKS"]:
        try:
            if any(evidence.folder_path(f"rank{rank}").glob("*")):
                return True
        except HandInError:
            continue
    return False
