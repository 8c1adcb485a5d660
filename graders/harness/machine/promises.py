"""What an isolation promises, and whether it holds on this machine: each promise is put to the test by breaking it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # publishes no types

from graders.harness import PACKAGE, lessons
from graders.harness.data.scratch import Scratch
from graders.harness.data.values import one_line
from graders.harness.errors import MachineError
from graders.harness.finding import Finding
from graders.harness.run.limits import Limits
from graders.harness.run.sandbox import WRITABLE, Isolation, Program, output_of

_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""Exit statuses of a program, or of the sandbox around it, that was killed for what it tried."""
PATIENCE = 30.0
"""Seconds that the attempts of one program may take; the slowest takes three."""
LIMITS = Limits(memory=256 << 20, gpu_memory=1 << 30, processes=100, disk=32 << 20, shared_memory=32 << 20)
"""Small, so that trying takes no time."""


@dataclass(frozen=True)
class Promise:
    """A promise, in words; ``attempts`` of :mod:`graders.harness.machine.probe` would break it.

    ``fix`` says what helps where it does not hold. Without an ``essential`` one an isolation is none. ``gentle`` attempts leave
    nothing that would get in the way of others, and so are made in one program.
    """

    name: str
    words: str
    attempts: tuple[str, ...]
    essential: bool = True
    fix: str = "Install bubblewrap: sudo apt-get install bubblewrap"
    gentle: bool = True


_GROUPS = "Allow control groups: run it as root, or through: systemd-run --user --scope grade ..."
PROMISES = (
    Promise("network", "no network, neither of this machine nor beyond", ("network",)),
    Promise("sockets", "no way past the network's namespace", ("other_sockets",)),
    Promise("files", "no file but the libraries and what the exercise names", ("files",)),
    Promise("writing", "nothing is written but to folders of the run's own", ("writing",)),
    Promise("processes", "no other process is seen", ("processes",)),
    Promise("environment", "no secret of the environment is seen", ("environment",)),
    Promise("tracing", "no process of the sandbox's own is traced", ("tracing",)),
    Promise("quotas", "no quota is used up that others share", ("queues", "quotas")),
    Promise("leases", "nobody's files are locked", ("leases",)),
    Promise("packages", "no package but those of notebooks is seen", ("packages",)),
    Promise("privileges", "no privileges, and no way to gain any", ("privileges",)),
    Promise("disk", "files are limited", ("disk", "temporary", "shared_memory"), gentle=False),
    Promise("memory", "memory is limited", ("memory",), gentle=False),
    Promise(
        "memory files", "memory that is held by files is limited", ("files_in_memory",), False, _GROUPS, gentle=False
    ),
    Promise("fork", "the number of processes is limited", ("fork",), True, _GROUPS, gentle=False),
    Promise("survivors", "nothing goes on when the run has ended", ("survivor",), gentle=False),
)
ON_A_GPU = (
    Promise(
        "gpu", "CUDA works inside", ("gpu",), False, "Check that nvidia-smi works, and LD_LIBRARY_PATH.", gentle=False
    ),
    Promise(
        "gpu memory",
        "memory of the GPU is limited",
        ("gpu_memory",),
        False,
        "Grade outside of a container.",
        gentle=False,
    ),
)


class PromiseError(MachineError):
    """An isolation does not hold what it has to."""


