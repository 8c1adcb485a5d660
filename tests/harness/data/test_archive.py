"""Notebooks in zip archives, well packed and otherwise."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from graders.harness.data.archive import ArchiveError
from graders.harness.run import notebook

CONTENT = b'{"cells": []}'


def packed(*members: tuple[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


HEAD = b"PK\x01\x02\x14\x03\x14\x00"
ENCRYPTED = packed(("ex1.ipynb", CONTENT)).replace(HEAD + b"\0", HEAD + b"\1")


@pytest.fixture
def read(tmp_path: Path):
    def read(content: bytes) -> bytes:
        path = tmp_path / "hand-in.zip"
        path.write_bytes(content)
        before = set(tmp_path.parent.rglob("*"))
        try:
            return notebook.read_bytes(path)
        finally:
            assert set(tmp_path.parent.rglob("*")) == before

    return read


@pytest.mark.parametrize("name", ["ex1.ipynb", "a/b/ex1.ipynb", "../../ex1.ipynb", "/etc/ex1.ipynb", "ü\n.ipynb"])
def test_one_notebook(read, name):
    """The only notebook is read, whatever path it claims, and nothing is unpacked."""
    noise = [("__MACOSX/._ex1.ipynb", b"x"), (".ipynb_checkpoints/ex1-checkpoint.ipynb", b"x"), ("photo.png", b"x")]
    assert read(packed((name, CONTENT), *noise)) == CONTENT


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (packed(("ex1.ipynb", CONTENT), ("ex2.ipynb", CONTENT)), "holds 2 notebooks"),
        (packed(("readme.txt", CONTENT)), "holds no notebook"),
        (packed(("inner.zip", packed(("ex1.ipynb", CONTENT)))), "holds another archive"),
        (packed(), "holds no notebook"),
        (packed(("ex1.ipynb", CONTENT))[:-30], "broken"),
        (packed(("ex1.ipynb", CONTENT), kind=zipfile.ZIP_LZMA), "unusual way"),
        (packed(("ex1.ipynb", bytes(60_000_000))), "larger than 50 MB"),
        (packed(*((f"{number}.txt", b"") for number in range(10_001))), "more than 10000 files"),
        (
            packed(("ex1.ipynb", CONTENT)).replace(
                b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
            ),
            "encrypted",
        ),
    ],
)
def test_refused(read, content, said):
    """What holds no single readable notebook is refused in a sentence."""
    with pytest.raises(ArchiveError, match=said) as error:
        read(content)
    assert error.value.fix


def test_bomb(read):
    """A member that claims to be small and unpacks to much more is given up at the limit, in bounded memory."""
    bomb = packed(("ex1.ipynb", bytes(1_000_000_000)))
    small = struct.pack("<I", 10)
    lying = bomb.replace(struct.pack("<I", 1_000_000_000), small)
    tracemalloc.start()
    for content in (bomb, lying):
        with pytest.raises(ArchiveError):
            read(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000_000


def test_a_member_without_a_name(read):
    """A member whose name is empty is passed over."""
    content = packed(("X", b""), ("ex1.ipynb", CONTENT)).replace(b"X", b"\0")
    assert read(content) == CONTENT
