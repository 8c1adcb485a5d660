"""pytest as the check engine: runs a grader module and turns what its tests say into a result."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil  # type: ignore[import-untyped]  # publishes no types
import pytest

from graders.harness.errors import HandInError
from graders.harness.result import CheckResult, Outcome
from graders.harness.rubric import (
    CheckFailed,
    LeftToPerson,
    NotReached,
    Undecided,
    Unfinished,
    Verdict,
    as_failure,
    is_fault,
)
from graders.harness.run.memory_watch import free_memory
from graders.harness.run.records import NotRead

SLOWEST_CHECK = 15.0
"""Seconds that the slowest check of the reference solutions takes on two free cores; `grade reference` measures it again."""
CHECK_SECONDS = 60 * SLOWEST_CHECK
"""A check that takes longer hangs. Where the machine had seven times more to do than it has cores, the slowest took twenty
times as long; three times that is left for machines that are slower themselves."""

_UNUSED = (
    "logging", "debugging", "doctest", "junitxml", "legacypath", "pastebin", "setuponly", "setupplan", "stepwise", "subtests",
    "unittest",
)  # fmt: skip
"""Plugins of pytest's own that no rubric has a use for. That for logs alone takes a tenth of the time."""


class _Plugin:
    """Collects the outcome of each check while pytest runs a grader module."""

    def __init__(
        self, module: Path, hand_in: Any, again: Any, only: Collection[str], on_check: Callable[[str], None]
    ) -> None:
        self._module = module.absolute()
        self._hand_in, self._again, self._only, self._on_check = hand_in, again, only, on_check
        self._verdicts: dict[str, Verdict] = {}
        self.checks: list[CheckResult] = []
        self.faults: list[str] = []
        self.seconds: dict[str, float] = {}

    @pytest.fixture(scope="session")
    def hand_in(self) -> Any:
        """What the run of the notebook left behind, and what it is graded against."""
        return self._hand_in

    @pytest.fixture(scope="session")
    def again(self) -> Any:
        """The checks of a second run with other parameters."""
        return self._again

    @pytest.fixture
    def verdict(self, request: pytest.FixtureRequest) -> Verdict:
        """Where the running check says what it sees."""
        return self._verdicts[_id(request.node)]

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", "points(n): what the check is worth")
        config.addinivalue_line("markers", "needs(*checks): the checks without which this one makes no sense")
        config.addinivalue_line("markers", "sees(*checks): others whose outcomes it takes into account")
        config.addinivalue_line("markers", "practice(why): without what instructors have it earns and costs no points")

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool:
        """Look at nothing else in the folder."""
        return collection_path not in (self._module, self._module.parent)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._again is None:  # there is no second run, or this is it
            items[:] = [item for item in items if "again" not in getattr(item, "fixturenames", ())]
        if self._only:
            wanted = _with_needs({_id(item): item for item in items}, self._only)
            items[:] = [item for item in items if _id(item) in wanted]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        needs = tuple(name for mark in item.iter_markers("needs") for name in mark.args)
        verdict = self._verdicts[_id(item)] = Verdict(self._verdicts, needs)
        if getattr(self._hand_in, "for_practice", False):
            for mark in item.iter_markers("practice"):
                verdict.rehearsal = f"{mark.args[0]} Your instructor's run decides this, and gives the points."
        self._on_check(_doc(item)[0])
        if missing := verdict.missing():
            raise NotReached(missing)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        try:
            report = yield
        except Exception:  # pytest's own words fail it where a check was timed out in the middle of a line; ours do not
            report = pytest.TestReport(item.nodeid, item.location, {}, "failed", None, "call")
        self.seconds[_id(item)] = self.seconds.get(_id(item), 0.0) + call.duration
        failed_early = call.when == "setup" and call.excinfo is not None
        if call.when == "call" or failed_early:
            self._conclude(item, call.excinfo.value if call.excinfo else None)  # type: ignore[arg-type]
        return report

    def _conclude(self, item: pytest.Item, error: Exception | None) -> None:
        verdict = self._verdicts[_id(item)]
        (mark,) = item.iter_markers("points")
        worth = 0.0 if verdict.rehearsal else float(mark.args[0])
        title, why = _doc(item)
        parts = verdict.parts = {name: self._known(item, e) for name, e in _parts(verdict, error).items()}
        ended = {name: e for name, e in parts.items() if e is not None}
        left = {name: e for name, e in ended.items() if isinstance(e, LeftToPerson)}
        waiting = {name: e for name, e in ended.items() if isinstance(e, Undecided)}
        faults = {name: e for name, e in ended.items() if is_fault(e)}
        unread = {name: e for name, e in ended.items() if isinstance(e, NotRead)}
        blocked = {name: e for name, e in ended.items() if isinstance(e, NotReached)}
        failures = {
            name: as_failure(e)
            for name, e in ended.items()
            if isinstance(e, (CheckFailed, HandInError)) and name not in unread
        }
        self.faults += [f"{item.name} {name}: {''.join(traceback.format_exception(e))}" for name, e in faults.items()]

        said = [(name, failure.found) for name, failure in failures.items()]
        said += [(name, f"Not checked. {e.problem}") for name, e in unread.items()]
        said += [(name, f"Not checked, because {self._why(item, e)}") for name, e in blocked.items()]
        said += [(name, f"Not decided yet, because “{e.title}” is not.") for name, e in waiting.items()]
        said += [(name, f"The grader itself failed here ({_broken(e)}).") for name, e in faults.items()]
        found = _told(said) or verdict.seen
        found += [
            because for because in dict.fromkeys([e.because for e in left.values()] + [verdict.rehearsal]) if because
        ]
        texts: dict[str, Any] = {"found": "\n".join(found), "measured": verdict.measured}
        if failures:
            first = next(iter(failures.values()))
            texts |= {"expected": first.expected, "hint": first.hint}
            texts["misconception"] = next((f.misconception for f in failures.values() if f.misconception), None)
        elif unread:
            texts["hint"] = next(iter(unread.values())).fix
        if faults or any(e.broken for e in waiting.values()):
            outcome = Outcome.GRADER_FAULT
        elif failures:
            outcome = Outcome.FAILED
        elif blocked or unread:
            outcome = Outcome.NOT_REACHED
        else:
            outcome = Outcome.AWAITING_REVIEW if left or waiting or verdict.rehearsal else Outcome.PASSED
        undecided = (len(left) + len(waiting) + len(faults)) / len(parts)
        free = [e for e in blocked.values() if not e.costs]
        earned = 1 - (len(ended) - len(free)) / len(parts)
        if verdict.shares and not left and not faults:
            earned, undecided = verdict.shares
        open_ = round(worth * undecided, 2)
        decided = round(worth - open_, 2)
        score = min(round(worth * earned, 2), decided)
        verdict.concluded = CheckResult(_id(item), title, outcome, score, decided, why=why, undecided=open_, **texts)
        if not self._only or _id(item) in self._only:
            self.checks.append(verdict.concluded)

    def _known(self, item: pytest.Item, error: Exception | None) -> Exception | None:
        """How a part ended, but for one that could not be decided because of a check which is undecided itself."""
        if isinstance(error, NotReached) and error.because in self._verdicts:
            because = self._verdicts[error.because].result
            if because.undecided:
                return Undecided(because.title, broken=because.outcome is Outcome.GRADER_FAULT)
        return error

    def _why(self, item: pytest.Item, error: NotReached) -> str:
        check = error.because
        failed = check not in self._verdicts or self._verdicts[check].result.outcome is not Outcome.NOT_REACHED
        why = f"“{self._title_of(item, check)}” {'failed' if failed else 'was not checked'}"
        return f"{why}." if error.costs else f"{why}, and this follows from it. It costs no points a second time."

    @staticmethod
    def _title_of(item: pytest.Item, check: str) -> str:
        module: Any = item.getparent(pytest.Module)
        return _title_and_why(getattr(module.obj, f"test_{check}"))[0]


