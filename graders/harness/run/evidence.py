"""What a run left behind, read as bytes that an attacker wrote: JSON, safetensors and PNG, and nothing else."""

from __future__ import annotations

import ast
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from nbformat import NotebookNode
from torch import Tensor

from graders.harness.data import files, values
from graders.harness.ending import RunReport, read_report
from graders.harness.run import notebook, source, variables
from graders.harness.run.gather import LEFT_OUT
from graders.harness.run.moments import Moments, Reading
from graders.harness.run.records import MAX_JSON, EvidenceError, Missing, NotRead, Records, Unreadable, reading
from graders.harness.run.sightings import Sightings
from graders.harness.run.states import ModuleState, OptimizerState, TensorFacts


@dataclass(frozen=True)
class SetAgain:
    """A parameter that the notebook gave another value than it was run with, in which code cell, and where that is in words."""

    value: Any
    cell: int
    place: str


class Evidence(Sightings):
    """The evidence in a run folder.

    All that the run was asked for is read once, when something of it is first asked for or by :meth:`read`, within one
    budget; after that there are only values, or errors. Every method raises :class:`Missing` or :class:`Unreadable` in place
    of an answer, and KeyError for a variable that the run was not asked for.
    """

    def __init__(self, run_folder: Path) -> None:
        """Nothing is read yet."""
        self.folder = Path(run_folder)

    def read(self) -> Evidence:
        """Read everything, so that nothing a hand-in left is met later on; returns itself."""
        _ = self._variables, self.backward_passes, self.optimizer_steps, self._left_out
        return self

    @cached_property
    def run(self) -> RunReport:
        """How the run ended."""
        return read_report(files.read_file(self.folder, "run.json", MAX_JSON))

    @cached_property
    def _left_out(self) -> dict[str, Any]:
        """What was not taken out of the sandbox: path in the run folder and reason."""
        try:
            return values.parse_object(files.read_file(self.folder, LEFT_OUT, MAX_JSON))
        except FileNotFoundError:
            return {}

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What was injected into the notebook."""
        return ast.literal_eval(self._request["parameters"])

    @cached_property
    def _request(self) -> dict[str, Any]:
        return values.parse_object(files.read_file(self.folder, "request.json", MAX_JSON))

    @cached_property
    def written_answers(self) -> list[str]:
        """The Markdown of every written answer, as handed in."""
        return notebook.written_answers(self._notebook)

    @cached_property
    def _budget(self) -> values.Budget:
        return values.Budget()

    @cached_property
    def _records(self) -> Records:
        return Records(self.folder, self._budget)

    @cached_property
    def _variables(self) -> dict[str, Any]:
        """What each variable that the run was asked for held, or the :class:`EvidenceError` in its place."""
        kinds = self._request["hand_in"]
        read: dict[str, Any] = {}
        records: dict[str, dict[str, Any]] = {}
        readings: dict[str, Reading] = {}
        for name, kind in kinds.items():
            try:
                with reading(name):
                    records[name] = self._records.record(name, kind, self._where_stopped)
                    if moment := Reading.of(records[name]):
                        readings[name] = moment
            except Missing as error:
                read[name] = self._unread(name) or error
            except EvidenceError as error:
                read[name] = error
        moments = Moments(readings, kinds, self._place)
        for name, record in records.items():
            if name in read:
                continue
            try:
                with reading(name):
                    if why_not := moments.against(name):
                        raise NotRead(name, *why_not)
                    read[name] = self._records.value(kinds[name], record)
                    if kinds[name] in ("value", "pictures"):
                        self._ensure_finished(name, read[name])
            except EvidenceError as error:
                read[name] = error
        return read

    def _place(self, cell: int) -> str:
        return source.place(self._notebook, cell)

    @cached_property
    def code(self) -> str:
        """The code of all cells that run, one after the other."""
        return "\n".join(cell.source for cell in self._notebook.cells if cell.cell_type == "code")

    @cached_property
    def _notebook(self) -> NotebookNode:
        return notebook.without(notebook.read(self.folder / "notebook.ipynb"), self._request.get("left_out", ()))

    @cached_property
    def _stopped(self) -> RunReport | None:
        """The report of a run that did not reach its end."""
        with suppress(FileNotFoundError):
            return None if self.run.ended == "completed" or not self.run.cell else self.run
        return None

    @cached_property
    def _cells(self) -> tuple[list[source.Code], list[source.Code], list[source.Code]]:
        """The code cells before the one that stopped, that one, and those after it."""
        cells = source.code(self._notebook)
        at = self._stopped.cell or 1 if self._stopped else 1
        return cells[: at - 1], cells[at - 1 : at], cells[at:]

    def _unread(self, name: str) -> NotRead | None:
        """For a variable without a value which the cell that the notebook's process died in may have given one."""
        run = self._stopped
        if run is None or run.ended != "kernel_died" or name not in variables.filled(self._cells[1]):
            return None
        problem = f"The notebook's process ended in {self._where_stopped}, before `{name}` could be read."
        return NotRead(name, problem, "Mend that cell, then restart the kernel and run all cells.")

    def _ensure_finished(self, name: str, value: Any) -> None:
        """:class:`NotRead` for what the cell that stopped was still filling, or was to be filled after it."""
        if self._stopped is None:
            return
        before, stopped, after = self._cells
        line = self._stopped.error.number if self._stopped.error else 0
        filling = name in variables.unfinished([*before, *stopped], line)
        empty = isinstance(value, list | dict | tuple | set) and not value
        if filling or (empty and name in variables.filled(after)):
            doing = "which was filling" if filling else "before it filled"
            problem = f"Your notebook stopped in {self._where_stopped}, {doing} `{name}`."
            raise NotRead(name, problem, "Mend that cell, then restart the kernel and run all cells.")

    @cached_property
    def set_again(self) -> dict[str, SetAgain]:
        """The parameters that had another value in the end than the run gave them, of the same type."""
        found = {}
        for name, given in self.parameters.items():
            with suppress(EvidenceError), reading(name):
                record = self._records.record(name, "value")
                moment, value = Reading.of(record), values.decode(record["value"], self._budget)
                if name == "DEVICE" or moment is None or moment.gone or not _alike(value, given):
                    continue
                if name == "OUTPUT_DIR" and value.rstrip("/").endswith(f"work/{self._request['output']}"):
                    continue
                if _plain(value) != _plain(given):
                    found[name] = SetAgain(value, moment.since, self._place(moment.since))
        return found

    def set_before(self, parameter: str, variable: str) -> bool:
        """Whether a parameter that was set again had its new value when a hand-in variable got the one that it holds."""
        again = self.set_again[parameter]
        with suppress(EvidenceError), reading(variable):
            moment = Reading.of(self._records.record(variable, self._request["hand_in"][variable]))
            if moment is not None and moment.since != again.cell:
                return moment.since > again.cell
            cell = source.code(self._notebook)[again.cell - 1 : again.cell]
            return moment is not None and variables.set_before(cell, parameter, variable)
        return False

    @cached_property
    def _session(self) -> dict[str, Any]:
        return values.parse_object(self._records.read("session.json", MAX_JSON))

    def value(self, name: str) -> Any:
        """What the variable held: numbers, texts, None and collections of them; arrays as nested lists."""
        return self._get(name, "value")

    def tensor(self, name: str) -> Tensor:
        """The tensor in its own dtype and shape, on the CPU."""
        tensor, _ = self._get(name, "tensor")
        return tensor

    def tensor_facts(self, name: str) -> TensorFacts:
        """Where the tensor was and whether it was part of an autograd graph."""
        _, facts = self._get(name, "tensor")
        return facts

    def pictures(self, name: str) -> list[np.ndarray] | dict[Any, Any]:
        """The pictures, uint8 [height, width, 3]: a list, or a dict from key to such a list (or to such a dict)."""
        return self._get(name, "pictures")

    def module(self, name: str) -> ModuleState:
        """The module's parameters with their gradients."""
        return self._get(name, "module")

    def optimizer(self, name: str) -> OptimizerState:
        """Which parameters the optimizer holds."""
        return self._get(name, "optimizer")

    def path(self, relative: str) -> Path:
        """The path of a regular file in OUTPUT_DIR: not a link, not a special file, not outside of it."""
        path = f"{self._request['output']}/{relative}"
        try:
            return files.check_file(self.folder, f"work/{path}")
        except FileNotFoundError:
            if reason := self._left_out.get(f"work/{PurePosixPath(path)}"):
                raise Unreadable(relative, values.one_line(str(reason), 200)) from None
            raise Missing(relative, file=True) from None
        except files.Refused as error:
            raise Unreadable(relative, str(error)) from None

    def folder_path(self, relative: str) -> Path:
        """The path of a folder in OUTPUT_DIR, none of whose parts is a link; what lies in it is not looked at."""
        folder = self.folder
        for part in PurePosixPath(f"work/{self._request['output']}/{relative}").parts:
            folder /= part
            if part == ".." or folder.is_symlink():
                raise Unreadable(relative, "it is a link, or leads out of OUTPUT_DIR")
        return folder

    def _get(self, name: str, kind: str) -> Any:
        if self._request["hand_in"][name] != kind:
            raise KeyError(f"{name} was not collected as {kind}")
        found = self._variables[name]
        if isinstance(found, EvidenceError):
            raise found.with_traceback(None)
        return found

    @property
    def _where_stopped(self) -> str:
        return self._stopped.place or "a cell" if self._stopped else ""


def _plain(value: Any) -> Any:
    """Numbers, texts and collections as they are compared, whichever kind of list holds them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _alike(value: Any, given: Any) -> bool:
    """Whether a value can be meant in the place of a parameter, and is not another use of its name."""
    kinds: tuple[type | tuple[type, ...], ...] = (str, dict, (list, tuple), bool, (int, float))
    return any(isinstance(value, kind) and isinstance(given, kind) for kind in kinds)
