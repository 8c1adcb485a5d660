"""The untrusted half of a run: ``python -m graders.harness.run.execution REQUEST.json`` executes a notebook.

It runs inside the sandbox together with the notebook's kernel and is trusted no more than that. It writes, below the
run folder, ``evidence/variables/`` (by the collector), ``evidence/executed.ipynb`` and ``evidence/run.json``, and to
standard output one line of JSON when the kernel is ready, at the start of every code cell, and now and then for what
a cell prints: ``{"cell": 3, "of": 12, "text": "..."}``.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import ctypes
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from graders.harness.data import files, values
from graders.harness.ending import SESSION
from graders.harness.run import TROUBLE, beside, imports, kernel, source, warm
from graders.harness.run import notebook as notebooks
from graders.harness.run.client import MAX_OUTPUT, Client
from graders.harness.run.kernels import POLL, StartError, manager_of, socket_folder
from graders.harness.run.memory_watch import kill_descendants

_ASKED = "the notebook asked its kernel to shut down, as quit() and exit() do"
_CALL = """\
import {0}
{0}.{1}
del {0}
"""
_MEMORY = re.compile(r"out of memory|can(no|')t allocate memory|unable to allocate", re.IGNORECASE)
_ARROW = re.compile(r"^-+> ?\d+ (.*)$", re.MULTILINE)


def preparation(hand_in: Mapping[str, str], variables: Path, loaded: bool = False, watchers: str = "") -> str:
    """The code of a cell that sets up the collection of variables, by name and kind, into the folder ``variables``.

    A forked kernel has ``loaded`` what does that. ``watchers`` is the code of the lesson's own.
    """
    prepare = _CALL.format(kernel.PACKAGE, f"collect.prepare{(dict(hand_in), str(variables), watchers)!r}")
    if loaded:
        return prepare
    load = f"{inspect.getsource(kernel.load)}load{(kernel.PACKAGE, kernel.sources())!r}\ndel load\n"
    return load + prepare


@dataclass
class Ending:
    """How a run ended: ``cell`` counts code cells from 1, ``error`` holds ename, evalue and line."""

    ended: str
    cell: int | None = None
    error: dict[str, Any] | None = None


class Execution:
    """One notebook, executed once; ``request`` is what :mod:`graders.harness.run.run` writes."""

    def __init__(self, request: dict[str, Any], run_folder: Path, forked: warm.Kernel | None = None) -> None:
        """Reads and prepares the notebook; nothing runs yet, but for a ``forked`` kernel, if there is one."""
        self.request = request
        self.forked = forked
        self.folder = run_folder
        self.variables = run_folder / "evidence" / "variables"
        handed_in = notebooks.read(run_folder / "notebook.ipynb")
        if (run_folder / beside.FILE).is_file():
            beside.unpack((run_folder / beside.FILE).read_bytes(), run_folder / "work")
        code_cells = [cell.id for cell in handed_in.cells if cell.cell_type == "code"]
        self.numbers: dict[str, int] = {cell: number for number, cell in enumerate(code_cells, 1)}
        handed_in = notebooks.without(handed_in, request["left_out"])
        self.elsewhere = imports.elsewhere(source.code(handed_in))
        self.last = max((self.numbers[cell.id] for cell in handed_in.cells if notebooks.is_code(cell)), default=0)
        # Absolute, so that they are found wherever the notebook moves to
        self.parameters = {
            **ast.literal_eval(request["parameters"]),
            "OUTPUT_DIR": str(self.folder / "work" / request["output"]),
        }
        self.notebook = notebooks.inject(handed_in, self.parameters)
        self.cells = len(self.notebook.cells)
        self.notebook.cells.append(new_code_cell())  # the collector's, not part of what is written
        self.number: int | None = None

    def tell(self, text: str = "") -> None:
        """Write a line of progress."""
        line = json.dumps({"cell": self.number, "of": len(self.numbers), "text": text})
        print(line, flush=True)

    async def execute(self) -> Ending:
        """Execute the notebook and collect its variables; how it went."""
        sockets = socket_folder()
        try:
            self.client = Client(
                self.notebook,
                km=manager_of(sockets, self.forked, self.request.get("python")),
                timeout=None,
                startup_timeout=100,
                shutdown_kernel="immediate",
                store_widget_state=False,
            )
            self.client.on_cell_executed = self.client.cell_executed
            self.client.tell = self.tell  # type: ignore[method-assign]
            # The kernel's own standard error stays open: it tells why a kernel does not start
            quiet = {"cwd": str(self.folder / "work"), "stdout": subprocess.DEVNULL}
            async with self.client.async_setup_kernel(cleanup_kc=True, **quiet):
                ending = await self._all()
                await self._end_kernel()
                return ending
        finally:
            shutil.rmtree(sockets, ignore_errors=True)

    async def _all(self) -> Ending:
        """Every cell in turn, a collection after each, and one more at the end of any kind."""
        spec = {**dict.fromkeys(self.parameters, "value"), **self.request["hand_in"]}
        code = preparation(spec, self.variables, self.forked is not None, self.request["watchers"])
        prepared = await self._attempt(self.cells, 60.0, code)
        if prepared is not None:
            raise StartError(f"the collector could not be prepared: {prepared}")
        self.tell("ready")
        ending = await self._cells(time.monotonic() + self.request["time_limit"])
        if ending.ended != "kernel_died" or self.client.leaves:
            await self._collect(final=True, limit=self.request["grace"])
        return ending

    exit_status: int | None = None

    async def _cells(self, deadline: float) -> Ending:
        for index in range(self.cells):
            cell = self.notebook.cells[index]
            if not notebooks.is_code(cell):
                continue
            self.number = self.numbers.get(cell.id, self.number)  # what is injected belongs to the cell before it
            self.tell()
            if names := self.elsewhere.get(
                cell.id
            ):  # and not before: who asks whether they are there is told the truth
                await self._attempt(self.cells, 60.0, _CALL.format(kernel.PACKAGE, f"stand_ins.offer({names!r})"))
            left = deadline - time.monotonic()
            ending = await self._attempt(index, min(left, self.request["cell_limit"] or left))
            if ending is not None and self.number == self.last and _left_in_order(ending):
                ending = None
            if ending is None and self.client.leaves:
                ending = self._death(_ASKED)
            if ending is None and not await self._collect(final=False, limit=max(deadline - time.monotonic(), 1.0)):
                ending = self._death() if await self._exited() else Ending("timeout", self.number)
            if ending is None and self.client.leaves:  # found out by the collector
                ending = self._death(_ASKED)
            if ending is not None:
                return ending
        return Ending("completed")

    async def _attempt(self, index: int, limit: float, source: str | None = None) -> Ending | None:
        """Execute one cell within ``limit`` seconds; None if it ran to its end."""
        cell = self.notebook.cells[index]
        if source is not None:
            cell.source = source
        seen = cell.id in self.numbers  # others are not counted, so that In and Out have the numbers that students see
        task = asyncio.ensure_future(self.client.async_execute_cell(cell, index, store_history=seen))
        done, _ = await asyncio.wait({task}, timeout=max(limit, 0.0))
        if not done:
            await self._interrupt(task)
            return Ending("timeout", self.number)
        try:
            task.result()
        except CellExecutionError as error:
            return self._cell_error(error)
        except DeadKernelError:
            await self._exited()
            return self._death()
        return None

    async def _interrupt(self, task: asyncio.Future[Any]) -> None:
        """Stop the cell that runs; if it does not stop, the kernel."""
        for _ in range(3):
            with contextlib.suppress(Exception):
                await self._manager.interrupt_kernel()
            done, _pending = await asyncio.wait({task}, timeout=self.request["grace"] / 12)
            if done:
                task.exception()
                return
        task.cancel()
        kill_descendants()
        await asyncio.wait({task}, timeout=1.0)

    @property
    def _manager(self) -> AsyncKernelManager:
        manager = self.client.km
        assert isinstance(manager, AsyncKernelManager)
        return manager

    async def _end_kernel(self) -> None:
        """Kill it: there is nothing that it has left to do."""
        provisioner = self._manager.provisioner
        if provisioner is not None and await provisioner.poll() is None:
            await provisioner.kill()
            while await provisioner.poll() is None:
                await asyncio.sleep(POLL)

    async def _exited(self) -> bool:
        """Whether the kernel's process has ended; keeps its exit status."""
        provisioner = self._manager.provisioner
        self.exit_status = None if provisioner is None else await provisioner.poll()
        return self.exit_status is not None

    def _death(self, how: str = "") -> Ending:
        """The kernel has ended, and how, as far as its exit status tells."""
        status = self.exit_status
        if not how and status is not None:
            known = -status in {*signal.Signals}
            how = f"signal {signal.Signals(-status).name}" if known else f"exit status {status}"
        return Ending(
            "kernel_died", self.number, {"ename": "Process ended", "evalue": how, "line": ""} if how else None
        )

    async def _collect(self, *, final: bool, limit: float) -> bool:
        """Have the collector read the variables; whether the kernel is still there afterwards."""
        for _ in range(2):  # an interrupt meant for a cell may arrive late and hit the collector instead
            ending = await self._attempt(
                self.cells, limit, _CALL.format(kernel.PACKAGE, f"collect.collect({final!r}, {self.number or 0})")
            )
            if ending is None:
                return True
            if ending.ended != "cell_error":
                return False
        return True

    def _cell_error(self, error: CellExecutionError) -> Ending:
        name, text = str(error.ename), str(error.evalue)
        arrow = _ARROW.search(re.sub(r"\x1b\[[0-9;]*m", "", str(error.traceback)))
        described = {"ename": name[:200], "evalue": text[:2000], "line": arrow.group(1).strip()[:500] if arrow else ""}
        memory = name.endswith(("MemoryError", "OutOfMemoryError")) or bool(_MEMORY.search(text))
        return Ending("out_of_memory" if memory else "cell_error", self.number, described)

    def write(self, ending: Ending) -> None:
        """Write the executed notebook and the report of the run."""
        executed = NotebookNode(self.notebook)
        executed.cells = self.notebook.cells[: self.cells]
        text = ""
        with contextlib.suppress(Exception):  # outputs are the notebook's, and it may have sent anything
            text = nbformat.writes(executed)
        if not text or len(text) > 2 * MAX_OUTPUT + notebooks.MAX_BYTES:
            for cell in executed.cells:
                cell.update({"outputs": [], "execution_count": None} if cell.cell_type == "code" else {})
            text = nbformat.writes(executed)
        evidence = self.folder / "evidence"
        (evidence / "executed.ipynb").write_bytes(text.encode("utf-8", "replace"))
        session = self._session()
        if ending.error is not None:
            raised = session.get("raised")
            text = next((cell.source for cell in self.notebook.cells if self.numbers.get(cell.id) == ending.cell), "")
            ending.error = with_line(ending.error, raised if isinstance(raised, dict) else {}, text)
        report = {"ended": ending.ended, "cell": ending.cell, "error": ending.error, "device": "cpu"}
        report |= {name: session[name] for name in SESSION if name in session}
        (evidence / "run.json.part").write_text(json.dumps(report))
        os.replace(evidence / "run.json.part", evidence / "run.json")

    def _session(self) -> dict[str, Any]:
        """Where the notebook computed and what it held there, as far as the collector has seen it."""
        with contextlib.suppress(OSError, files.Refused, values.Malformed):
            return values.parse_object(files.read_file(self.variables, "session.json", MAX_OUTPUT))
        return {}


