"""The attacks work: where nothing contains them, they reach what they are after."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile import exits, files, papers
from tests.hostile.outside import outside


@pytest.mark.parametrize("visitor", exits.REACHING)
def test_ways_out(tmp_path: Path, visitor: str) -> None:
    """Each way out leads to the listener that is there for it."""
    with outside(tmp_path / "outside") as out:
        facts = f"OUTSIDE = {out.facts('mark')!r}\nOUTPUT_DIR = {str(tmp_path)!r}\n"
        subprocess.run([sys.executable, "-c", facts + exits.SOCKETS + exits.REACHING[visitor]], check=True)
        assert json.loads((tmp_path / "found.json").read_text())
        assert visitor in out.visitors() or visitor == "vsock"  # for which a machine need not be a host to itself


def test_traps(tmp_path: Path) -> None:
    """A module that lies where Python looks for it is run."""
    for name, content in papers.TRAPS.items():
        if name.endswith(".py") and "/" not in name:
            (tmp_path / name).write_bytes(content)
    trap = tmp_path / "trap"
    command = [sys.executable, "-c", "import torch"]
    subprocess.run(command, cwd=tmp_path, env={"TRAP": str(trap)}, check=False, capture_output=True)
    assert trap.exists()


def test_pickle(tmp_path: Path) -> None:
    """The pickle does something as soon as it is loaded."""
    source = f"MARKER = {str(tmp_path / 'marker')!r}\n{files.PICKLE}"
    namespace: dict[str, bytes] = {}
    exec(source, namespace)
    pickle.loads(namespace["content"])
    assert (tmp_path / "marker").exists()
