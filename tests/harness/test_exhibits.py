"""What there is to see of a hand-in, on its way through a folder of results in which anything may be damaged."""

import hashlib
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graders.harness import exhibits
from graders.harness import grade as grading
from graders.harness.exhibits import Curves, Diagram, Exhibit, Gallery, Table
from graders.harness.result import Result, load
from graders.lesson import LESSON
from tests.harness.report.records import EVERY, RUN, noise

RED = np.full((20, 30, 3), (200, 0, 0), np.uint8)
ALL = (
    Gallery(name="pictures", title="Pictures", lead="before", note="after", columns=["a", "b"], rows=[("x", [RED, None])]),
    Curves(name="losses", title="Losses", curves={"rank 4": [0.5, None, 0.25]}, steps=["t"], unit=" %", told={"rank 4": "so"}),
    Table(name="counts", title="Counts", columns=["layer", "count"], rows=[["conv", 3], ["other", None]]),
    Diagram(name="net", title="Net", drawer="unet", data={"asked": [1, 2]}),
)  # fmt: skip


def kept(folder: Path, *shown: Exhibit) -> Result:
    """The result in a folder with these exhibits beside it."""
    folder.mkdir(exist_ok=True)
    grading.keep(Result("ex1", RUN, EVERY), (), folder, [exhibits.pack(exhibit) for exhibit in shown])
    return load(folder / "result.json")


def test_comes_back(tmp_path: Path) -> None:
    """Every kind is read as it was made, in its order, and a result is the same one with exhibits and without."""
    result = kept(tmp_path, *ALL)
    assert (tmp_path / "exhibits" / "pictures.png").is_file()
    pictures, *others = exhibits.read(tmp_path, result.exhibits)
    assert isinstance(pictures, Gallery)
    ((label, (picture, gap)),) = pictures.rows
    assert (label, gap, pictures.lead, pictures.note) == ("x", None, "before", "after")
    assert np.array_equal(picture, RED)
    assert others[0] == replace(ALL[1], steps=("t",))
    assert isinstance(others[1], Table)
    assert others[1].rows == [["conv", 3.0], ["other", None]]
    assert others[2] == ALL[3]
    assert result.id == replace(result, exhibits={}).id
    assert "exhibits" not in Result("ex1", RUN, EVERY).to_json()


def test_only_those_of_the_result(tmp_path: Path) -> None:
    """Scored again, a hand-in has the exhibits of the new result and no others; of another result none is ever shown."""
    before = kept(tmp_path, *ALL)
    result = kept(tmp_path, replace(ALL[1], title="Losses again"))
    assert [exhibit.title for exhibit in exhibits.read(tmp_path, result.exhibits)] == ["Losses again"]
    assert [path.name for path in (tmp_path / "exhibits").iterdir()] == ["losses.json"]
    assert exhibits.read(tmp_path, before.exhibits) == []
    kept(tmp_path)
    assert not (tmp_path / "exhibits").exists()


def test_never_too_much(tmp_path: Path) -> None:
    """However much there is, so many pictures, curves and rows are kept, in so many bytes, and the rest is counted."""
    columns = [str(i) for i in range(9)]
    rows = [(str(i), [noise(300, 200)] * 9) for i in range(15)]
    result = kept(
        tmp_path,
        Gallery(name="pictures", title="p" * 999, columns=columns, rows=rows),
        Curves(name="losses", title="l", curves={"long": [1.0] * 100_001} | {str(i): [i] * 9 for i in range(6)}),
        Table(name="counts", title="c", columns=["a"], rows=[["b", "no column"]] * 60),
    )
    pictures, losses, counts = exhibits.read(tmp_path, result.exhibits)
    assert len(pictures.title) == exhibits.MAX_TITLE
    assert (len(pictures.rows), len(pictures.columns), pictures.left_out) == (12, 6, 15 * 9 - 12 * 6)  # type: ignore[attr-defined]
    assert (list(losses.curves), losses.left_out) == (["0", "1", "2", "3"], 3)  # type: ignore[attr-defined]
    assert (len(counts.rows), counts.rows[0], counts.left_out) == (50, ["b"], 10)  # type: ignore[attr-defined]
    assert all(path.stat().st_size <= exhibits.MAX_BYTES for path in (tmp_path / "exhibits").iterdir())


