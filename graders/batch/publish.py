"""What people get of a folder of results: feedback for each student, gradebooks, the report for the course."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from graders import answers as written
from graders.batch.anonymity import Key, reveal
from graders.batch.course import ANSWERS, Course, course
from graders.batch.exports import Wanted, export
from graders.batch.gradebook import Record
from graders.batch.likeness import likenesses
from graders.batch.store import Store, folder_name
from graders.feedback import exhibits
from graders.feedback.course import course_page
from graders.feedback.html import student_page
from graders.feedback.markdown import student_markdown


def publish(
    store: Store, to: Path, references: Path | None = None, wanted: Wanted | None = None, names: Key | None = None
) -> tuple[Course, list[str]]:
    """Write all of it to a folder, that of the results or another; returns also what the instructor should know of it.

    With ``names``, in place of the pseudonyms that the results have. Files are written beside their places and renamed.
    """
    made = course(store, references)
    if made.answers:
        written.write(list(made.answers), store.root / ANSWERS)
    if names:
        made = replace(made, gradebook=reveal(made.gradebook, names))
    to.mkdir(parents=True, exist_ok=True)
    _write(to / "report.html", course_page(made.gradebook, made.answers, likenesses(made.gradebook)))
    pages = {}
    for record in made.gradebook.records:
        folder = to / "feedback" / folder_name(record.student.id)
        folder.mkdir(parents=True, exist_ok=True)
        shown = {name: exhibits.of(grade) for name, grade in record.grades.items()}
        pages[record.student.id] = student_page(record, made.gradebook.titles, shown)
        _write(folder / "feedback.html", pages[record.student.id])
        _write(folder / "feedback.md", student_markdown(record, made.gradebook.titles))
        _write(folder / "feedback.json", json.dumps(_document(record), indent=1) + "\n")
    return made, export(made.gradebook, pages, made.order.layout, wanted or Wanted(), to)


def _document(record: Record) -> dict[str, Any]:
    """A student's grades as data. Points are None where there is no score."""
    return {
        "student": asdict(record.student),
        "score": record.score,
        "max_score": record.of,
        "exercises": {
            name: {
                "status": grade.status,
                "score": grade.score,
                "max_score": grade.of,
                "written": grade.written,
                "max_written": grade.max_written,
                "late": grade.late,
                "penalty": grade.penalty,
                "final": grade.final,
                "note": grade.note,
                "result": json.loads(grade.result.to_json()) if grade.result else None,
            }
            for name, grade in record.grades.items()
        },
    }


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.partial")
    beside.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(beside, path)
