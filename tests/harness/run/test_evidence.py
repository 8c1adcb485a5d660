import io
import json
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from graders.harness.data import values
from graders.harness.ending import read_report
from graders.harness.run import records as limits
from graders.harness.run.evidence import Evidence
from graders.harness.run.records import Missing, Unreadable


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run folder as an attacker may leave it, with three variables on request."""
    (tmp_path / "work" / "output").mkdir(parents=True)
    (tmp_path / "evidence" / "variables").mkdir(parents=True)
    request = {"hand_in": {"x": "value", "t": "tensor", "p": "pictures"}, "output": "output"}
    (tmp_path / "request.json").write_text(json.dumps(request))
    (tmp_path / "secret").write_text('{"kind": "value", "value": "secret"}')
    return tmp_path


def leave(folder: Path, name: str, record) -> None:
    content = record if isinstance(record, bytes) else json.dumps(record).encode()
    (folder / "evidence" / "variables" / name).write_bytes(content)


def png(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds next to nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, body, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_path(folder):
    """A file in OUTPUT_DIR is given only when it is a regular file that is nowhere else."""
    output = folder / "work" / "output"
    (output / "rank4").mkdir()
    (output / "rank4" / "good").write_text("good")
    (output / "link").symlink_to(folder / "secret")
    (output / "linked").symlink_to(output / "rank4")
    os.link(folder / "secret", output / "hard")
    os.mkfifo(output / "fifo")
    evidence = Evidence(folder)
    assert evidence.path("rank4/good").read_text() == "good"
    refused = (
        "link",
        "linked/good",
        "hard",
        "fifo",
        "rank4",
        "../output/rank4/good",
        "../../secret",
        "rank4/good/x",
        "a\0b",
    )
    for relative in refused:
        with pytest.raises(Unreadable):
            evidence.path(relative)
    with pytest.raises(Missing):
        evidence.path("rank16/good")


def test_absolute_path(folder):
    """An absolute path is taken as one inside OUTPUT_DIR, where it is not."""
    with pytest.raises(Missing):
        Evidence(folder).path("/etc/passwd")


def test_linked_output(folder):
    """An OUTPUT_DIR that was replaced by a link leads nowhere."""
    (folder / "work" / "output").rmdir()
    (folder / "work" / "output").symlink_to(folder)
    with pytest.raises(Unreadable):
        Evidence(folder).path("secret")


def test_linked_record(folder):
    """A record that is a link to another file is not read."""
    (folder / "evidence" / "variables" / "x.json").symlink_to(folder / "secret")
    with pytest.raises(Unreadable):
        Evidence(folder).value("x")


def test_oversized(folder):
    """A record beyond the cap is refused by its size, before it is read."""
    with (folder / "evidence" / "variables" / "x.json").open("wb") as file:
        file.truncate(limits.MAX_JSON + 1)
    with pytest.raises(Unreadable, match="larger than"):
        Evidence(folder).value("x")


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"kind": "value", "value": ' + b"9" * 5000 + b"}",
        [],
        {},
        {"kind": "value"},
        {"kind": "tensor", "value": 1},
        {"kind": "value", "value": {"unknown": []}},
        {"kind": "value", "value": {"mapping": [[1]]}},
        {"kind": "value", "value": {"mapping": [[{"mapping": []}, 1]]}},
        {"kind": "value", "value": {"float": "1e9"}},
        {"kind": "value", "value": {"set": 4}},
        {"kind": "value", "value": {"tuple": [], "set": []}},
        {"unreadable": 10**400, "reason": None},
    ],
)
def test_malformed_values(folder, record):
    """A malformed record is unreadable, whatever is wrong with it."""
    leave(folder, "x.json", record)
    with pytest.raises(Unreadable):
        Evidence(folder).value("x")


@pytest.mark.parametrize("file", ["../../secret", "none", 4, "../../../request.json"])
def test_malformed_tensors(folder, file):
    """A tensor's file is a safetensors file inside the evidence, or it is not read."""
    leave(folder, "t.json", {"kind": "tensor", "file": file, "dtype": "float32", "device": "cpu", "in_graph": True})
    leave(folder, "none", struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(Unreadable):
        Evidence(folder).tensor("t")


def test_malformed_pictures(folder):
    """Only PNG is decoded, and nothing that unpacks to more pixels than allowed."""
    (folder / "evidence" / "variables" / "p.1").mkdir()
    jpeg = io.BytesIO()
    Image.new("RGB", (4, 4)).save(jpeg, "JPEG")
    for content in (jpeg.getvalue(), png(60_000, 60_000), png(5000, 5000), png(40, 40), b"", b"\x89PNG\r\n\x1a\n"):
        leave(folder, "p.1/0000.png", content)
        leave(folder, "p.json", {"kind": "pictures", "folder": "p.1", "pictures": {"list": [{"file": "0000.png"}]}})
        with pytest.raises(Unreadable):
            Evidence(folder).pictures("p")


def test_too_many_pictures(folder):
    """One file named again and again counts every time."""
    (folder / "evidence" / "variables" / "p.1").mkdir()
    dot = io.BytesIO()
    Image.new("RGB", (1, 1)).save(dot, "PNG")
    leave(folder, "p.1/0000.png", dot.getvalue())
    leave(folder, "p.json", {"kind": "pictures", "folder": "p.1", "pictures": {"list": [{"file": "0000.png"}] * 501}})
    with pytest.raises(Unreadable, match="too many"):
        Evidence(folder).pictures("p")


def test_text_is_made_harmless(folder):
    """Control sequences and halves of characters do not come through where text is shown."""
    leave(folder, "x.json", {"unreadable": "a\x1b[31m\nb", "reason": "\ud800"})
    with pytest.raises(Unreadable) as error:
        Evidence(folder).value("x")
    assert error.value.problem.isprintable()
    leave(folder, "x.json", {"kind": "value", "value": ["\ud800"]})
    assert Evidence(folder).value("x") == ["?"]


def test_unknown_name(folder):
    """Asking for a variable or a kind that was not collected is the grader's error."""
    for name in ("y", "t"):
        with pytest.raises(KeyError):
            Evidence(folder).value(name)


@pytest.mark.parametrize(
    "change",
    [
        {"ended": "well"},
        {"ended": ["completed"]},
        {"cell": 0},
        {"cell": "3"},
        {"cell": True},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"seconds": 10**400},
        {"peak_memory_bytes": 1.5},
        {"device": "tpu"},
        {"error": "oops"},
        {"error": {"ename": 1, "evalue": "", "line": ""}},
    ],
)
def test_malformed_report(change):
    """A report of a run with a field out of its range is refused as a whole."""
    good = {"ended": "completed", "cell": None, "error": None, "seconds": 1, "peak_memory_bytes": 1, "device": "cpu"}
    assert read_report(json.dumps(good).encode()).seconds == 1.0
    with pytest.raises(values.Malformed):
        read_report(json.dumps({**good, **change}).encode())
