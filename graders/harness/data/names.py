"""What people's names for their files say of exercises and of themselves."""

from __future__ import annotations

import re
import unicodedata

_WORDS = (
    "ex", "exercise", "exo", "exercice", "ejercicio", "ejer", "esercizio", "esercitazione", "exercício", "exercicio",
    "assignment", "asgn", "hw", "homework", "lab", "pset", "task", "übung", "uebung", "ueb", "üb", "übungsblatt",
    "aufgabe", "aufg", "blatt", "hausaufgabe", "tp", "td", "devoir", "práctica", "practica", "tarea", "compito",
    "opgave", "opdracht", "oefening", "uppgift", "oppgave", "øvelse", "harjoitus", "zadanie", "ćwiczenie", "zad", "ödev",
    "задание", "лаб", "作业", "练习", "課題", "과제",
)  # fmt: skip
"""What courses call an exercise, before its number."""
_EXERCISE = re.compile(rf"(?i)(?:^|(?<=[\W_]))(?:{'|'.join(map(re.escape, _WORDS))})[\s_-]*0*(\d+)(?![0-9])")

_VERSION = re.compile(
    r"(?i)[\W_]*(?:(?:\(\d+\)|copy(?:[\W_]*of\b)?|kopie(?:[\W_]*von\b)?|copie(?:[\W_]*de\b)?|copia(?:[\W_]*d[ei]\b)?|kopia?"
    r"|копия|副本|final|fertig|neu|new|latest|version|v(?=\d)|(?<!\d)(?=\d{1,2}(?!\d)))(?:[\W_]*+\d{1,2}(?!\d))?[\W_]*+)+"
)
"""What people and their computers add to the name of another version of a file."""
_NOBODY = re.compile(r"\(\d+\)|[vV]\d+|-")
"""Of these words those that are no part of anybody's name."""
_COPY_OF = re.compile(r"(?i)^(?:copy of|kopie von|copie de|copia d[ei])[\W_]+")


def exercises_named(name: str) -> list[str]:
    """The exercises that the name of a file or folder names, such as "ex3"."""
    return [f"ex{number}" for number in _EXERCISE.findall(unicodedata.normalize("NFC", name))]


def named_student(name: str) -> str:
    """What the name of a folder, or that of a file without its suffix, says besides the exercise; nothing if that is all."""
    return _EXERCISE.sub("", unicodedata.normalize("NFC", name)).strip(" _-.")


def unversioned(name: str) -> tuple[str, bool]:
    """What the name of a file says of the student without what may be its version, "" if nothing may; and whether it must be.

    It must be where the exercise stands between, as in `ada_ex3_final`, or where nobody is called so, as in `ada (1)`.
    """
    parts = _EXERCISE.sub("\0", unicodedata.normalize("NFC", name)).split("\0")
    said = [part for part in (part.strip(" _-.") for part in parts) if part]
    if len(said) > 1 and is_version(said[-1]):
        return " ".join(said[:-1]), True
    if len(said) == 1 and (original := _COPY_OF.sub("", said[0])) != said[0]:
        return original, True
    words = re.split(r"[\s_-]+|(?=\()", " ".join(said))
    for number in range(1, len(words)):
        if is_version(" ".join(words[number:])):
            return " ".join(words[:number]), all(_NOBODY.fullmatch(word) for word in words[number:] if word)
    return "", False


def is_version(said: str) -> bool:
    """Whether it may say which version a file is, and not whose, such as "final" and "(1)"; Neu and New are surnames, too."""
    return _VERSION.fullmatch(said) is not None
