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
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from graders.harness.data import files, values
from graders.harness.ending import SESSION
from graders.harness.run import kernel, nesting, warm
from graders.harness.run import notebook as notebooks
from graders.harness.run.memory import kill_descendants

MAX_OUTPUT = 20_000_000
"""Characters of output that are kept of one notebook; what is printed beyond them is dropped."""
MAX_TEXT = 200
"""Characters of a line of progress."""
PROGRESS_INTERVAL = 0.5
"""Seconds between two lines of progress that repeat what a cell prints."""
MAX_SOCKET_PATH = 100
"""Bytes of the path of a socket: a little less than the 107 that Unix allows, beyond which a kernel hangs."""

_COLLECTOR = "_grading_collector"
_PREPARE = f"""
def {_COLLECTOR}(sources, spec, folder):
    import sys, types
    package = sys.modules["{_COLLECTOR}"] = types.ModuleType("{_COLLECTOR}")
    package.__path__ = []
    for name, source in sources.items():
        module = sys.modules["{_COLLECTOR}." + name] = types.ModuleType("{_COLLECTOR}." + name)
        module.__package__ = "{_COLLECTOR}"
        setattr(package, name, module)
        exec(compile(source, name + ".py", "exec", dont_inherit=True), module.__dict__)
    package.collect.prepare(spec, folder)
{_COLLECTOR}(%r, %r, %r)
del {_COLLECTOR}
"""
_COLLECT = f"import {_COLLECTOR}\n{_COLLECTOR}.collect.collect(%r)\ndel {_COLLECTOR}\n"
_MEMORY = re.compile(r"out of memory|can(no|')t allocate memory|unable to allocate", re.IGNORECASE)
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")
_ARROW = re.compile(r"^-+> ?\d+ (.*)$", re.MULTILINE)


def preparation(hand_in: Mapping[str, str], variables: Path) -> str:
    """The code of a cell that sets up the collection of variables, by name and kind, into the folder ``variables``."""
    place = Path(kernel.__file__).parent
    sources = {name: (place / f"{name}.py").read_text(encoding="utf-8") for name in kernel.PARTS}
    return _PREPARE % (sources, dict(hand_in), str(variables))


@dataclass
class Ending:
    """How a run ended: ``cell`` counts code cells from 1, ``error`` holds ename, evalue and line."""

    ended: str
    cell: int | None = None
    error: dict[str, str] | None = None


class StartError(Exception):
    """The notebook's kernel did not start, which is no fault of the notebook."""


class Client(NotebookClient):
    """nbclient with an end to how much output it keeps, and with a word about what cells print."""

    kept = 0
    told = 0.0
    leaves = False

    def tell(self, text: str) -> None:
        """Report a line of progress of the cell that runs."""

    def output(self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int) -> Any:
        """Keep an output unless the notebook has had its share."""
        content = msg["content"]
        text = str(content.get("text", ""))
        if msg["msg_type"] == "stream" and time.monotonic() - self.told > PROGRESS_INTERVAL:
            lines = [line.strip() for line in re.split(r"[\r\n]", _CONTROL.sub(" ", text[-2000:].replace("\r", "\n")))]
            self.told = time.monotonic()
            self.tell(next((line for line in reversed(lines) if line), "")[:MAX_TEXT])
        before = self.kept
        self.kept += len(text) or len(json.dumps(content, default=str))
        if self.kept <= MAX_OUTPUT:
            kept = super().output(outs, msg, display_id, cell_index)
            # nbclient can join streams itself, but takes quadratic time for a long line
            if len(outs) > 1 and "name" in outs[-1] and outs[-1].get("name") == outs[-2].get("name"):
                outs[-2]["text"] += outs.pop()["text"]
            return kept
        if before <= MAX_OUTPUT:
            outs.append(new_output("stream", name="stderr", text="[further output of this notebook is not kept]\n"))
        return None

    def handle_comm_msg(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int) -> None:
        """Keep no state of widgets."""

    def cell_executed(self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any] | None) -> None:
        """Notice ``quit()``, which raises nothing and ends the kernel a moment later."""
        payload = (execute_reply or {}).get("content", {}).get("payload") or []
        self.leaves = any(isinstance(part, dict) and part.get("source") == "ask_exit" for part in payload)


