"""Pictures in a run folder: PNG as the collector writes it, and whatever else somebody puts there."""

import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from graders.harness.data import png as limits
from graders.harness.data.values import Budget
from graders.harness.run.kernel.pictures import png as collected_png
from graders.lora.measures.pictures import PicturesError, as_picture, read_pictures
from tests.fuzz.strategies import ROOT, Folder, assert_cheap, assert_explained, edited, json_values, linux_only, mutated

SIGNATURE = b"\x89PNG\r\n\x1a\n"
REAL = [path.read_bytes() for path in sorted(ROOT.glob("fixtures/datasets/watercolor/train/00*.png"))[:3]]
REAL.append(collected_png(2, 3, bytes(range(18))))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def chunks_of(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(SIGNATURE)
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def header(width: int, height: int, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    return struct.pack(">IIBBBBB", width % (1 << 32), height % (1 << 32), depth, colour, 0, 0, interlaced)


def saved(form: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (3, 2)).save(file, form)
    return file.getvalue()


OTHER_FORMATS = [saved(form) for form in ("JPEG", "GIF", "BMP", "TIFF", "WEBP", "ICO", "PPM", "EPS", "PDF", "TGA")]
OTHER_MODES = [saved("PNG", mode) for mode in ("1", "L", "LA", "P", "RGBA", "I;16")]

sides = st.sampled_from([0, 1, 2, 3, 255, 4096, 5000, 60_000, 2**31 - 1, 2**31, -1])
headers = st.builds(
    header, sides, sides, st.sampled_from([1, 2, 4, 8, 16, 3]), st.integers(0, 7), st.sampled_from([0, 0, 1, 2])
)
bodies = st.binary(max_size=40) | st.sampled_from([zlib.compress(b"\0" * 20_000), b"\0" * 4, b""])
extras = st.tuples(
    st.sampled_from([b"PLTE", b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"eXIf", b"pHYs", b"sRGB", b"cHRM",
                     b"acTL", b"fcTL", b"fdAT", b"IDAT", b"IHDR", b"IEND", b"zzZz", b"ZZZZ", b"\0\0\0\0"]),
    bodies | bodies.map(lambda body: b"name\0\0" + body) | bodies.map(lambda body: b"\0\0\0\0" + body),
)  # fmt: skip


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    """A picture with another header, or with chunks added, left out and repeated, all of them with the right sums."""
    found = chunks_of(draw(st.sampled_from(REAL + OTHER_MODES)))
    if draw(st.booleans()):
        found[0] = (b"IHDR", draw(headers))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(found)))
        if draw(st.booleans()):
            found.insert(at, draw(extras))
        elif at < len(found):
            found[at : at + 1] = [found[at]] * draw(st.sampled_from([0, 2]))
    return SIGNATURE + b"".join(chunk(*each) for each in found)


contents = pngs() | mutated(REAL + OTHER_MODES) | st.sampled_from(OTHER_FORMATS) | st.binary(max_size=60)
FILE = {"file": "0000.png"}
nodes = st.recursive(
    st.sampled_from([FILE, FILE, FILE, {"file": "../secret"}, {"unreadable": "\x1b" * 900}, {}, {"file": 4}]),
    lambda inner: (
        st.builds(lambda items: {"list": items}, st.lists(inner, max_size=4))
        | st.builds(lambda pairs: {"mapping": pairs}, st.lists(st.tuples(json_values, inner).map(list), max_size=3))
    ),
    max_leaves=6,
)
records = nodes.map(lambda node: {"kind": "pictures", "folder": "p.1", "pictures": node})


def assert_pictures(found: Any, budget: list[int]) -> None:
    """Pictures of at least a pixel and at most as many as are allowed, in lists, which mappings may hold."""
    for inner in found.values() if isinstance(found, dict) else ():
        assert_pictures(inner, budget)
    for picture in found if isinstance(found, list) else ():
        assert picture.dtype == np.uint8
        height, width, channels = picture.shape
        assert channels == 3
        assert 0 < height * width <= limits.MAX_PIXELS
        budget[0] -= 1
        budget[1] -= height * width
        assert min(budget) >= 0
        assert as_picture(picture).size == (width, height)


