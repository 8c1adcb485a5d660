"""A hand-in is run: the run folder is laid out, the untrusted half is launched and watched, and its evidence read.

A run folder holds, written here and only read by the notebook: ``notebook.ipynb`` as handed in, ``beside.zip`` if files
stand beside it, ``request.json``, and
at the end ``run.json``, how it went. The notebook's side writes to ``work/``, its working directory, and to
``evidence/``: ``executed.ipynb``, ``run.json`` as far as that side knows, and ``variables/``, described in
:mod:`graders.harness.run.kernel.collect`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from graders.harness.data import files, values
from graders.harness.data.saving import save
from graders.harness.ending import RunError, RunReport, read_report
from graders.harness.errors import MachineError, TroubleError
from graders.harness.run import KINDS, MARK, TROUBLE, notebook, source
from graders.harness.run.beside import FILE
from graders.harness.run.evidence import Evidence
from graders.harness.run.limits import Limits
from graders.harness.run.records import MAX_JSON
from graders.harness.run.sandbox import WRITABLE, Isolation, Program, Usage, output_of
from graders.harness.run.unconfined import NoIsolation

START_LIMIT = 120.0
"""Seconds within which the kernel has to be ready."""
_READ_AT_IMPORT = re.compile(
    r"\b(?:ACCELERATE|CUDA|DATASETS|DIFFUSERS|HF|HUGGINGFACE|KMP|MKL|MPL|NUMEXPR|NVIDIA|OMP|OPENBLAS|PEFT|PYTHON|PYTORCH"
    r"|TOKENIZERS|TORCH|TRANSFORMERS|XDG)[A-Z0-9]*_[A-Z0-9_]+\b"
)
"""Names of variables of the environment that libraries look at when they are imported, or first compute."""
_MAX_LINE = 4096
_POLL, _MOMENT = 0.02, 0.001
"""Seconds between two looks at a program, and at one that has closed its output, which it does when it ends."""


class LaunchError(MachineError):
    """Nothing of the notebook was run, and it is not the notebook's fault; ``log`` is the last that was written."""

    def __init__(self, problem: str, fix: str, log: str = "") -> None:
        super().__init__(problem, fix)
        self.log = log


@dataclass(frozen=True)
class Progress:
    """Where a run is: at code cell ``cell`` (None before the first) of ``of``; ``text`` is what it printed last."""

    cell: int | None
    of: int
    text: str
    seconds: float


def run(
    notebook_path: Path,
    *,
    parameters: Mapping[str, Any],
    hand_in: Mapping[str, str],
    run_folder: Path,
    time_limit: float,
    cell_limit: float | None = None,
    limits: Limits | None = None,
    grace: float = 60.0,
    isolation: Isolation | None = None,
    environment: Mapping[str, str] | None = None,
    readable: Sequence[Path] = (),
    left_out: Collection[str] = (),
    beside: bytes = b"",
    watchers: str = "",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Evidence:
    """Run the notebook once in the new folder ``run_folder`` and give what it left.

    ``parameters`` are injected; ``OUTPUT_DIR``, a folder relative to the working directory, is ``output`` unless given.
    ``hand_in`` maps the names of the variables to collect to one of :data:`graders.harness.run.KINDS`. The notebook may run for
    ``time_limit`` seconds and each cell for ``cell_limit``; interrupting it and collecting may take up to twice
    ``grace`` seconds more. ``environment`` is added to the kernel's, which is otherwise nearly empty; ``readable`` are
    the files and folders that the parameters name. The cells with the ids ``left_out`` do not run; ``beside`` is an
    archive of the files that stand beside it, as :mod:`graders.harness.run.beside` makes it; ``watchers`` the code of the
    lesson's own, which :meth:`Evidence.seen` reads.

    However the run ends, evidence comes back. Raises :class:`notebook.NotebookError` for a notebook that cannot be run,
    :class:`LaunchError` when no kernel could be had, :class:`TroubleError` when what runs the notebook failed itself,
    :class:`IsolationError` when no isolation, FileExistsError when the folder has been used, and ValueError or TypeError
    for impossible arguments.
    """
    isolation = isolation or NoIsolation()
    run_folder = Path(run_folder).resolve()
    content = notebook.read_bytes(Path(notebook_path))
    parameters = {"OUTPUT_DIR": "output", **parameters}
    handed_in = notebook.parse(content)
    injected = notebook.inject(notebook.without(handed_in, left_out), parameters)  # so that what will not do ends here
    request = {
        "parameters": repr(parameters),
        "hand_in": _checked(hand_in),
        "output": _output(parameters["OUTPUT_DIR"]),
        "time_limit": time_limit,
        "cell_limit": cell_limit,
        "grace": grace,
        "left_out": list(left_out),
        "watchers": watchers,
        "python": str(isolation.python.program) if isolation.python else None,
    }
    _lay_out(run_folder, content, request, beside)
    argv = [sys.executable, "-m", "graders.harness.run.execution", "request.json"]
    fresh = any(_READ_AT_IMPORT.search(cell.source) for cell in injected.cells if cell.cell_type == "code")
    inside = {**(environment or {}), MARK: "1"}
    program = isolation.start(argv, run_folder, limits or Limits(), inside, readable, fresh=fresh)
    try:
        watch = _Watch(program, on_progress)
        timed_out = watch.wait(time_limit + 2 * grace)
    finally:
        usage = program.end()
    watch.finish()
    if not watch.ready:
        raise watch.launch_error()
    status = program.process.returncode
    if status == TROUBLE and not (usage.out_of_memory or usage.too_many_processes):
        raise watch.trouble()
    report = source.located(_report(run_folder, status == 0, timed_out, watch, usage), handed_in)
    if report.cell is not None:
        report = replace(report, place=source.place(handed_in, report.cell))
    save(json.dumps(asdict(report), indent=1).encode(), run_folder / "run.json")
    return Evidence(run_folder)


def _checked(hand_in: Mapping[str, str]) -> dict[str, str]:
    for name, kind in hand_in.items():
        if not name.isidentifier() or kind not in KINDS:
            raise ValueError(f"{name!r} cannot be collected as {kind!r}")
    return dict(hand_in)


def _output(folder: Any) -> str:
    path = PurePosixPath(folder)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"OUTPUT_DIR is {folder!r}, but has to lie inside the working directory")
    return str(path)


