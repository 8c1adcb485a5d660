"""A pytest plugin for long proofs: a test that has passed with this very code is not run again, so an interrupted run goes on.

A line for each test that passed stands in ``.grade/campaign``, in a file for each state of the code.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
CODE = ("graders", "tests", "reference_solutions", "assignments", "constraints.txt", "pyproject.toml")


def _files() -> Iterator[Path]:
    for name in CODE:
        place = CHECKOUT / name
        yield from sorted(place.rglob("*.*")) if place.is_dir() else [place]


def _record() -> Path:
    """Where it is kept what has passed: a file named after the code, and after how many examples are tried."""
    digest = hashlib.sha256(os.environ.get("FUZZ_EXAMPLES", "").encode())
    for path in _files():
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(CHECKOUT)}\0".encode() + path.read_bytes())
    return CHECKOUT / ".grade" / "campaign" / f"{digest.hexdigest()[:16]}.txt"


class _Campaign:
    def __init__(self, record: Path) -> None:
        self.record = record
        self.passed = set(record.read_text().splitlines()) if record.is_file() else set()
        self.failed: set[str] = set()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        done = [item for item in items if item.nodeid in self.passed]
        if done:
            config.hook.pytest_deselected(items=done)
            items[:] = [item for item in items if item.nodeid not in self.passed]

    def pytest_report_header(self) -> str:
        return f"campaign: {len(self.passed)} tests have passed already, see {self.record}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.failed.add(report.nodeid)
        elif report.when == "teardown" and report.nodeid not in self.failed:
            self.record.parent.mkdir(parents=True, exist_ok=True)
            with self.record.open("a") as file:
                file.write(f"{report.nodeid}\n")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.passed:
            session.exitstatus = pytest.ExitCode.OK


def pytest_configure(config: pytest.Config) -> None:
    """Take part."""
    config.pluginmanager.register(_Campaign(_record()))