@given(records | edited([{"kind": "pictures", "folder": "p.1", "pictures": {"list": [FILE]}}]), contents)
@example({"kind": "pictures", "folder": "p.1", "pictures": FILE}, collected_png(1, 1, b"abc"))
def test_pictures(folder: Folder, record: Any, content: bytes) -> None:
    """Whatever stands in for a picture is one, or is unreadable."""
    folder.leave("p.1/0000.png", content)
    folder.leave("p.json", record)
    found = folder.read("pictures", "p")
    if found is not None:
        assert isinstance(found, list | dict)
        assert_pictures(found, [Budget().pictures, Budget().pixels])


@given(st.integers(1, 5), st.integers(1, 5), st.binary(min_size=75, max_size=75))
def test_round_trip(folder: Folder, width: int, height: int, pixels: bytes) -> None:
    """The pixels that the collector writes are those that are read."""
    folder.leave("p.1/0000.png", collected_png(width, height, pixels[: 3 * width * height]))
    folder.leave("p.json", {"kind": "pictures", "folder": "p.1", "pictures": FILE})
    (found,) = folder.read("pictures", "p")
    assert found.tobytes() == pixels[: 3 * width * height]


PIXEL = [chunk(b"IHDR", header(1, 1)), chunk(b"IDAT", zlib.compress(b"\0" * 4)), chunk(b"IEND", b"")]
PACKED = zlib.compress(b"\0" * 1_000_000)
BOMBS = {
    "a declared size": [chunk(b"IHDR", header(4096, 4096)), chunk(b"IDAT", zlib.compress(b"\0" * 50_000)), PIXEL[2]],
    "a huge declared size": [chunk(b"IHDR", header(2**31 - 1, 2**31 - 1)), *PIXEL[1:]],
    "compressed texts": [PIXEL[0], *[chunk(b"zTXt", b"%d\0\0" % i + PACKED) for i in range(64)], *PIXEL[1:]],
    "a compressed profile": [PIXEL[0], chunk(b"iCCP", b"a\0\0" + zlib.compress(b"\0" * 200_000_000)), *PIXEL[1:]],
    "pixels beyond the last": [PIXEL[0], chunk(b"IDAT", zlib.compress(b"\0" * 200_000_000)), PIXEL[2]],
    "tiny chunks": [PIXEL[0], *[chunk(b"teSt", b"")] * 1_000_000, *PIXEL[1:]],
    "tiny chunks of pixels": [PIXEL[0], PIXEL[1], *[chunk(b"IDAT", b"")] * 1_000_000, PIXEL[2]],
    "many frames": [PIXEL[0], chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)), *PIXEL[1:]],
}


@linux_only
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_bombs(folder: Folder, bomb: list[bytes]) -> None:
    """A small file of pictures takes neither much memory nor much time, also when it is named again and again."""
    folder.leave("p.1/0000.png", SIGNATURE + b"".join(bomb))
    folder.leave("p.json", {"kind": "pictures", "folder": "p.1", "pictures": {"list": [FILE] * 10}})
    assert_cheap(lambda: folder.read("pictures", "p"), memory=250 << 20)


@linux_only
def test_large_pictures(folder: Folder) -> None:
    """Seven pictures of 4096 × 4096 pixels are not kept in memory, and neither are more of the largest size that is read."""
    for side, times in ((4096, 7), (2048, 40)):
        rows = zlib.compress(b"\0" * (3 * side + 1) * side)
        folder.leave("p.1/0000.png", SIGNATURE + chunk(b"IHDR", header(side, side)) + chunk(b"IDAT", rows) + PIXEL[2])
        folder.leave("p.json", {"kind": "pictures", "folder": "p.1", "pictures": {"list": [FILE] * times}})
        assert_cheap(lambda: folder.read("pictures", "p"), memory=300 << 20)


ROW = {"file_name": "0.png", "text": "a"}


@given(st.just(ROW) | edited([ROW]) | json_values, contents)
@example(ROW, SIGNATURE + chunk(b"IHDR", header(60_000, 60_000)) + chunk(b"IDAT", b""))
def test_imagefolder(folder: Folder, row: Any, content: bytes) -> None:
    """An imagefolder is read, or the error explains itself."""
    home = folder.root / "imagefolder"
    home.mkdir(exist_ok=True)
    (home / "0.png").write_bytes(content)
    (home / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    try:
        pictures = read_pictures(home)
    except PicturesError as error:
        assert_explained(error)
        return
    assert all(isinstance(text, str) for text in pictures.captions)