def examine(isolation: Isolation, environment: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Put every promise to the test, whatever way a program is started, and CUDA's where there is a GPU.

    ``environment`` is what programs are started with.
    """
    promises = (*PROMISES, *ON_A_GPU) if os.path.exists("/dev/nvidiactl") else PROMISES
    environment = environment or {}
    isolation.warm_up(environment)
    with _outside() as facts:
        # One way after the other: what the last one begins with takes seconds
        outcomes = [_outcomes(way, promises, facts, environment) for way in isolation.ways]
        for promise in promises:
            broken = next((found[promise.name] for found in outcomes if found[promise.name] is not None), None)
            nap = f"sleep\0{facts['nap']}"
            if promise.name == "survivors" and any(nap == "\0".join(p.cmdline()) for p in _living()):
                broken = "a process that it left was still there"
            yield Finding(promise.name, promise.words, broken, promise.fix, promise.essential)


def insist(isolation: Isolation, environment: Mapping[str, str] | None = None) -> None:
    """:class:`PromiseError` unless every essential promise holds."""
    for finding in examine(isolation, environment):
        if finding.fatal:
            raise PromiseError(
                f"Isolation {isolation.name!r} does not hold here: {finding.words}: {finding.broken}.", finding.fix
            )


def _living() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            process.cmdline()
        except psutil.Error:
            continue
        yield process


def _outcomes(
    isolation: Isolation, promises: Sequence[Promise], facts: dict[str, Any], environment: Mapping[str, str]
) -> dict[str, str | None]:
    """By each promise's name what was possible, None if nothing was.

    Gentle attempts are made in one program; if that comes to nothing, each promise's by themselves.
    """
    gentle = [name for promise in promises if promise.gentle for name in promise.attempts]
    together = _made(isolation, gentle, facts, environment)
    outcomes = {}
    for promise in promises:
        known = promise.gentle and isinstance(together, dict)
        made = together if known else _made(isolation, promise.attempts, facts, environment)
        if isinstance(made, dict):
            made = next((made[name] for name in promise.attempts if made[name] is not None), None)
        outcomes[promise.name] = made
    return outcomes


def _made(
    isolation: Isolation, attempts: Sequence[str], facts: dict[str, Any], environment: Mapping[str, str]
) -> dict[str, str | None] | str | None:
    """What each attempt made possible; or, if they came to no end, what is wrong: None if they were killed for it."""
    with Scratch("probe") as place:
        folder = Path(place)
        for name in WRITABLE:
            (folder / name).mkdir()
        (folder / "request.json").write_text(json.dumps(facts))
        argv = [sys.executable, "-m", "graders.harness.machine.probe", *attempts]
        program = isolation.start(argv, folder, LIMITS, environment)
        try:
            ended, said = _output(program)
        finally:
            program.end()
    if not ended:
        return "the attempt came to no end"
    if program.process.returncode in _KILLED:
        return None
    try:
        tried = json.loads(said.splitlines()[-1])
        return {name: None if tried[name] is None else str(tried[name]) for name in attempts}
    except (ValueError, IndexError, KeyError, TypeError):
        return f"the attempt failed ({one_line(said[-300:], 200)})"


def _output(program: Program) -> tuple[bool, str]:
    """Whether a program has ended within :data:`PATIENCE`, and what it has printed."""
    said: list[bytes] = []

    def read() -> None:
        with output_of(program) as printed:
            said.append(printed.read())

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    end = time.monotonic() + PATIENCE
    while program.process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    if program.process.poll() is None:
        return False, ""
    reading.join(PATIENCE)
    return True, b"".join(said).decode("utf-8", "replace")


@contextmanager
def _outside() -> Iterator[dict[str, Any]]:
    """Things on this machine that must not be reached, and what the attempts have to know of them."""
    secret = secrets.token_hex(16)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0grade-probe-{secret}")
        abstract.listen()
        file = Path(stack.enter_context(Scratch("secret")), "secret")
        file.write_text(secret)
        os.environ["GRADE_PROBE_SECRET"] = secret
        stack.callback(os.environ.pop, "GRADE_PROBE_SECRET")
        bystander = stack.enter_context(_bystander(secret))
        yield {
            "port": listener.getsockname()[1],
            "abstract": f"\0grade-probe-{secret}",
            "secret": secret,
            "secret_files": [str(file), *_rubrics(), str(PACKAGE / "harness" / "result.py")],
            "folders": [str(file.parent), sys.prefix, str(PACKAGE)],
            "packages": [
                "pytest",
                "graders.harness.rubric",
                *(one.rubric for one in lessons.meant().outlines.values()),
            ],
            "command": bystander,
            "nap": f"600.{time.time_ns()}",
            "memory": LIMITS.memory,
            "gpu_memory": LIMITS.gpu_memory,
            "processes": LIMITS.processes,
            "disk": LIMITS.disk,
            "shared_memory": LIMITS.shared_memory,
        }


def _rubrics() -> list[str]:
    """The files of the lesson's rubrics."""
    specs = (find_spec(one.rubric) for one in lessons.meant().outlines.values())
    return [spec.origin for spec in specs if spec and spec.origin]


@contextmanager
def _bystander(secret: str) -> Iterator[str]:
    """A process of the host with the secret in its environment; its command line."""
    nap = f"601.{time.time_ns()}"
    with subprocess.Popen(["sleep", nap], env={**os.environ, "GRADE_PROBE_SECRET": secret}) as process:
        try:
            yield nap
        finally:
            process.kill()
