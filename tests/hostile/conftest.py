import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from tests.hostile.arena import Arena, arena
from tests.hostile.outside import Outside, outside


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """What there is on the host."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    with outside(tmp_path_factory.mktemp("outside")) as there:
        yield there


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory, out: Outside) -> Iterator[Arena]:
    """Where hand-ins are graded."""
    with arena(tmp_path_factory.mktemp("arena"), out) as there:
        yield there


@pytest.fixture(scope="module")
def graded(request: pytest.FixtureRequest, ring: Arena) -> dict[str, Future[Any]]:
    """By title, what became of the cases and papers that this session tests."""
    chosen: list[Any] = [item.callspec.params for item in request.session.items if "graded" in item.fixturenames]  # type: ignore[attr-defined]
    papers = {params["paper"].title: ring.command(params["paper"]) for params in chosen if "paper" in params}
    return papers | {
        params["case"].title: ring.grade(params["case"], params["crowded"]) for params in chosen if "case" in params
    }