def _parts(verdict: Verdict, error: Exception | None) -> dict[str, Exception | None]:
    """How each part of a check ended: a check without parts is one part without a name.

    What ends a check early ends all of it; but a fault leaves those parts as they are that were judged before.
    """
    if error is None:
        return dict(verdict.parts) or {"": None}
    unfinished = [name for name, e in verdict.parts.items() if isinstance(e, Unfinished)]
    if unfinished and is_fault(error):
        return {**verdict.parts, **dict.fromkeys(unfinished, error)}
    return {"": error}


def _told(said: Sequence[tuple[str, str]]) -> list[str]:
    """What there is to say of the parts of a check, each sentence once: "rank 4 and 16: ..."."""
    parts: dict[str, list[str]] = {}
    for name, text in said:
        parts.setdefault(text, []).append(name)
    return [f"{_together(names)}: {text}" if names[0] else text for text, names in parts.items()]


def _together(names: Sequence[str]) -> str:
    """The names of several parts, with their kind named once."""
    first, *others = names
    *between, last = [first, *(name.partition(" ")[2] for name in others)]
    return f"{', '.join(between)} and {last}" if between else last


def _broken(error: BaseException) -> str:
    """What broke, in few words; a check that ran out of time is ended by pytest."""
    return "it took too long" if isinstance(error, pytest.fail.Exception) else type(error).__name__


