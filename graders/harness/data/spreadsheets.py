"""CSV files as people's programs save them: with commas, semicolons or tabs, in UTF-8, UTF-16 or a code page of Windows."""

from __future__ import annotations

import codecs
import csv
import io
import re

Row = dict[str, str | None]


class TableError(ValueError):
    """Bytes that are no table; ``row`` is where it ends to be one, counted as spreadsheets do, if that is known."""

    def __init__(self, reason: str, row: int | None = None) -> None:
        super().__init__(reason)
        self.row = row


def rows(content: bytes) -> list[tuple[int, Row]]:
    """The rows below the header, each with its number, the header being 1; :class:`TableError` if there is no telling them."""
    text = _text(content)
    told = re.match(r"sep=(.)\r?\n", text)  # Excel's own first line
    text = text[told.end() :] if told else text
    header = text.partition("\n")[0]
    delimiter = told[1] if told else max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[tuple[int, Row]] = []
    try:
        for row in reader:
            found.append((len(found) + 2 + bool(told), row))
    except csv.Error as error:
        raise TableError(f"{error}", len(found) + 2 + bool(told)) from None
    return found


def _text(content: bytes) -> str:
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        # Where it is said to be UTF-8, it may hold halves of characters, as names of files do
        halves = "surrogateescape" if content.startswith(codecs.BOM_UTF8) else "strict"
        return content.decode("utf-16") if wide else content.decode("utf-8-sig", halves)
    except UnicodeDecodeError:
        if b"\0" in content:
            raise TableError("it is no text") from None
        return content.decode("cp1252", "replace")
