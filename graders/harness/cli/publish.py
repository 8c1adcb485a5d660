"""What people get of a folder of results: feedback for each student, gradebooks, the report for the course."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from graders.harness.course import answers as written
from graders.harness.course.anonymity import Key
from graders.harness.course.likeness import likenesses
from graders.harness.course.marking import ANSWERS, Course, course
from graders.harness.course.provenance import untrained
from graders.harness.course.store import Store
from graders.harness.course.tree import natural
from graders.harness.data.saving import make_folder, put
from graders.harness.data.values import clean
from graders.harness.gradebooks.export import Wanted, export
from graders.harness.marks import Record, folder_name
from graders.harness.report import figures
from graders.harness.report.course import course_page
from graders.harness.report.html import student_page
from graders.harness.report.markdown import student_markdown


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
        made = reveal(made, names)
    to.mkdir(parents=True, exist_ok=True)
    make_folder(to / "feedback")
    report = course_page(made.gradebook, made.answers, likenesses(made.gradebook), untrained(made.gradebook))
    put(clean(report).encode(), to / "report.html")
    pages = {}
    for record in made.gradebook.records:
        folder = to / "feedback" / folder_name(record.student.id)
        make_folder(folder)
        shown = {name: figures.of(grade) for name, grade in record.grades.items()}
        page = pages[record.student.id] = clean(student_page(record, made.gradebook.titles, shown))
        put(page.encode(), folder / "feedback.html")
        put(clean(student_markdown(record, made.gradebook.titles)).encode(), folder / "feedback.md")
        put((json.dumps(_document(record), indent=1) + "\n").encode(), folder / "feedback.json")
    return made, export(made.gradebook, pages, made.order.layout, wanted or Wanted(), to)


def reveal(made: Course, names: Key) -> Course:
    """The course with the names, and the ids, of those whom the key knows."""
    known = names.students
    records = [Record(known.get(r.student.id, r.student), r.grades) for r in made.gradebook.records]
    records.sort(key=lambda record: natural(record.student.shown.casefold()))
    answers = (replace(a, hand_in=known[a.hand_in].id) if a.hand_in in known else a for a in made.answers)
    return replace(made, gradebook=replace(made.gradebook, records=tuple(records)), answers=tuple(answers))


def _document(record: Record) -> dict[str, Any]:
    """A student's grades as data. Points are None where there is no score."""
    return {
        "student": asdict(record.student),
        "score": record.score,
        "max_score": record.of,
        "undecided": record.undecided,
        "exercises": {
            name: {
                "status": grade.status,
                "score": grade.score,
                "max_score": grade.of,
                "undecided": grade.undecided,
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