def _left_in_order(ending: Ending) -> bool:
    """Whether a cell ended by `sys.exit()` without a complaint: nothing is wrong with that in the last one."""
    error = ending.error or {}
    return error.get("ename") == "SystemExit" and error.get("evalue") in ("", "0", "None", "False")


def with_line(error: Mapping[str, Any], raised: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The error with the line of the cell that the collector saw it come from, if it has seen it."""
    number = raised.get("number")
    if raised.get("name") != error["ename"] or type(number) is not int:
        return dict(error)
    lines, number = text.splitlines(), number + source.skipped(text)
    line = lines[number - 1].strip() if 0 < number <= len(lines) else error["line"]
    return {**error, "line": line[:500], "number": number}


def _adopt_orphans() -> None:
    """On Linux, become the parent of what the notebook's processes leave, and end when the grader does."""
    if sys.platform == "linux":
        set_parent_death_signal, set_child_subreaper = 1, 36
        library = ctypes.CDLL(None)
        library.prctl(set_child_subreaper, 1, 0, 0, 0)
        library.prctl(set_parent_death_signal, signal.SIGTERM, 0, 0, 0)


def main() -> None:
    """Execute the notebook that the request, whose path is the argument, is about.

    Ends with the exit status :data:`TROUBLE` where it is not the notebook that failed.
    """
    _adopt_orphans()
    request_path = Path(sys.argv[1])
    forked = warm.Kernel.of_this_run()
    request = json.loads(request_path.read_text(encoding="utf-8"))
    execution = Execution(request, request_path.resolve().parent, forked)
    status = TROUBLE
    try:
        ending = asyncio.run(execution.execute())
        status = 1  # the folder that is written to is the notebook's to fill, and to spoil
        execution.write(ending)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        kill_descendants(wait=True)
        os._exit(status)  # nbclient would add an error of its own to a kernel that is not there
    finally:
        kill_descendants(wait=True)


if __name__ == "__main__":
    main()
