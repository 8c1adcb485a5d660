"""Tests run side by side, and what each of them computes must not fight the others for the cores."""

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from graders.harness.imports import importing

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported, and for the programs that tests start
    os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
LONGEST = (
    "submissions/test_zoo.py", "hostile/test_contained.py", "harness/course/test_batch.py", "harness/run/test_warm.py",
    "lora/fixtures/test_held_back.py", "harness/live/test_magic.py", "harness/test_undecided.py", "lora/test_hub.py",
    "lora/measures/test_style.py", "second_lesson/test_second_lesson.py",
    "harness/machine/test_promises.py", "harness/cli/test_own.py", "harness/course/test_damage.py",
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


@pytest.fixture(scope="session", autouse=True)
def _results_keep_to_their_schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every result that is written here is held against the schema at once, and those that other processes wrote at the end."""
    from graders.harness.result import Result
    from tests.documents import ensure_documented, results_below

    to_json = Result.to_json

    def checked(result: Result) -> str:
        text = to_json(result)
        ensure_documented(json.loads(text))
        return text

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Result, "to_json", checked)
        yield
    for path, document in results_below(tmp_path_factory.getbasetemp()):
        try:
            ensure_documented(document)
        except AssertionError as error:
            raise AssertionError(f"{path}: {error}") from None


def pytest_report_header() -> list[str]:
    """Name those that are gone."""
    return [f"conftest.py: there is no {name} any more" for name in LONGEST if not (HERE / name).is_file()]