class Execution:
    """One notebook, executed once; ``request`` is what :mod:`graders.harness.run.run` writes."""

    def __init__(self, request: dict[str, Any], run_folder: Path, forked: warm.Kernel | None = None) -> None:
        """Reads and prepares the notebook; nothing runs yet, but for a ``forked`` kernel, if there is one."""
        self.request = request
        self.forked = forked
        self.folder = run_folder
        self.variables = run_folder / "evidence" / "variables"
        handed_in = notebooks.read(run_folder / "notebook.ipynb")
        code_cells = [cell.id for cell in handed_in.cells if cell.cell_type == "code"]
        self.numbers: dict[str, int] = {cell: number for number, cell in enumerate(code_cells, 1)}
        self.notebook = notebooks.inject(handed_in, ast.literal_eval(request["parameters"]))
        self.cells = len(self.notebook.cells)
        self.notebook.cells.append(new_code_cell())  # the collector's, not part of what is written
        self.number: int | None = None

    def tell(self, text: str = "") -> None:
        """Write a line of progress."""
        line = json.dumps({"cell": self.number, "of": len(self.numbers), "text": text})
        print(line, flush=True)

    async def execute(self) -> Ending:
        """Execute the notebook and collect its variables; how it went."""
        sockets = _socket_folder()
        try:
            self.client = Client(
                self.notebook,
                km=_manager(sockets, self.forked),
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
                return await self._all()
        finally:
            shutil.rmtree(sockets, ignore_errors=True)

    async def _all(self) -> Ending:
        """Every cell in turn, a collection after each, and one more at the end of any kind."""
        prepared = await self._attempt(self.cells, 60.0, preparation(self.request["hand_in"], self.variables))
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
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            self.number = self.numbers.get(cell.id)
            self.tell()
            left = deadline - time.monotonic()
            ending = await self._attempt(index, min(left, self.request["cell_limit"] or left))
            if ending is None and self.client.leaves:
                ending = self._death("quit() or exit() was called")
            if ending is None and not await self._collect(final=False, limit=max(deadline - time.monotonic(), 1.0)):
                ending = self._death() if await self._exited() else Ending("timeout", self.number)
            if ending is not None:
                return ending
        return Ending("completed")

    async def _attempt(self, index: int, limit: float, source: str | None = None) -> Ending | None:
        """Execute one cell within ``limit`` seconds; None if it ran to its end."""
        cell = self.notebook.cells[index]
        if source is not None:
            cell.source = source
        task = asyncio.ensure_future(self.client.async_execute_cell(cell, index, store_history=source is None))
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
            ending = await self._attempt(self.cells, limit, _COLLECT % final)
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
        text = nbformat.writes(executed)
        if len(text) > 2 * MAX_OUTPUT + notebooks.MAX_BYTES:
            for cell in executed.cells:
                cell.update({"outputs": []} if cell.cell_type == "code" else {})
            text = nbformat.writes(executed)
        evidence = self.folder / "evidence"
        (evidence / "executed.ipynb").write_bytes(text.encode("utf-8", "replace"))
        report = {
            "ended": ending.ended,
            "cell": ending.cell,
            "error": ending.error,
            **self._session(),
        }
        (evidence / "run.json.part").write_text(json.dumps(report))
        os.replace(evidence / "run.json.part", evidence / "run.json")

    def _session(self) -> dict[str, Any]:
        """Where the notebook computed and what it held there, as far as the collector has seen it."""
        seen: dict[str, Any] = {"device": "cpu"}
        with contextlib.suppress(OSError, files.Refused, values.Malformed):
            session = values.parse_object(files.read_file(self.variables, "session.json", MAX_OUTPUT))
            seen |= {name: session[name] for name in SESSION if name in session}
        return seen


class _ForkedKernel(AsyncKernelManager):
    """Its kernel is forked, with all libraries in it, and not started anew."""

    forked: warm.Kernel

    async def _async_launch_kernel(self, kernel_cmd: list[str], **given: Any) -> None:
        provisioner: Any = self.provisioner
        self.forked.launch(kernel_cmd, given.get("env") or dict(os.environ), given.get("cwd") or os.getcwd())
        provisioner.process, provisioner.pid, provisioner.pgid = self.forked, self.forked.pid, self.forked.pid
        self._reconcile_connection_info(provisioner.connection_info)

    _launch_kernel = _async_launch_kernel


class _OneKernel(KernelSpecManager):
    """Knows one kernel: the Python that runs this, whatever is or is not installed for Jupyter."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        # Interrupted by message: a signal does not reach a kernel in another session
        return KernelSpec(argv=argv, display_name="Python", language="python", interrupt_mode="message")


def _manager(sockets: str | None, forked: warm.Kernel | None) -> AsyncKernelManager:
    manager = (_ForkedKernel if forked else AsyncKernelManager)(kernel_spec_manager=_OneKernel())
    if isinstance(manager, _ForkedKernel) and forked:
        manager.forked = forked
    if sockets is not None:
        manager.transport = "ipc"
        manager.connection_file = os.path.join(sockets, "kernel.json")
    return manager


def _socket_folder() -> str:
    """A new private folder whose path is short enough for sockets."""
    names = len("/grade-xxxxxxxx/kernel-ipc-5")
    short = [base for base in (tempfile.gettempdir(), "/tmp") if len(os.fsencode(base)) + names < MAX_SOCKET_PATH]
    if not short:
        raise StartError("the temporary folder's path is too long for a socket")
    return tempfile.mkdtemp(prefix="grade-", dir=short[0])


def _adopt_orphans() -> None:
    """On Linux, become the parent of what the notebook's processes leave, and end when the grader does."""
    if sys.platform == "linux":
        set_parent_death_signal, set_child_subreaper = 1, 36
        library = ctypes.CDLL(None)
        library.prctl(set_child_subreaper, 1, 0, 0, 0)
        library.prctl(set_parent_death_signal, signal.SIGTERM, 0, 0, 0)


def main(request_path: Path) -> None:
    """Execute the notebook that the request is about."""
    _adopt_orphans()
    forked = warm.Kernel() if nesting.forked else None
    request = json.loads(request_path.read_text(encoding="utf-8"))
    execution = Execution(request, request_path.resolve().parent, forked)
    try:
        execution.write(asyncio.run(execution.execute()))
    except (StartError, RuntimeError) as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        kill_descendants(wait=True)
        os._exit(1)  # nbclient would add an error of its own to a kernel that is not there
    finally:
        kill_descendants(wait=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
