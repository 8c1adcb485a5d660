"""The process that checks what a live kernel holds: ``python -m graders.harness.live.checker``, started before it is needed.

It imports the libraries, which takes seconds, and waits. For each check it forks a process that checks once and ends, and so
never keeps a GPU's memory from the notebook; where it is not safe to fork, it does that itself. Both ends talk in lines of
JSON: the name of an exercise, what it hands in, the folder of the evidence, the title of each check as it begins, and at the
end that there is a result, or why there is none.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graders.harness import lessons
from graders.harness.data.files import named_by
from graders.harness.errors import ExplainedError
from graders.harness.imports import importing
from graders.harness.live.snapshot import Wanted
from graders.harness.result import Result, load


class CheckerError(ExplainedError):
    """The process that checks has ended before its time."""


@dataclass(frozen=True)
class Live:
    """The result of a live grading; ``later`` are the titles of the checks that only a run afresh can make."""

    title: str
    result: Result
    later: tuple[str, ...]


_FORKS = sys.platform == "linux"


class Checker:
    """The end of the conversation in the notebook's kernel."""

    def __init__(self) -> None:
        self.waiting = True
        """Whether it can be asked, or asked again."""
        self._process = subprocess.Popen(
            # Not what lies in the notebook's folder: -P. Not the kernel's interrupts: a session of its own
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def ask(self, exercise: str) -> Wanted:
        """What there is to collect for an exercise."""
        self.waiting = False
        said = self._exchange({"exercise": exercise})
        return Wanted(said["hand_in"], tuple(said["parameters"]), frozenset(said["paths"]))

    def check(self, folder: Path, only: Collection[str], on_check: Callable[[str], None]) -> Live:
        """Check the evidence in ``folder``; ``on_check`` gets the title of each check."""
        said = self._exchange({"folder": str(folder.absolute()), "only": list(only)})
        while "checking" in said:
            on_check(said["checking"])
            said = self._hear()
        self.waiting = _FORKS
        return Live(said["title"], load(folder / "result.json"), tuple(said["later"]))

    def end(self) -> None:
        """End the process and what it has forked, whatever they do."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        said: dict[str, Any] = json.loads(line) if line else _ended(self._process.wait())
        if "problem" in said:
            raise CheckerError(said["problem"], said["fix"])
        return said


def _ended(status: int) -> dict[str, str]:
    if status < 0:
        fix = "Most often that is for want of memory: delete what you are done with, and try again."
        return {"problem": f"The process that checks was ended by signal {-status}.", "fix": fix}
    problem = f"The process that checks ended with status {status}."
    return {"problem": problem, "fix": "See what `grade doctor` says in a terminal."}


def main() -> None:
    """The other end: check whenever it is asked to, or once."""
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no part of the conversation

    def say(**message: Any) -> None:
        said.write(json.dumps(message) + "\n")
        said.flush()

    try:
        _import()
        while line := sys.stdin.readline():  # until the kernel has ended
            if not _FORKS or not (child := os.fork()):
                break
            _, status = os.waitpid(child, 0)
            if status:  # it has said nothing more, and neither does this process
                os._exit(1) if os.WIFEXITED(status) else os.kill(os.getpid(), os.WTERMSIG(status))
        if line:
            _serve(line, say)
    except ExplainedError as error:
        say(problem=error.problem, fix=error.fix)
    except Exception as error:
        say(
            problem=f"The graders failed ({type(error).__name__}: {error}).",
            fix="Run `grade` in a terminal with GRADE_DEBUG=1 and report what it says.",
        )


def _import() -> None:
    """Import all that checks need; no child goes through all of that again."""
    with importing():
        lessons.meant().import_libraries()
        for name in ("diffusers", "transformers"):
            if library := sys.modules.get(name):
                library.logging.set_verbosity_error()
        for name in lessons.meant().names:
            lessons.meant().rubric(name)
        gc.collect()


def _serve(line: str, say: Callable[..., None]) -> None:
    """Check once."""
    from graders.harness import grade as grading
    from graders.harness.checking import titles
    from graders.harness.hand_in import HandIn
    from graders.harness.run.evidence import Evidence

    name = json.loads(line)["exercise"]
    module = lessons.meant().rubric(name)
    parameters = module.EXERCISE.parameters
    paths = [parameter for parameter, value in parameters.items() if list(named_by(value))]
    say(hand_in=dict(module.EXERCISE.hand_in), parameters=list(parameters), paths=paths)
    if not (line := sys.stdin.readline()):
        return
    asked = json.loads(line)
    grading.ensure_checks(name, asked["only"])
    folder = Path(asked["folder"])
    evidence = Evidence(folder)
    watcher = grading.Watcher(on_check=lambda title: say(checking=title))
    result, faults = grading.check(name, HandIn(evidence, evidence.parameters), watcher, asked["only"])
    grading.keep(result, faults, folder)
    say(title=module.EXERCISE.title, later=list(titles(module, "again").values()))


if __name__ == "__main__":
    main()
