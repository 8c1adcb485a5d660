"""What stands beside a notebook goes with it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook, writes

from graders.harness.run import beside, source
from tests.harness.run.conftest import Runner

FILES = {
    "lora_utils.py": b"import helper\nRANK = helper.RANK",
    "helper.py": b"RANK = 4",
    "package/__init__.py": b"",
    "package/layers.py": b"x = 1",
    "config.json": b'{"steps": 3}',
    "data/captions.csv": b"file,text\n1,a boat\n",
    "setup.ipynb": writes(new_notebook(cells=[new_code_cell("answer = 42")])).encode(),
    "ex2.ipynb": b"{}",
    "diary.txt": b"mine",
    "output/rank4/pytorch_lora_weights.safetensors": b"no",
    ".git/config": b"no",
}
CELLS = (
    "import json, csv\nfrom lora_utils import RANK\nimport package.layers\nx = [RANK, package.layers.x]",
    "steps = json.load(open('config.json'))['steps']\n"
    "with open('data/captions.csv') as file:\n    rows = len(list(csv.reader(file)))",
    "%run setup.ipynb",
    "from pathlib import Path\nfiles = (p for p in Path('.').rglob('*') if p.is_file() and '__pycache__' not in p.parts)\n"
    "left = sorted(p.as_posix() for p in files)",
)
TAKEN = [
    "config.json",
    "data/captions.csv",
    "helper.py",
    "lora_utils.py",
    "package/__init__.py",
    "package/layers.py",
    "setup.ipynb",
]


def code(*texts: str) -> list[source.Code]:
    return source.code(new_notebook(cells=[*map(new_code_cell, texts)]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A student's folder."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def names(packed: bytes) -> list[str]:
    if not packed:
        return []
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return archive.namelist()


def test_what_ones_own_notebook_names(folder: Path) -> None:
    """Of one's own folder no more goes along than the notebook, and what goes along, names; nothing from elsewhere."""
    notebook = folder / "ex1.ipynb"
    assert names(beside.of_own(notebook, code(*CELLS))) == TAKEN
    assert names(beside.of_own(notebook, code("x = 'data'"))) == ["data/captions.csv"]
    elsewhere = (
        "open('/etc/passwd'), open('../x'), open('.'), open('output'), open('.git/config'), open('" + "x" * 190 + "')"
    )
    assert (
        beside.of_own(folder / "data" / "ex1.ipynb", code("open('../config.json')", elsewhere, "open('a\\0b')")) == b""
    )


def test_what_was_handed_in_with_a_notebook() -> None:
    """Of a hand-in everything goes along, other notebooks only if they are named; no result, and no more than has room."""
    sizes = dict.fromkeys(FILES, 10) | {"config.json": beside.MAX_BYTES}
    packed = beside.chosen(
        FILES, lambda name, limit: bytes(min(sizes[name], limit + 1)), beside.wanted_of_hand_in(code(*CELLS))
    )
    assert names(packed) == [name for name in sorted([*TAKEN, "diary.txt"]) if name != "config.json"]
    for name in ("/etc/passwd", "../x", "a/../../x", "output/x", "", "a\0b", "/".join("abcdefghijklm")):
        assert not beside.permitted(name)


def test_what_is_read_and_not_there() -> None:
    """The files that a notebook says it reads are known, without those that it may have made itself."""
    texts = (
        "import pandas as pd\npd.read_csv('data/captions.csv')",
        "%run setup.ipynb",
        "open('log.txt', 'w')",
        "open('a.json')",
    )
    made = (
        "pd.DataFrame().to_csv('mine.csv')",
        "pd.read_csv('mine.csv')",
        "!wget https://x.org/b.csv",
        "pd.read_csv('b.csv')",
    )
    assert beside.needed(code(*texts, *made)) == ["setup.ipynb", "data/captions.csv", "a.json"]


def test_they_are_there_when_it_runs(run_cells: Runner, folder: Path) -> None:
    """Modules, data and another notebook are found by the paths that they had beside the notebook."""
    packed = beside.of_own(folder / "ex1.ipynb", code(*CELLS))
    hand_in = dict.fromkeys(("x", "steps", "rows", "answer", "left"), "value")
    evidence = run_cells(*CELLS, hand_in=hand_in, beside=packed)
    assert evidence.run.ended == "completed", evidence.run.reason
    assert [evidence.value(name) for name in ("x", "steps", "rows", "answer")] == [[4, 1], 3, 2, 42]
    assert evidence.value("left") == TAKEN
    assert beside.modules(packed) >= {"lora_utils", "helper", "package"}
