import shutil

import pytest

from graders.harness.run.bubblewrap import Bubblewrap


@pytest.fixture(scope="session")
def bubblewrap() -> Bubblewrap:
    """The sandbox; the test is skipped where there is none to be had."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    return Bubblewrap()
