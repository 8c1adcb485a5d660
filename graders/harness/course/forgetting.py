"""Everything that a folder of results knows of one person is removed from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace

from graders.harness.course import answers, journal, settings
from graders.harness.course.marking import ANSWERS
from graders.harness.course.people import match
from graders.harness.course.rules import Extension
from graders.harness.course.store import Store
from graders.harness.data.saving import save
from graders.harness.marks import Student, folder_name


def forget(student: Student, store: Store) -> Iterator[str]:
    """Remove hand-ins, results, feedback, points and entries of one person; what is left that names them, in sentences.

    Gradebooks and reports are to be made anew after that.
    """
    order = store.order()
    mine = {stored.student for stored in store.attempts()}
    people = match(dict.fromkeys(mine, ()), order.roster)
    known = {student, *(one for one in mine if people.entry(one).student.id == student.id)}
    ids, names = {one.id for one in known}, {text for one in known for text in (one.id, one.name) if text}
    if (store.root / ANSWERS).is_file():
        answers.remove(store.root / ANSWERS, ids)
    entries = store.root / journal.FILE
    if entries.is_file():
        lines = entries.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        save("".join(line for line in lines if _about(line) not in ids).encode(), entries)
    for one in ids:
        shutil.rmtree(store.root / "feedback" / folder_name(one), ignore_errors=True)
        for file in (store.root / "gradebooks" / "gradescope").glob(f"*/{folder_name(one)}.json"):
            file.unlink(missing_ok=True)
    # Until here they can be found again, should this be interrupted; and from here on their hand-ins are gone
    for one in ids:
        store.give_up(one)
    roster = replace(order.roster, entries=tuple(e for e in order.roster.entries if e.student.id not in ids))
    strays = tuple(stray for stray in order.strays if not any(name in stray for name in names))
    store.write_order(replace(order, roster=roster, strays=strays))
    store.clear()
    if any(_extends(extension, known) for extension in settings.read(store.root).extensions):
        yield f"{store.root / settings.FILE} gives them an extension: take it out there."
    yield "Files that were handed out, uploaded or copied are not reached: feedback, gradebooks, the zip of hand-ins, backups."


def _extends(extension: Extension, known: set[Student]) -> bool:
    return any(extension.is_for(one, extension.exercise) for one in known)


def _about(line: str) -> str | None:
    try:
        student = json.loads(line).get("student")
    except (ValueError, AttributeError):
        return None
    return student if isinstance(student, str) else None
