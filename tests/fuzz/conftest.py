"""How much is tried: a fixed little of it with every `make test`, as much as one has time for with `make fuzz`."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.strategies import Folder

CAMPAIGN = "campaign"
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "suite")
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2000"))

# In milliseconds: a hundred times what an example takes, for machines that are busy with other things.
_UNHURRIED = {"deadline": 20_000, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("suite", max_examples=50, derandomize=True, database=None, **_UNHURRIED)
settings.register_profile(CAMPAIGN, max_examples=EXAMPLES, print_blob=True, **_UNHURRIED)
settings.load_profile(PROFILE)


def pytest_configure(config: pytest.Config) -> None:
    """The marks of grader modules, which are imported here as they are."""
    for mark in ("points", "needs"):
        config.addinivalue_line("markers", f"{mark}: of a check")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("run"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What hangs is ended long before the limit of other tests; a campaign takes as long as it takes."""
    limit = pytest.mark.timeout(0 if PROFILE == CAMPAIGN else 300)
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(limit)
