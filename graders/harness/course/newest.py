"""Which of several notebooks that came at once is the newest, and what tells that."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nbformat import NotebookNode

from graders.harness.errors import ExplainedError
from graders.harness.release import untouched
from graders.harness.run.notebook import parse

if TYPE_CHECKING:
    from graders.harness.course.discovery import Attempt

AT_ONCE = timedelta(minutes=1)
"""Files that were changed within this time were unpacked or copied then, and it does not tell which is the newest."""


def in_order(attempts: Iterable[Attempt], content: Callable[[Attempt], bytes]) -> list[Attempt]:
    """From the first attempt to the last; of what came at once the newest is the last."""
    together: dict[tuple[str, str, datetime | None], list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        together[attempt.student.id, attempt.exercise, attempt.submitted].append(attempt)
    found = [attempt for those in together.values() for attempt in _at_once(those, content)]
    return sorted(found, key=lambda attempt: attempt.submitted or datetime.min.replace(tzinfo=UTC))


def _at_once(those: list[Attempt], content: Callable[[Attempt], bytes]) -> list[Attempt]:
    """What came at once, and last of all the newest notebook of it, which knows the others and what told that it is the last.

    One in which nothing was filled in is older than any that was worked on.
    """
    whole = [attempt for attempt in those if attempt.exercise and not attempt.problem]
    if len(whole) < 2:
        return sorted(those, key=lambda attempt: attempt in whole)
    read = [(attempt, _read(attempt, content)) for attempt in whole]
    whole = [attempt for attempt, notebook in read if notebook is not None] or whole
    blank = [attempt for attempt, notebook in read if notebook is not None and untouched(notebook, attempt.exercise)]
    ordered, told_by = _ordered(whole)
    if ordered[-1] in blank and len(blank) < len(whole):
        worked, _ = _ordered([attempt for attempt in whole if attempt not in blank])
        ordered, told_by = [*(attempt for attempt in ordered if attempt in blank), *worked], "work"
    first = [attempt for attempt in those if attempt not in whole]
    return [*first, *(knowing(ordered, told_by) if len(ordered) > 1 else ordered)]


def knowing(ordered: Sequence[Attempt], told_by: str) -> list[Attempt]:
    """The attempts, of which the last one knows the others and what told that it is the last."""
    *others, last = ordered
    names = tuple(_named(other, last) for other in others)
    return [*(replace(other, others=(), told_by="") for other in others), replace(last, others=names, told_by=told_by)]


def _named(other: Attempt, last: Attempt) -> str:
    """What a file is called beside another one, which may be of a group while this is not, or the other way round."""
    if other.group == last.group:
        return other.file
    return f"{other.file} ({f'of {other.group}' if other.group else 'their own'})"


def _ordered(whole: list[Attempt]) -> tuple[list[Attempt], str]:
    """The newest last, and what told it: "time", "upload" or "name". What Jupyter names a copy is one that was put aside."""
    ordered = sorted(whole, key=lambda attempt: (not re.search(r"-Copy\d+\.ipynb$", attempt.file), attempt.upload))
    if len({attempt.upload for attempt in whole}) > 1:
        return ordered, "upload"
    # The files of two archives were dated by two clocks
    clocks = {attempt.member and attempt.path for attempt in whole}
    times = sorted(attempt.changed for attempt in whole if attempt.changed)
    if len(clocks) == 1 and len(times) == len(whole) > 1 and times[-1] - times[-2] >= AT_ONCE:
        return sorted(ordered, key=lambda attempt: attempt.changed == times[-1]), "time"
    return ordered, "name"


def _read(attempt: Attempt, content: Callable[[Attempt], bytes]) -> NotebookNode | None:
    with suppress(ExplainedError):
        return parse(content(attempt))
    return None
