"""Why something that was handed in is not what it should be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """What was recognised, in words that continue a sentence, and the misconception that it is known as, if it is one."""

    words: str
    misconception: str | None = None
