"""A CSV file that a course system exported: single cells are filled, and every other character stays as it was.

The rows that go back have to be those that came, or the system does not know them again. A reader and a writer of CSV
in a row keep what cells mean to them, which is not always what they mean to the system: so cells are kept as written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from graders.harness.data.cells import BOM
from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError

MAX_BYTES = 50_000_000


class SheetError(ExplainedError):
    """A file that is not what the course system exports, or does not fit the gradebook."""


@dataclass
class Sheet:
    """The cells of each row, the header's first, as they are written, and what ends each row."""

    name: str
    rows: list[list[str]]
    ends: list[str]
    delimiter: str
    start: str

    @property
    def header(self) -> list[str]:
        """What the cells of the first row say."""
        return self.values(0)

    def values(self, row: int) -> list[str]:
        """What the cells of a row say."""
        return [unquoted(cell) for cell in self.rows[row]]

    def whole(self, row: int) -> list[str]:
        """What the cells of a row say; :class:`SheetError` unless there are as many as in the header."""
        if len(self.rows[row]) != len(self.rows[0]):
            raise SheetError(
                f"{self.name}, row {row + 1}: there are {len(self.rows[row])} cells, and {len(self.rows[0])} in the header.",
                "Export it again, and give it as it came.",
            )
        return self.values(row)

    def content(self, columns: Iterable[int] | None = None) -> bytes:
        """The file again, of these columns or of all."""
        chosen = None if columns is None else list(columns)
        lines = []
        for row, end in zip(self.rows, self.ends, strict=True):
            cells = row if chosen is None else [row[column] for column in chosen if column < len(row)]
            lines.append(self.delimiter.join(cells) + end)
        return (self.start + "".join(lines)).encode()


def unquoted(cell: str) -> str:
    """What a cell says, without the quotation marks that it is written with."""
    if not cell.startswith('"'):
        return cell
    quoted, _, rest = cell[1:].rpartition('"')
    return quoted.replace('""', '"') + rest


def read(path: Path, delimiters: str = ",;", backslash: bool = False) -> Sheet:
    """Read a file, delimited by the first of ``delimiters`` that its header has; or raise :class:`SheetError`.

    With ``backslash`` a quotation mark after a backslash ends no cell, which is how PHP reads and writes CSV.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SheetError(f"{path} cannot be read: {error.strerror}.", "Check its path.") from None
    if len(content) > MAX_BYTES:
        raise SheetError(f"{path.name} is larger than {MAX_BYTES // 1_000_000} MB.", "Export it again.")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = ""
    if not text.strip():
        raise SheetError(
            f"{path.name} is no CSV file in UTF-8.", "Export it again, or have the spreadsheet save it as CSV UTF-8."
        )
    start = BOM if text.startswith(BOM) else ""
    text = text.removeprefix(BOM)
    inside = r'(?:[^"\\]++|\\.|"")' if backslash else r'(?:[^"]++|"")'
    quoted = rf'"{inside}*+"'
    header = re.match(rf'(?s)(?:{quoted}|[^"{delimiters}\r\n])*+([{delimiters}])', text)
    if not header:
        known = " nor ".join({",": "commas", ";": "semicolons", "\t": "tabs"}[one] for one in delimiters)
        raise SheetError(f"The header of {path.name} has neither {known}.", "Export it again, as CSV.")
    delimiter = header[1]
    cell = re.compile(rf'(?s)({quoted}[^{delimiter}\r\n]*+|(?!")[^{delimiter}\r\n]*+)({delimiter}|\r\n|\n|\r|\Z)')
    rows: list[list[str]] = []
    ends: list[str] = []
    row: list[str] = []
    place = 0
    while place < len(text) or row:
        found = cell.match(text, place)
        if not found:
            cause = one_line(text[place : place + 40], 40)
            problem = f"{path.name}, row {len(rows) + 1}: a quotation mark is not closed, before {cause!r}."
            raise SheetError(problem, "Export it again, and give it as it came.")
        row.append(found[1])
        place = found.end()
        if found[2] != delimiter:
            rows.append(row)
            ends.append(found[2])
            row = []
    return Sheet(path.name, rows, ends, delimiter, start)
