"""Pictures of any library as pixels, and pixels as PNG files."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any

from .encoding import Unreadable
from .libraries import is_array, is_of, type_of

MAX_PIXELS = 4096 * 4096
_CLOSED = "a picture that was closed, and with it its pixels went: leave it open, or keep picture.copy()"


class Closed(Unreadable):
    """A picture that was there, and was closed."""


def pixels_of(value: Any) -> tuple[int, int, bytes]:
    """Width, height and RGB bytes of one picture: Pillow, NumPy or PyTorch; uint8 or float in [0, 1]; HWC or CHW."""
    if is_of(value, "PIL.Image", "Image"):
        _check_size(*value.size)
        try:
            picture = value.convert("RGB")
        except Exception as error:
            if "closed" in str(error) or getattr(value, "fp", 0) is None:  # a file that was closed before it was read
                raise Closed(_CLOSED) from None
            raise
        return (*picture.size, picture.tobytes())
    if not is_array(value):
        raise Unreadable(f"not a picture but of type {type_of(value)}")
    if is_of(value, "torch", "Tensor"):
        tensor = value.detach().cpu().resolve_conj().resolve_neg()
        value = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if value.ndim == 3 and value.shape[2] not in (1, 3, 4) and value.shape[0] in (1, 3, 4):
        value = value.transpose(1, 2, 0)
    if value.ndim == 2:
        value = value[:, :, None]
    shape = "x".join(map(str, value.shape))
    if value.ndim != 3 or value.shape[2] not in (1, 3, 4) or not value.size:
        raise Unreadable(f"an array of shape {shape}, which is no picture")
    _check_size(value.shape[1], value.shape[0])
    low, high = value.min(), value.max()
    if value.dtype.kind == "f":
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # also when either is not a number
            raise Unreadable(f"a float picture with values from {low:.3g} to {high:.3g}, not in [0, 1]")
        value = (value.clip(0, 1) * 255).round()
    elif value.dtype.kind not in "iu" or low < 0 or high > 255:
        raise Unreadable(f"a picture of type {value.dtype} with values from {low} to {high}")
    value = value.astype("uint8")[:, :, :3]
    value = value.repeat(3 // value.shape[2], axis=2)
    return value.shape[1], value.shape[0], value.tobytes()


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Unreadable(f"a picture of {width}x{height} pixels")


def png(width: int, height: int, pixels: bytes) -> bytes:
    """An RGB picture as a PNG file."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + pixels[at : at + 3 * width] for at in range(0, len(pixels), 3 * width))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 3)) + chunk(b"IEND", b"")


def digest(width: int, height: int, pixels: bytes) -> str:
    """What a picture is known by, which has three bytes for each pixel."""
    return hashlib.sha256(f"{width}x{height} ".encode() + pixels).hexdigest()
