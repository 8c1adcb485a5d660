"""From which moment of a run each reading is, and which of them may be judged together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graders.harness.data import values

STATEFUL = ("module", "optimizer")
"""Kinds of variables that change while no line assigns them."""


@dataclass(frozen=True)
class Reading:
    """What a record says of its moment, in numbers of code cells: what it holds was there after ``since`` until ``until``.

    ``first`` is the cell that the variable had a value after at first. ``gone`` is the cell after which it had that value no
    more, and ``now`` what became of it.
    """

    since: int
    until: int
    first: int
    gone: int | None
    now: str

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Reading | None:
        """None for a record that says nothing of it; :class:`values.Malformed` for one that says what cannot be."""
        if "until" not in record:
            return None
        gone = record.get("gone")
        cells = [record.get("since"), record["until"], record.get("first"), gone["cell"] if gone else 0]
        if any(type(cell) is not int or not 0 <= cell < 100_000 for cell in cells):
            raise values.Malformed("a malformed record")
        now = values.one_line(str(gone["now"]), 100) if gone else ""
        return cls(cells[0], cells[1], cells[2], cells[3] if gone else None, now)


class Moments:
    """The readings of one run: by name, those of variables that have a value, with the kinds of all variables."""

    def __init__(self, readings: Mapping[str, Reading], kinds: Mapping[str, str], place: Callable[[int], str]) -> None:
        """``place`` says where the code cell of a number is."""
        self.readings, self.kinds, self.place = readings, kinds, place
        self.last = max((max(reading.until, reading.gone or 0) for reading in readings.values()), default=0)

    def against(self, name: str) -> tuple[str, str] | None:
        """Why a variable cannot be judged together with the others, and what to do; None if it can."""
        reading = self.readings.get(name)
        if reading is None:
            return None
        if reading.gone is None:
            if reading.until == self.last:
                return None
            seen = f"`{name}` was last read after {self.place(reading.until)}, and may have changed since."
            return seen, "Mend the cell that stopped, and all of it will be read."
        later = next((other for other in self.readings if other != name and self._overtook(other, name)), None)
        if later is None:
            return None
        became = {"": "was deleted", "closed": "was closed", "NoneType": "was set to None"}
        end = became.get(reading.now, f"was used for a value of type {reading.now}")
        said = f"`{name}` had a value after {self.place(reading.until)} and {end} in {self.place(reading.gone)}"
        return f"{said}, before `{later}` had the value that it has now.", f"Keep `{name}` until the last cell has run."

    def _overtook(self, other: str, gone: str) -> bool:
        """Whether a variable changed after another one was gone that it would be judged with."""
        one, before = self.readings[other], self.readings[gone]
        computed = ("tensor", *STATEFUL)
        if self.kinds[other] not in computed or self.kinds[gone] not in computed or one.since <= before.until:
            return False
        return self.kinds[gone] in STATEFUL or (self.kinds[other] == "tensor" and one.first <= before.until)
