"""A student's feedback as one HTML file over all exercises, to be opened from a mail without a network."""

from __future__ import annotations

from collections.abc import Mapping

from graders.harness.marks import Record
from graders.harness.report import pages
from graders.harness.report.exhibits import Exhibits

MAX_BYTES = 1_000_000
"""Of a page. Pictures leave room for more text than a hand-in can cause; should that be wrong, they are left out."""


def student_page(record: Record, titles: Mapping[str, str], exhibits: Mapping[str, Exhibits] | None = None) -> str:
    """The page of one student; ``titles`` are those of the gradebook, ``exhibits`` what each exercise's run left to see."""
    page = pages.render("student.html", record=record, titles=titles, exhibits=exhibits or {}, nothing=Exhibits())
    if exhibits and len(page.encode()) > MAX_BYTES:
        return student_page(record, titles)
    return page
