"""A student's feedback as one HTML file over all exercises, to be opened from a mail without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from graders.harness.marks import Record
from graders.harness.report import pages
from graders.harness.report.figures import Figure

MAX_BYTES = 1_000_000
"""Of a page. Pictures leave room for more text than a hand-in can cause; should that be wrong, they are left out."""


def student_page(
    record: Record, titles: Mapping[str, str], figures: Mapping[str, Sequence[Figure]] | None = None
) -> str:
    """The page of one student; ``titles`` are those of the gradebook, ``figures`` what there is to see of each exercise."""
    shown = figures or {}
    styles = dict.fromkeys(Markup(figure.style) for some in shown.values() for figure in some if figure.style)
    page = pages.render("student.html", record=record, titles=titles, exhibited=shown, styles=styles)
    if figures and len(page.encode()) > MAX_BYTES:
        return student_page(record, titles)
    return page