def _with_needs(items: Mapping[str, pytest.Item], only: Collection[str]) -> set[str]:
    """The checks ``only``, and all that has to be checked before them."""
    wanted, more = set[str](), set(only)
    while more:
        name = more.pop()
        wanted.add(name)
        if "again" in getattr(items[name], "fixturenames", ()):  # it compares all of them
            return set(items)
        marks = [*items[name].iter_markers("needs"), *items[name].iter_markers("sees")]
        more |= {other for mark in marks for other in mark.args if other in items} - wanted
    return wanted


def _id(item: pytest.Item) -> str:
    return item.name.removeprefix("test_")


def _doc(item: pytest.Item) -> tuple[str, str]:
    return _title_and_why(item.obj)  # type: ignore[attr-defined]


def _title_and_why(function: Any) -> tuple[str, str]:
    title, _, why = (inspect.getdoc(function) or "").partition("\n")
    return title.strip(), " ".join(why.split())


@dataclass(frozen=True)
class Checked:
    """The checks of one hand-in in the order of the rubric, the log of grader faults, and how long each check took."""

    checks: tuple[CheckResult, ...]
    faults: tuple[str, ...]
    seconds: Mapping[str, float]


def points(module: ModuleType) -> dict[str, float]:
    """The points that can be had for each check of a grader module, as its markers say."""
    return {
        name: float(sum(mark.args[0] for mark in getattr(check, "pytestmark", ()) if mark.name == "points"))
        for name, check in _checks(module).items()
    }


def max_score(module: ModuleType) -> float:
    """The points that can be had in a grader module."""
    return sum(points(module).values())


def titles(module: ModuleType, fixture: str = "") -> dict[str, str]:
    """The titles of the checks of a grader module by their ids: of all, or of those that ask for a fixture."""
    return {
        name: _title_and_why(check)[0]
        for name, check in _checks(module).items()
        if not fixture or fixture in inspect.signature(check).parameters
    }


def _checks(module: ModuleType) -> dict[str, Callable[..., Any]]:
    return {name.removeprefix("test_"): check for name, check in vars(module).items() if name.startswith("test_")}


@dataclass(frozen=True)
class CheckLimits:
    """What checking may take: seconds for each check, and bytes of memory beyond what this process holds already.

    Without ``memory`` that is what the machine has free.
    """

    seconds: float = CHECK_SECONDS
    memory: int | None = None


def run_checks(
    module: Path,
    hand_in: Any,
    on_check: Callable[[str], None] = lambda title: None,
    *,
    again: Any = None,
    only: Collection[str] = (),
    limits: CheckLimits | None = None,
    plugins: Sequence[object] = (),
) -> Checked:
    """Run the checks of a grader module on a hand-in, or ``only`` some of them and what those need.

    ``again`` is what checks see of a second run; those that ask for it are left out where there is none. ``plugins`` are
    further plugins of pytest's.

    Nothing that lies in the current folder takes part: no conftest, no configuration, no installed plugin, no
    environment variable of pytest. A check that goes beyond its limits is a fault of the grader. Raises RuntimeError for a
    module whose checks cannot be run.
    """
    limits = limits or CheckLimits()
    plugin = _Plugin(module, hand_in, again, only, on_check)
    arguments = [str(module), "-c", os.devnull, f"--rootdir={module.parent}", "--noconftest", "--capture=no"]
    arguments += ["--import-mode=importlib", "--disable-plugin-autoload", "-p", "pytest_timeout"]
    # The check alone is timed: an alarm that rings while pytest reports would end pytest
    arguments += [f"--timeout={limits.seconds}", "-o", "timeout_func_only=true", "--tb=no"]
    arguments += ["-p", "no:cacheprovider", "-p", "no:faulthandler", "-p", "no:warnings"]
    # Who would go through everything in memory five times to find what nobody waits for
    arguments += ["-p", "no:unraisableexception", "-p", "no:threadexception"]
    for name in _UNUSED:
        arguments += ["-p", f"no:{name}"]
    hidden = {name: os.environ.pop(name) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS") if name in os.environ}
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), _bounded_memory(limits.memory):
            status = pytest.main(arguments, plugins=[plugin, *plugins])
    finally:
        os.environ |= hidden
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"the checks in {module.name} could not be run:\n{output.getvalue()}")
    return Checked(tuple(plugin.checks), tuple(plugin.faults), plugin.seconds)


@contextlib.contextmanager
def _bounded_memory(more: int | None) -> Iterator[None]:
    """Within it, memory that runs out is an exception, which costs one check, and not the end of the process.

    On Linux only, and not where there is a GPU: its driver maps more memory than it takes.
    """
    if sys.platform != "linux" or shutil.which("nvidia-smi"):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = psutil.Process().memory_info().data + (free_memory() if more is None else more)
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([wanted, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
