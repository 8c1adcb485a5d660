"""Why something that was handed in is not what it should be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """What was recognised, in words, the misconception that it is known as, if it is one, and what to look at next."""

    words: str
    misconception: str | None = None
    hint: str = ""
