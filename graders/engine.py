"""pytest as the check engine: runs a grader module and turns what its tests say into a result.

A check is a test function. The first line of its docstring is the title that students see, the rest says why it
matters; ``@pytest.mark.points`` gives what it is worth and ``@pytest.mark.needs`` names the checks without which it
makes no sense. It says what it saw through the ``verdict`` fixture and fails by calling :func:`fail`.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, TypeVar

import pytest

from graders import measured
from graders.errors import HandInError
from graders.result import CheckResult, Outcome

_Key = TypeVar("_Key")

CHECK_SECONDS = 900
"""A check that takes longer than this hangs: the reference solution's slowest takes about 15 s on two free cores, and
300 s on a machine that had seven times more to do than it has cores."""


class CheckFailed(Exception):
    """The hand-in does not satisfy a check."""

    def __init__(self, found: str, *, expected: str, hint: str, misconception: str | None = None) -> None:
        super().__init__(found)
        self.found, self.expected, self.hint, self.misconception = found, expected, hint, misconception


class NotReached(Exception):
    """A check cannot be decided because of what another check found."""

    def __init__(self, because: str) -> None:
        super().__init__(f"not reached, because of the check “{because}”")
        self.because = because


class LeftToPerson(Exception):
    """What was seen is for a person to judge; ``because`` is a sentence for the student, or "" where none is needed."""

    def __init__(self, because: str = "") -> None:
        super().__init__(because)
        self.because = because


def fail(found: str, *, expected: str, hint: str, misconception: str | None = None) -> NoReturn:
    """End a check, or the part of it that is running, as failed."""
    raise CheckFailed(found, expected=expected, hint=hint, misconception=misconception)


@dataclass
class Verdict:
    """What one check has to say. Checks that look at several ranks do so in parts, and each part earns its share."""

    outcomes: dict[str, Verdict]
    needs: tuple[str, ...] = ()
    parts: dict[str, Exception | None] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    measured: dict[str, measured.Table] = field(default_factory=dict)
    ended: Outcome | None = None

    def found(self, text: str) -> None:
        """Say what was seen; of a check that fails, its failures are told instead."""
        self.seen.append(text)

    def measure(self, columns: Mapping[str, Iterable[Any]], part: str = "") -> None:
        """Keep columns of numbers for a figure, of the whole check or of one part, whether it passes or fails."""
        if len(self.measured) < measured.MAX_TABLES:
            self.measured[part] = measured.table(columns)

    def each(self, kind: str, keys: Iterable[_Key]) -> Iterator[tuple[_Key, AbstractContextManager[None]]]:
        """Each key with the part of the check that is about it, named for example "rank 4".

        A failure inside a part ends the part, not the check. Parts that need what failed elsewhere are left out.
        """
        for key in keys:
            name = f"{kind} {key}"
            missing = next((need for need in self.needs if not self.outcomes[need].holds(name)), None)
            if missing is None:
                yield key, self._part(name)
            else:
                self.parts[name] = NotReached(missing)

    @contextlib.contextmanager
    def _part(self, name: str) -> Iterator[None]:
        try:
            yield
            self.parts[name] = None
        except Exception as error:  # also a fault of the grader, which must not keep the others from being judged
            self.parts[name] = error

    def holds(self, part: str | None = None) -> bool:
        """Whether the check, or one part of it, passed, or at least nothing was found against it."""
        if part in self.parts:
            return not _is_verdict(self.parts[part])
        return self.ended in (Outcome.PASSED, Outcome.AWAITING_REVIEW, Outcome.GRADER_FAULT)

    def any_holds(self) -> bool:
        """Whether anything is left for a check that needs this one."""
        return self.holds() or any(not _is_verdict(error) for error in self.parts.values())


def _is_verdict(error: BaseException | None) -> bool:
    """Whether an exception says something against the hand-in."""
    return isinstance(error, (CheckFailed, NotReached, HandInError))


def _as_failure(error: CheckFailed | HandInError) -> CheckFailed:
    """A failed check, also from an error in the hand-in's data that explains itself."""
    return error if isinstance(error, CheckFailed) else CheckFailed(error.problem, expected="", hint=error.fix)


