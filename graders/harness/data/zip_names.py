"""The names of files in a zip archive whose program did not say in which encoding it wrote them.

Archives say "UTF-8" or nothing (APPNOTE.TXT 4.4.4, bit 11). What nothing is said of is UTF-8 all the same, or the code page
of the computer that packed it. One archive has one encoding, so all of its names are looked at together.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

ENCODINGS = ("utf-8", "cp850", "cp1252", "cp437", "gbk", "shift_jis", "euc_kr", "cp866", "cp1251")
"""What is tried: Windows packs in the code pages of DOS for each country, others in their own."""
_WORD = re.compile(r"[^\W\d_]+")


def encoding_of(names: Iterable[bytes]) -> str:
    """The encoding in which all of the names look most like words. Of equal ones the first in :data:`ENCODINGS`."""
    joined = [name for name in names if not name.isascii()]
    if not joined:
        return "utf-8"
    best, least = "cp437", float("inf")
    for encoding in ENCODINGS:
        try:
            texts = [name.decode(encoding) for name in joined]
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8":  # hardly any other text is UTF-8 by chance
            return encoding
        odd = sum(map(_oddity, texts))
        if odd < least:
            best, least = encoding, odd
    return best


def _oddity(text: str) -> float:
    """How little a name looks like words: signs in place of letters, scripts that are mixed, capitals inside a word."""
    odd = 0.0
    for word in _WORD.findall(text):
        scripts = {_script(letter) for letter in word}
        odd += 2.0 * (len(scripts) - 1)
        odd += sum(1.0 for one, other in pairwise(word) if one.islower() and other.isupper())
        odd += 0.5 * sum(1 for letter in word[1:] if letter.isupper() and not word.isupper())
        odd += sum(_RARE.get(_script(letter), 0.0) for letter in word)
    for sign in text:
        if not sign.isascii() and not sign.isalnum():
            odd += 3.0 if unicodedata.category(sign)[0] in "SC" else 2.0
    return odd


_RARE = {"CYRILLIC": 0.2, "CJK": 0.3, "HANGUL": 0.3, "HIRAGANA": 0.1, "HALFWIDTH": 2.0, "GREEK": 0.5}
"""Odds against a script, for a letter: what is not one of these is Latin, which most names are in, or rarer still."""


def _script(letter: str) -> str:
    script = unicodedata.name(letter, "").partition(" ")[0]
    return "HIRAGANA" if script == "KATAKANA" else script  # the two of Japanese, which stand side by side