def png_of(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(RED).save(file, "JPEG")
    return file.getvalue()


def linked(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "changed": lambda path: path.write_bytes(path.read_bytes().replace(b"a", b"o", 1) + b" "),
    "huge": lambda path: os.truncate(path, 1 << 33),
    "a link": linked,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["pictures.json", "pictures.png"])
def test_damage_costs_the_exhibit(tmp_path: Path, how: str, name: str) -> None:
    """Of a damaged exhibit nothing is shown; the result and all others are as they were, and scoring again mends it."""
    kept(tmp_path, *ALL)
    DAMAGE[how](tmp_path / "exhibits" / name)
    result = load(tmp_path / "result.json")
    assert [exhibit.name for exhibit in exhibits.read(tmp_path, result.exhibits)] == ["losses", "counts", "net"]
    result = kept(tmp_path, *ALL)
    assert len(exhibits.read(tmp_path, result.exhibits)) == 4


HOSTILE: dict[str, dict[str, object]] = {
    "another kind": {"kind": "program"},
    "no kind": {"kind": ["gallery"]},
    "no place": {"place": [0, 0]},
    "negative": {"place": [-30, -20]},
    "endless places": {"place": [10**30, 10**30]},
    "larger than its place": {"rows": [{"label": "x", "sizes": [[999, 999], None]}]},
    "another number of rows": {"rows": [{"label": "x", "sizes": [[30, 20], None]}] * 9},
    "too many rows": {"rows": [{"label": "x", "sizes": []}] * 10_000},
    "no rows": {"rows": []},
    "no sizes": {"rows": [{"label": "x", "sizes": ["30", True]}]},
    "a label of another kind": {"rows": [{"label": {"x": 1}, "sizes": [None, None]}]},
    "a number that is none": {"left_out": float("nan")},
}


@pytest.mark.parametrize("how", [*HOSTILE, "a bomb", "no PNG", "a name that leads elsewhere", "a list"])
def test_made_by_somebody_else(tmp_path: Path, how: str) -> None:
    """Somebody who writes exhibits and the digests that the result lists gets nothing shown but pictures within limits."""
    kept(tmp_path, *ALL)
    place, file = tmp_path / "exhibits", tmp_path / "result.json"
    document = json.loads((place / "pictures.json").read_text()) | HOSTILE.get(how, {})
    if how in ("a bomb", "no PNG"):
        sheet = png_of(60_000, 60_000, bytes(10**6)) if how == "a bomb" else jpeg()
        (place / "pictures.png").write_bytes(sheet)
        document["sheet"] = hashlib.sha256(sheet).hexdigest()
    content = json.dumps(document).encode()
    (place / "pictures.json").write_bytes(content)
    stored = json.loads(file.read_text())
    stored["exhibits"]["pictures"] = hashlib.sha256(content).hexdigest()
    if how == "a name that leads elsewhere":
        stored["exhibits"] = {
            "../result": hashlib.sha256(file.read_bytes()).hexdigest(),
            "/etc/passwd": 3,
            "a" * 99: "",
        }
    if how == "a list":
        stored["exhibits"] = ["pictures"]
    file.write_text(json.dumps(stored))
    result = load(file)
    assert result == Result("ex1", RUN, EVERY)
    assert "pictures" not in [exhibit.name for exhibit in exhibits.read(tmp_path, result.exhibits)]
    file.unlink()  # those that are left at the end are held against the schema


def test_a_lesson_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a lesson fails at costs an exhibit and is logged; the others are there, and so is the result."""

    def shown(*_: object) -> object:
        yield replace(ALL[1], name="../no name")
        yield replace(ALL[3], data=float("nan"))
        yield ALL[2]
        raise KeyError("mine")

    monkeypatch.setattr(type(LESSON), "exhibits", shown)
    made, faults = grading._exhibits(None, Result("ex1", RUN, EVERY))  # type: ignore[arg-type]
    assert [list(files) for files in made] == [["counts.json"]]
    assert [line.strip().splitlines()[-1].split(":")[0] for line in faults] == ["ValueError", "ValueError", "KeyError"]
