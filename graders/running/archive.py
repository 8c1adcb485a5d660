"""A notebook in a zip archive, as course systems pack them: read in memory, so that no member is ever unpacked to a path."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import PurePosixPath

from graders.errors import ExplainedError

MAX_MEMBERS = 10_000
"""Files in an archive."""
_ENTRY = b"PK\x01\x02"
"""Begins every entry of an archive's table of contents (APPNOTE.TXT 4.3.12), so there are no more entries than these."""
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ArchiveError(ExplainedError):
    """An archive that holds no notebook that can be read."""


def is_archive(content: bytes) -> bool:
    """Whether the bytes begin as a zip archive does."""
    return content.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def notebook_in(content: bytes, limit: int) -> bytes:
    """The only notebook in the archive, of at most ``limit`` bytes; or :class:`ArchiveError`."""
    if content.count(_ENTRY) > MAX_MEMBERS:
        raise ArchiveError(f"The archive holds more than {MAX_MEMBERS} files.", "Hand in the notebook alone.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            member = _only_notebook(archive)
            with archive.open(member) as file:
                unpacked = file.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, NotImplementedError):
        raise ArchiveError("The archive is broken.", "Pack it again, or hand in the notebook alone.") from None
    if len(unpacked) > limit:
        raise ArchiveError(
            f"The notebook in the archive is larger than {limit // 1_000_000} MB.",
            "Clear its outputs (Edit, Clear Outputs of All Cells) and save it again.",
        )
    return unpacked


def _only_notebook(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    shown = [info for info in archive.infolist() if not _hidden(info.filename)]
    notebooks = [info for info in shown if info.filename.endswith(".ipynb")]
    if len(notebooks) > 1:
        raise ArchiveError(f"The archive holds {len(notebooks)} notebooks.", "Unpack it, and name one of them.")
    if not notebooks:
        inner = any(info.filename.lower().endswith((".zip", ".tar", ".gz", ".7z", ".rar")) for info in shown)
        holds = "another archive" if inner else "no notebook"
        raise ArchiveError(f"The archive holds {holds}.", "Hand in the notebook itself, a file that ends in .ipynb.")
    if notebooks[0].flag_bits & 1:
        raise ArchiveError("The archive is encrypted.", "Pack it without a password.")
    if notebooks[0].compress_type not in _PACKED:
        raise ArchiveError("The archive is packed in an unusual way.", "Pack it as an ordinary zip file.")
    return notebooks[0]


def _hidden(name: str) -> bool:
    """What systems add by themselves: folders of checkpoints, and a Mac's shadow files."""
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in PurePosixPath(name).parts)
