"""What stands in the cells of a CSV file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

BOM = "\ufeff"
"""At the beginning of a file it tells Excel that this is UTF-8."""
_HIDDEN = re.compile("^[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")
_STARTERS = "=+-@＝＋－＠"
"""A formula begins with one of them; Excel takes the wide ones, too, where people write with wide characters."""


def defused(text: str) -> str:
    """Text that no spreadsheet takes for a formula, not even one that expects other delimiters than there are.

    An apostrophe goes before what would begin one, as spreadsheets do it themselves. Where a spreadsheet that splits at
    semicolons, tabs or line breaks would begin a cell, inside of the text, it is a space.
    See https://owasp.org/www-community/attacks/CSV_Injection.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(rf"(?<=[;\t\n])(?=[{re.escape(_STARTERS)}])", " ", text)
    # Nor may it begin behind what nobody sees, which some programs drop as they read
    return (
        "'" + text
        if text.startswith(("\t", "\n")) or _HIDDEN.sub("", text, count=1).startswith((*_STARTERS,))
        else text
    )


def number(points: float, mark: str = ".") -> str:
    """Points in at most two decimals, such as 3 or 17.25, with ``mark`` for a decimal point."""
    return f"{points:.2f}".rstrip("0").rstrip(".").replace(".", mark)


def csv_file(rows: Iterable[Iterable[str]], start: str = "", errors: str = "replace") -> bytes:
    """A CSV file in UTF-8 that begins with ``start``. The cells are written as they are: defuse those from outside.

    What becomes of half of a character, which UTF-8 cannot hold, is up to ``errors``, as for :meth:`str.encode`.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return (start + text.getvalue()).encode(errors=errors)
