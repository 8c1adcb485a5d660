"""A notebook in a zip archive, as course systems pack them: read in memory, so that no member is ever unpacked to a path."""

from __future__ import annotations

import io
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from graders.harness.data.file_kinds import archive_kind
from graders.harness.data.zip_names import encoding_of
from graders.harness.errors import ExplainedError

MAX_MEMBERS = 10_000
"""Files in an archive."""
_ENTRY = b"PK\x01\x02"
"""Begins every entry of an archive's table of contents (APPNOTE.TXT 4.3.12), so there are no more entries than these."""
ZIP_EPOCH = 1980
"""The year of what has no date in an archive."""
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ArchiveError(ExplainedError):
    """An archive that holds no notebook that can be read."""


class TooLargeError(ArchiveError):
    """A file in an archive is larger than it may be."""


def is_archive(content: bytes) -> bool:
    """Whether the bytes begin as a zip archive does."""
    return content.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def notebook_in(content: bytes, limit: int) -> bytes:
    """The only notebook in the archive, of at most ``limit`` bytes; or :class:`ArchiveError`."""
    archive = Archive(content)
    return archive.read(_only_notebook(archive.files), limit)


class Archive:
    """A zip archive on the disk or in memory. Nothing of it is ever unpacked to a path.

    ``files`` are its files in their order, without hidden ones; ``left_out`` are those of one name, of which the last
    counts, and in the instructor's ``own`` those whose names lead out of it, each with what is wrong. Raises
    :class:`ArchiveError` if it cannot be read and, unless it is their ``own``, if it holds more than :data:`MAX_MEMBERS`.
    """

    def __init__(self, content: bytes | Path, *, own: bool = False) -> None:
        if not own and isinstance(content, bytes) and content.count(_ENTRY) > MAX_MEMBERS:
            raise ArchiveError(f"The archive holds more than {MAX_MEMBERS} files.", "Hand in the notebook alone.")
        with _told():
            archive = zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content)
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        self.left_out: list[tuple[str, str]] = []
        for name, info in _named(archive.infolist()):
            # Not is_dir(), which fails for a name that is empty
            if not name or name.endswith("/") or hidden(name):
                continue
            if own and (name.startswith("/") or name[1:3] == ":/" or ".." in name.split("/")):
                self.left_out.append((name, "its name leads out of the archive"))
                continue
            if name in self._members:
                self.left_out.append((name, "the archive holds another file of this name, and the last one counts"))
            self._members[name] = info
        self.files = list(self._members)

    def changed(self, name: str) -> datetime | None:
        """When one of the files was last changed, by the clock of whoever packed it; None if it is not said."""
        try:
            when = datetime(*self._members[name].date_time, tzinfo=UTC)
        except ValueError:
            return None
        return when if when.year > ZIP_EPOCH else None

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
            raise TooLargeError(
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


def _named(members: list[zipfile.ZipInfo]) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """The members by their names, with "/" between the parts and letters with their accents in one piece."""
    # zipfile reads as code page 437 what does not say that it is UTF-8
    raw = {id(info): info.orig_filename.encode("cp437", "replace") for info in members if not info.flag_bits & 0x800}
    encoding = encoding_of(raw.values())
    for info in members:
        name = raw[id(info)].decode(encoding, "replace") if id(info) in raw else info.orig_filename
        name = name.partition("\0")[0].replace("\\", "/")
        yield unicodedata.normalize("NFC", name), info


def _only_notebook(files: list[str]) -> str:
    notebooks = [name for name in files if name.endswith(".ipynb")]
    if len(notebooks) > 1:
        raise ArchiveError(f"The archive holds {len(notebooks)} notebooks.", "Unpack it, and name one of them.")
    if not notebooks:
        if kind := archive_kind(files):
            raise ArchiveError(f"The file {kind.says}.", kind.fix)
        inner = any(name.lower().endswith((".zip", ".tar", ".gz", ".7z", ".rar")) for name in files)
        holds = "another archive" if inner else "no notebook"
        raise ArchiveError(f"The archive holds {holds}.", "Hand in the notebook itself, a file that ends in .ipynb.")
    return notebooks[0]


def hidden(name: str) -> bool:
    """Whether systems add it by themselves: folders of checkpoints, and a Mac's shadow files."""
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in PurePosixPath(name).parts)