def _lay_out(run_folder: Path, content: bytes, request: dict[str, Any], beside: bytes) -> None:
    run_folder.mkdir(parents=True, exist_ok=True)
    if any(run_folder.iterdir()):
        raise FileExistsError(f"{run_folder} is not empty")
    for name in WRITABLE:
        (run_folder / name).mkdir()
    (run_folder / "evidence" / "variables").mkdir()
    (run_folder / "work" / request["output"]).mkdir(parents=True, exist_ok=True)
    (run_folder / "notebook.ipynb").write_bytes(content)
    if beside:
        (run_folder / FILE).write_bytes(beside)
    save(json.dumps(request, indent=1).encode(), run_folder / "request.json")


def _report(run_folder: Path, finished: bool, timed_out: bool, watch: _Watch, usage: Usage) -> RunReport:
    """The untrusted half's own report if it ``finished`` and says what can be, with what was seen from outside."""
    seconds, memory = round(watch.seconds, 3), usage.peak_memory_bytes
    report = None
    if finished:  # else what lies there may be the notebook's
        with contextlib.suppress(FileNotFoundError, files.Refused, values.Malformed):
            content = files.read_file(run_folder, "evidence/run.json", MAX_JSON)
            report = read_report(content, seconds=seconds, peak_memory_bytes=memory)
    if report is None:
        cell = watch.last.cell if watch.last else None
        report = RunReport("timeout" if timed_out else "kernel_died", cell, None, seconds, memory, "cpu")
    killed = report.error is None or report.error.evalue == "signal SIGKILL"
    if report.ended == "kernel_died" and killed and usage.out_of_memory:
        return replace(report, ended="out_of_memory", error=None)
    if report.ended == "kernel_died" and usage.too_many_processes:
        return replace(report, error=RunError("Process ended", "it had started too many processes", ""))
    return report


class _Watch:
    """Reads what the untrusted half says in a thread, so that it is never kept waiting, and passes it on from here.

    ``seconds`` is how long it has run since the kernel was ready.
    """

    def __init__(self, program: Program, on_progress: Callable[[Progress], None]) -> None:
        self.process = program.process
        self.on_progress = on_progress
        self.ready = False
        self.last: Progress | None = None
        self.unknown: deque[str] = deque(maxlen=20)
        self.queue: deque[Progress] = deque(maxlen=100)
        self.started = time.monotonic()
        self.seconds = 0.0
        self.thread = threading.Thread(target=self._read, args=(output_of(program),), daemon=True)
        self.thread.start()

    def wait(self, limit: float) -> bool:
        """Pass progress on until the process ends; True if it had to be given up ``limit`` seconds after its start."""
        ready_at: float | None = None
        while self.process.poll() is None:
            self._pass_on()
            now = time.monotonic()
            if self.ready and ready_at is None:
                ready_at = now
            self.seconds = now - (ready_at or now)
            if self.seconds > limit or (ready_at is None and now - self.started > START_LIMIT):
                return True
            self.thread.join(_POLL)
            if not self.thread.is_alive():
                time.sleep(_MOMENT)
        return False

    def finish(self) -> None:
        """Pass on what is left; the process has ended."""
        self.thread.join(timeout=1.0)
        self._pass_on()

    @property
    def said(self) -> str:
        """The last that the program has said, in parentheses."""
        return f" ({values.one_line(self.unknown[-1], 200)})" if self.unknown else ""

    def trouble(self) -> TroubleError:
        """That the program failed, as far as it has said why."""
        problem = f"What runs the notebook failed{self.said}, which is not the notebook's fault."
        return TroubleError(problem, "Run the same command again. If it fails again, report what it says.")

    def launch_error(self) -> LaunchError:
        """Why nothing was run, as far as the program has said."""
        fix = f"Check that ipykernel and nbclient work in {sys.prefix}."
        return LaunchError(f"The notebook's kernel did not start{self.said}.", fix, "\n".join(self.unknown))

    def _pass_on(self) -> None:
        while self.queue:
            self.on_progress(self.queue.popleft())

    def _read(self, stream: IO[bytes]) -> None:
        rest = b""
        with stream:
            while chunk := os.read(stream.fileno(), 65536):
                *lines, rest = (rest + chunk).split(b"\n")
                rest = rest[-_MAX_LINE:]
                for line in lines:
                    self._line(line[:_MAX_LINE])

    def _line(self, line: bytes) -> None:
        progress = self._progress(line)
        if progress is None:
            self.unknown.append(line.decode("utf-8", "replace"))
            return
        self.ready = True
        self.last = progress
        self.queue.append(progress)

    def _progress(self, line: bytes) -> Progress | None:
        try:
            fields = values.parse_object(line)
        except values.Malformed:
            return None
        cell, of, text = fields.get("cell"), fields.get("of"), fields.get("text")
        if type(of) is not int or not 0 <= of < 100_000 or type(text) is not str:
            return None
        if cell is not None and (type(cell) is not int or not 1 <= cell <= of):
            return None
        return Progress(cell, of, values.one_line(text, 200), time.monotonic() - self.started)
