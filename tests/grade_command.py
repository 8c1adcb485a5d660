import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import PATIENCE

Grade = Callable[..., tuple[int, str]]


@pytest.fixture
def grade(tmp_path: Path) -> Grade:
    """Runs `grade` in an empty folder; gives its exit status and all that it said, on one line."""

    def run(
        *arguments: str | Path, python: str = sys.executable, before: str = "", **environment: str
    ) -> tuple[int, str]:
        command = [python, "-m", "graders", *map(str, arguments)]
        if before:  # something that the shell does first
            command = ["bash", "-c", f'{before} && exec "$@"', "bash", *command]
        folder = tmp_path / "here"
        folder.mkdir(exist_ok=True)
        inside = {**os.environ, "COLUMNS": "200", **environment}
        done = subprocess.run(command, cwd=folder, env=inside, capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    return run


def refused(answer: tuple[int, str], *said: str) -> None:
    """The answer is exit status 2, a sentence that says all of this, and a fix."""
    status, text = answer
    assert status == 2, text
    assert "Traceback" not in text
    assert text.count("Cannot go on:") == text.count("What to do:") == 1
    for part in said:
        assert part in text


@pytest.fixture(name="refused")
def _refused() -> Callable[..., None]:
    return refused
