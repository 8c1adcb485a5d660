"""A notebook in a zip archive, as course systems pack them: read in memory, so that no member is ever unpacked to a path."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from graders.harness.errors import ExplainedError

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
    archive = Archive(content)
    return archive.read(_only_notebook(archive.files), limit)


class Archive:
    """A zip archive on the disk or in memory. Nothing of it is ever unpacked to a path.

    ``files`` are its files in their order, without hidden ones. Raises :class:`ArchiveError` if it cannot be read.
    """

    def __init__(self, content: bytes | Path) -> None:
        if isinstance(content, bytes) and content.count(_ENTRY) > MAX_MEMBERS:
            raise ArchiveError(f"The archive holds more than {MAX_MEMBERS} files.", "Hand in the notebook alone.")
        with _told():
            archive = zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content)
        self._archive = archive
        # Not is_dir(), which fails for a name that is empty
        self._members = {name: info for info in archive.infolist() if (name := _name(info)) and not name.endswith("/")}
        self.files = [name for name in self._members if not hidden(name)]

    def read(self, name: str, limit: int) -> bytes:
        """What is in one of the files, of at most ``limit`` bytes; or :class:`ArchiveError`."""
        info = self._members[name]
        if info.flag_bits & 1:
            raise ArchiveError("The archive is encrypted.", "Pack it without a password.")
        if info.compress_type not in _PACKED:
            raise ArchiveError("The archive is packed in an unusual way.", "Pack it as an ordinary zip file.")
        with _told(), self._archive.open(info) as file:
            unpacked = file.read(limit + 1)
        if len(unpacked) > limit:
            raise ArchiveError(
                f"The notebook in the archive is larger than {limit // 1_000_000} MB.",
                "Clear its outputs (Edit, Clear Outputs of All Cells) and save it again.",
            )
        return unpacked


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, NotImplementedError):
        raise ArchiveError("The archive is broken.", "Pack it again, or hand in the notebook alone.") from None


def _name(info: zipfile.ZipInfo) -> str:
    """The name of a member, with "/" between its parts. Many programs write UTF-8 and do not say so."""
    name = info.filename
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _only_notebook(files: list[str]) -> str:
    notebooks = [name for name in files if name.endswith(".ipynb")]
    if len(notebooks) > 1:
        raise ArchiveError(f"The archive holds {len(notebooks)} notebooks.", "Unpack it, and name one of them.")
    if not notebooks:
        inner = any(name.lower().endswith((".zip", ".tar", ".gz", ".7z", ".rar")) for name in files)
        holds = "another archive" if inner else "no notebook"
        raise ArchiveError(f"The archive holds {holds}.", "Hand in the notebook itself, a file that ends in .ipynb.")
    return notebooks[0]


def hidden(name: str) -> bool:
    """Whether systems add it by themselves: folders of checkpoints, and a Mac's shadow files."""
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in PurePosixPath(name).parts)
