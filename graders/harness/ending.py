"""How a run ended, as a record that is written in one process and read in another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from graders.harness.data import values

SESSION = ("device", "peak_gpu_memory_bytes")
"""What the notebook's own side saw of its session."""
Ended = Literal["completed", "cell_error", "timeout", "out_of_memory", "kernel_died", "not_started"]


@dataclass(frozen=True)
class RunError:
    """The exception that ended a run, and the line of the cell that raised it ("" and 0 if unknown), counted from 1."""

    ename: str
    evalue: str
    line: str
    number: int = 0


@dataclass(frozen=True)
class RunReport:
    """How a run ended: at which code cell (from 1, None if at none), after how many seconds, with how much memory."""

    ended: Ended
    cell: int | None
    error: RunError | None
    seconds: float
    peak_memory_bytes: int
    device: Literal["cpu", "cuda"]
    peak_gpu_memory_bytes: int = 0
    """What PyTorch held of a GPU at most."""
    place: str = ""
    """Where that code cell is, in words that continue a sentence, such as: the cell under *The step*."""

    @property
    def reason(self) -> str:
        """Why the run ended, in few words: its error, or how it ended."""
        return f"{self.error.ename}: {self.error.evalue}" if self.error else self.ended.replace("_", " ")


def read_report(content: bytes, **seen: float | str) -> RunReport:
    """The report of a run from its JSON, with the fields that were ``seen`` in place of the JSON's own.

    :class:`values.Malformed` if a field is not what it has to be.
    """
    fields = {**values.parse_object(content), **seen}
    ended: Any = fields.get("ended")
    cell, device = fields.get("cell"), fields.get("device")
    seconds, memory, error = fields.get("seconds"), fields.get("peak_memory_bytes"), fields.get("error")
    if ended not in get_args(Ended) or device not in ("cpu", "cuda"):
        raise values.Malformed("a run that ended in no known way")
    if cell is not None and (type(cell) is not int or not 1 <= cell < 100_000):
        raise values.Malformed("a run that ended in no cell")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < 1e9:
        raise values.Malformed("a run of no duration")
    if not isinstance(memory, int) or isinstance(memory, bool) or not 0 <= memory < 1 << 63:
        raise values.Malformed("a run that took no memory")
    if error is not None:
        if not isinstance(error, dict) or any(type(error.get(key)) is not str for key in ("ename", "evalue", "line")):
            raise values.Malformed("an error without a name")
        number = error.get("number", 0)
        if type(number) is not int or not 0 <= number < 1 << 31:
            raise values.Malformed("an error in no line")
        ename, evalue, line = (values.one_line(error[key], 500) for key in ("ename", "evalue", "line"))
        error = RunError(ename, evalue, line, number)
    gpu_memory = fields.get("peak_gpu_memory_bytes", 0)
    if type(gpu_memory) is not int or not 0 <= gpu_memory < 1 << 63:
        raise values.Malformed("a run that held no memory of a GPU")
    place = fields.get("place", "")
    if type(place) is not str:
        raise values.Malformed("a run that ended in no place")
    return RunReport(ended, cell, error, float(seconds), memory, device, gpu_memory, values.one_line(place, 200))
