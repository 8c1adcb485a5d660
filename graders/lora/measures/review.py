"""What a person marks: it is kept, counted and never scored by the program."""

from __future__ import annotations

from typing import NoReturn

from graders.harness.hand_in import HandIn
from graders.harness.rubric import LeftToPerson, Verdict


def await_person(hand_in: HandIn, verdict: Verdict) -> NoReturn:
    """Leave the written answers of a hand-in to its instructor."""
    count = len(hand_in.evidence.written_answers)
    verdict.found(f"{count} written answer{'' if count == 1 else 's'}, kept for your instructor")
    raise LeftToPerson
