from collections.abc import Callable
from typing import Any

import pytest

from graders.harness.run.evidence import Evidence
from graders.harness.run.run import run
from graders.harness.run.sandbox import Isolation
from graders.harness.run.unconfined import NoIsolation
from tests.harness.conftest import write_notebook

Runner = Callable[..., Evidence]


@pytest.fixture(
    scope="module",
    params=[
        "none",
        "bubblewrap",
        *(pytest.param(f"{way}, cold", marks=pytest.mark.campaign) for way in ("none", "bubblewrap")),
    ],
)
def isolation(request: pytest.FixtureRequest) -> Isolation:
    way, _, cold = request.param.partition(", ")
    sandbox = NoIsolation() if way == "none" else request.getfixturevalue("bubblewrap")
    return sandbox.ways[0] if cold else sandbox


@pytest.fixture(scope="module")
def run_cells(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Runner:
    """Runs code cells (numbered from 2, the parameters being cell 1) in a kernel and gives the evidence."""

    def runner(*cells: str, hand_in: dict[str, str], **options: Any) -> Evidence:
        folder = tmp_path_factory.mktemp("run")
        path = write_notebook(folder / "hand-in", list(cells), options.pop("answers", ()))
        options = {"parameters": {}, "time_limit": 60.0, "grace": 12.0, "isolation": isolation, **options}
        return run(path, hand_in=hand_in, run_folder=folder / "run", **options)

    return runner
