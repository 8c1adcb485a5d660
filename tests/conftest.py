"""Tests run side by side, and what each of them computes must not fight the others for the cores."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from graders.harness.imports import importing

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported, and for the programs that tests start
    os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
LONGEST = (
    "submissions/test_zoo.py", "hostile/test_contained.py", "harness/course/test_batch.py", "harness/run/test_warm.py",
    "lora/fixtures/test_held_back.py", "harness/live/test_magic.py", "harness/test_undecided.py", "lora/test_hub.py",
    "lora/measures/test_style.py", "harness/machine/test_promises.py", "harness/cli/test_own.py", "harness/course/test_damage.py",
    "harness/machine/test_packages.py", "harness/test_grade.py", "harness/machine/test_true_size.py", "harness/run/test_run.py",
)  # fmt: skip
"""The modules that take longest come first, so that no core waits for the last of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them first; the rest stays in order."""
    places = {HERE / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the tests, and the libraries that they need."""
    with importing():
        return (yield)


def pytest_report_header() -> list[str]:
    """Name those that are gone."""
    return [f"conftest.py: there is no {name} any more" for name in LONGEST if not (HERE / name).is_file()]