class _Plugin:
    """Collects the outcome of each check while pytest runs a grader module."""

    def __init__(self, hand_in: Any, again: Any, only: Collection[str], on_check: Callable[[str], None]) -> None:
        self._hand_in, self._again, self._only, self._on_check = hand_in, again, only, on_check
        self._verdicts: dict[str, Verdict] = {}
        self.checks: list[CheckResult] = []
        self.faults: list[str] = []

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

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._again is None:  # there is no second run, or this is it
            items[:] = [item for item in items if "again" not in getattr(item, "fixturenames", ())]
        if self._only:
            wanted = _with_needs({_id(item): item for item in items}, self._only)
            items[:] = [item for item in items if _id(item) in wanted]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        needs = tuple(name for mark in item.iter_markers("needs") for name in mark.args)
        self._verdicts[_id(item)] = Verdict(self._verdicts, needs)
        self._on_check(_doc(item)[0])
        for need in needs:
            if not self._verdicts[need].any_holds():
                raise NotReached(need)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
        report = yield
        failed_early = call.when == "setup" and call.excinfo is not None
        if call.when == "call" or failed_early:
            self._conclude(item, call.excinfo.value if call.excinfo else None)  # type: ignore[arg-type]
        return report

    def _conclude(self, item: pytest.Item, error: Exception | None) -> None:
        verdict = self._verdicts[_id(item)]
        (mark,) = item.iter_markers("points")
        points = float(mark.args[0])
        title, why = _doc(item)
        # A check without parts is one part without a name; what ends a check early ends all of it.
        parts = dict(verdict.parts) if verdict.parts and error is None else {"": error}
        ended = {name: e for name, e in parts.items() if e is not None}
        left = {name: e for name, e in ended.items() if isinstance(e, LeftToPerson)}
        faults = {name: e for name, e in ended.items() if not _is_verdict(e) and name not in left}
        blocked = {name: e for name, e in ended.items() if isinstance(e, NotReached)}
        failures = {name: _as_failure(e) for name, e in ended.items() if isinstance(e, (CheckFailed, HandInError))}
        self.faults += [f"{item.name} {name}: {''.join(traceback.format_exception(e))}" for name, e in faults.items()]

        said = [(name, failure.found) for name, failure in failures.items()]
        said += [
            (name, f"Not reached, because of the check “{self._title_of(item, e.because)}”.")
            for name, e in blocked.items()
        ]
        said += [
            (name, f"The grader itself failed here ({type(e).__name__}); this costs no points.")
            for name, e in faults.items()
        ]
        found = [f"{name}: {text}" if name else text for name, text in said] or verdict.seen
        found += [because for because in dict.fromkeys(e.because for e in left.values()) if because]
        result: dict[str, Any] = {"found": "\n".join(found), "measured": verdict.measured}
        if failures:
            first = next(iter(failures.values()))
            result |= {"expected": first.expected, "hint": first.hint}
            result["misconception"] = next((f.misconception for f in failures.values() if f.misconception), None)
        if faults:
            outcome = Outcome.GRADER_FAULT
        elif failures:
            outcome = Outcome.FAILED
        elif blocked:
            outcome = Outcome.NOT_REACHED
        else:
            outcome = Outcome.AWAITING_REVIEW if left else Outcome.PASSED
        verdict.ended = outcome
        judged = len(parts) - len(left)
        score = round(points * (judged - len(failures) - len(blocked)) / len(parts), 2)
        points = round(points * judged / len(parts), 2)  # what a person judges is not in the program's score
        if not self._only or _id(item) in self._only:
            self.checks.append(CheckResult(_id(item), title, outcome, score, points, why=why, **result))

    @staticmethod
    def _title_of(item: pytest.Item, check: str) -> str:
        module: Any = item.getparent(pytest.Module)
        return _title_and_why(getattr(module.obj, f"test_{check}"))[0]


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
    """The checks of one hand-in in the order of the rubric, and the log of grader faults."""

    checks: tuple[CheckResult, ...]
    faults: tuple[str, ...]


def max_score(module: ModuleType) -> float:
    """The points that can be had in a grader module, as its markers say."""
    marks = [mark for check in _checks(module).values() for mark in getattr(check, "pytestmark", ())]
    return float(sum(mark.args[0] for mark in marks if mark.name == "points"))


def titles(module: ModuleType, fixture: str = "") -> dict[str, str]:
    """The titles of the checks of a grader module by their ids: of all, or of those that ask for a fixture."""
    return {
        name: _title_and_why(check)[0]
        for name, check in _checks(module).items()
        if not fixture or fixture in inspect.signature(check).parameters
    }


def _checks(module: ModuleType) -> dict[str, Callable[..., Any]]:
    return {name.removeprefix("test_"): check for name, check in vars(module).items() if name.startswith("test_")}


def run_checks(
    module: Path,
    hand_in: Any,
    on_check: Callable[[str], None] = lambda title: None,
    *,
    again: Any = None,
    only: Collection[str] = (),
) -> Checked:
    """Run the checks of a grader module on a hand-in, or ``only`` some of them and what those need.

    ``again`` is what checks see of a second run; those that ask for it are left out where there is none.

    Nothing that lies in the current folder takes part: no conftest, no configuration, no installed plugin, no
    environment variable of pytest.
    """
    plugin = _Plugin(hand_in, again, only, on_check)
    arguments = [str(module), "-c", os.devnull, f"--rootdir={module.parent}", "--noconftest", "--capture=no"]
    arguments += ["--import-mode=importlib", "--disable-plugin-autoload", "-p", "pytest_timeout"]
    arguments += [f"--timeout={CHECK_SECONDS}", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-p", "no:warnings"]
    hidden = {name: os.environ.pop(name) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS") if name in os.environ}
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            status = pytest.main(arguments, plugins=[plugin])
    finally:
        os.environ |= hidden
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"the checks in {module.name} could not be run:\n{output.getvalue()}")
    return Checked(tuple(plugin.checks), tuple(plugin.faults))
