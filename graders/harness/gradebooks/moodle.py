"""Moodle: scores go into an assignment's grading worksheet, and feedback into a zip archive beside it.

What Moodle makes of them is in https://github.com/moodle/moodle, mod/assign/feedback/offline/importgradeslib.php,
mod/assign/feedback/offline/locallib.php and mod/assign/feedback/file/importziplib.php.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from graders.harness.data.cells import number
from graders.harness.data.values import clean, one_line, shown
from graders.harness.gradebooks.merging import Merged, fitting, listed, pair, positive, renamed, scores, unplaced
from graders.harness.gradebooks.sheet import Sheet, SheetError, read
from graders.harness.marks import Gradebook, Student

HEADERS = {
    "Grade": "Last modified (grade)",
    "Bewertung": "Zuletzt geändert (Bewertung)",
    "Note": "Dernière modification (note)",
    "Calificación": "Última modificación (calificación)",
    "Valutazione": "Ultima modifica (valutazione)",
}
"""What the column of grades, and that of when they were given, are called in English, German, French, Spanish, Italian."""
_PARTICIPANT = re.compile(r"(?s).*?(\d+)\s*")
_FOLDER = re.compile(r"[^_/\0]+_\d+_assignsubmission_[a-z]+_?")


def merge(path: Path, gradebook: Gradebook, exercise: str, *, grade: str = "", scale: bool = False) -> Merged:
    """The worksheet ``path`` of the assignment that is ``exercise``, with our scores in its column of grades.

    ``grade`` is the header of that column, for languages other than those of :data:`HEADERS`. With ``scale`` points are
    converted where the assignment is worth others than the exercise. A cell stays as it is for a student who has no score,
    is exempt, or has handed in nothing (see :func:`scores`): an empty one is no grade to Moodle. All else stays as it is,
    and so do the identifiers and the dates without which Moodle does not import; it passes over grades that somebody
    changed there after the download.

    Raises :class:`SheetError` for a file that is no such worksheet, or lacks what Moodle needs, and for points that do not
    fit: Moodle would silently pass over a grade above the assignment's maximum.
    """
    if exercise not in gradebook.exercises:
        raise SheetError(
            f"There is no exercise {exercise!r} in the gradebook.", f"It has {listed(gradebook.exercises)}."
        )
    sheet = read(path, ",;\t", backslash=True)
    column = _grades(sheet, grade)
    lines = [i for i in range(1, len(sheet.rows)) if sheet.rows[i] != [""]]
    rows = [_student(sheet, i) for i in lines]
    worth = _worth(sheet, column, lines)
    students = [record.in_its_system for record in gradebook.records]
    pairs = pair(rows, students)
    provisional, undecided = [], []
    for row, index in pairs.items():
        record = gradebook.records[index]
        if points := scores([record.grades[exercise]]):
            score = fitting(*points, worth, f"{sheet.name} is for {exercise}, which", "", scale)
            sheet.rows[lines[row]][column] = number(score)  # with a point, which Moodle reads in every language
            provisional += [] if record.grades[exercise].final else [(record.student, exercise)]
        elif record.grades[exercise].undecided:
            undecided.append((record.student, exercise))
    return Merged(
        sheet.content(),
        {exercise: sheet.header[column]},
        unplaced(students, pairs),
        tuple(sheet.values(lines[i])[0] for i in range(len(rows)) if i not in pairs),
        provisional=tuple(provisional),
        undecided=tuple(undecided),
        renamed=renamed(rows, students, pairs),
    )


def _grades(sheet: Sheet, named: str) -> int:
    """The column of grades."""
    header = sheet.header
    grade = named or next((name for name in HEADERS if name in header), "")
    if header.count(grade) != 1:
        raise SheetError(
            f"{sheet.name} has no column {named or 'of grades by a name that is known'!r}; it has {listed(header)}.",
            "Say what the column of grades is called there. "
            "In Moodle, download it from the assignment's submissions, with the offline grading worksheet switched on.",
        )
    modified = HEADERS.get(grade, "")
    if modified and modified not in header:
        raise SheetError(
            f"{sheet.name} has no column {modified!r}, and Moodle takes no worksheet without it.",
            "Download it again, and leave its columns as they are.",
        )
    return header.index(grade)


def _student(sheet: Sheet, row: int) -> Student:
    """Moodle numbers the participants of an assignment: "Participant 123" hands in a folder with that number."""
    values = sheet.whole(row)
    identifier = _PARTICIPANT.fullmatch(values[0])
    if not identifier:
        raise SheetError(
            f"{sheet.name}, row {row + 1}: {shown(values[0])} is no identifier of Moodle's, such as 'Participant 123'.",
            "Download the worksheet again: the identifiers are its first column.",
        )
    return Student(identifier[1], values[1])


def _worth(sheet: Sheet, column: int, lines: list[int]) -> float:
    """The points of the assignment: Moodle writes them into every row, after the grade."""
    said = {sheet.values(i)[column + 1] if column + 1 < len(sheet.rows[0]) else "" for i in lines}
    points = positive(said.pop()) if len(said) == 1 else None
    if points is None:
        raise SheetError(
            f"{sheet.name} does not say after each grade how many points there are.",
            "Grade the assignment in points, not by a scale; download the worksheet again, and leave its columns as they are.",
        )
    return points


def folder(student: Student) -> str:
    """What Moodle calls a student's folder; it goes by the number, and other underscores than its own lead it astray.

    Some programs take a backslash in an archive for the end of a folder's name, and a colon for that of a drive's.
    """
    name = one_line(student.name or "Participant", 80).translate(dict.fromkeys(map(ord, "_\\:/"), " "))
    return f"{name}_{student.id}_assignsubmission_file"


def is_folder(name: str) -> bool:
    """Whether a folder is one that Moodle knows again."""
    return _FOLDER.fullmatch(name) is not None


def feedback_zip(folders: Mapping[str, str], pages: Mapping[str, bytes]) -> bytes:
    """A zip archive to upload as feedback files: for each student's page a file ``feedback.html`` in their folder.

    Both mappings are by student id. ``folders`` are those of the zip of submissions, such as
    `Ada Lovelace_123_assignsubmission_file`: Moodle goes by the number in it. Who handed in nothing has none, and is left out.
    Raises :class:`SheetError` for a folder of another kind.
    """
    archive = io.BytesIO()
    with ZipFile(archive, "w", ZIP_DEFLATED) as file:
        for student, page in pages.items():
            if student not in folders:
                continue
            if not is_folder(folders[student]):
                raise SheetError(
                    f"{shown(folders[student])} is no folder of a zip of submissions from Moodle.",
                    "Download all submissions in folders, and give that zip archive.",
                )
            entry = ZipInfo(f"{clean(folders[student])}/feedback.html")  # no time, so that the same is the same again
            entry.compress_type, entry.external_attr = ZIP_DEFLATED, 0o644 << 16
            file.writestr(entry, page)
    return archive.getvalue()
