"""Stored runs that are checked again, on the terminal: whose points change, by which checks, and whether the rubric did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from graders.harness.cli.batch_progress import counted, named, progress
from graders.harness.cli.exits import Exit
from graders.harness.course.batch import Rescored, rescore
from graders.harness.course.store import Store
from graders.harness.course.workers import Crew
from graders.harness.data.values import one_line
from graders.harness.marks import Status
from graders.harness.report.wording import points, score
from graders.harness.result import Result

NAMED = 8
"""Checks that are named in a line; of more the number is said."""


def watch(store: Store, crew: Crew, console: Console, *, dry: bool = False) -> Exit:
    """Check all stored runs again, and show whose points change, by which checks; if ``dry``, nothing is written.

    Returns how a command ends that does no more than this: final if no total changes.
    """
    total = sum(stored.status is Status.GRADED for stored in store.attempts())
    changes = Counter[str]()
    checked: list[tuple[Result, Result]] = []
    failed = False
    with progress(console) as shown:
        task = shown.add_task("checked", total=total, left="")
        for one in rescore(store, crew, dry=dry):
            if one.before and one.after:
                checked.append((one.before, one.after))
            failed = failed or (one.before is not None and one.after is None)
            for check, line in _changes(one):
                shown.console.print(line)
                changes[check] += 1
            shown.update(task, advance=1)
    console.print(f"{counted(total, 'run')} checked again; {counted(sum(changes.values()), 'change')} of points.")
    for text in (_rubrics(checked), _totals(checked, changes)):
        console.print(Text(text))
    if failed:
        return Exit.FAULT
    return Exit.OPEN if any(score(before) != score(after) for before, after in checked) else Exit.FINAL


def _changes(one: Rescored) -> Iterator[tuple[str, Text]]:
    """Each check whose points change, with a line on it; or why there is no new result."""
    if one.after is None:
        kept = "keeps its result" if one.before else "is left as it is"
        yield "", Text(f"{named(one.stored)}: {kept}: {one.problem}", "magenta")
        return
    old = {check.id: check for check in one.before.checks} if one.before else {}
    new = {check.id: check for check in one.after.checks}
    for name in dict.fromkeys((*old, *new)):
        was, now = old.get(name), new.get(name)
        before, after = (points(check) if check else "" for check in (was, now))
        if before != after:
            why = now.found if now else "there is no such check any more"
            total = f"{score(one.before) if one.before else 'no score'} to {score(one.after)}"
            line = f"{named(one.stored)}: {total}: {name} {before or 0} to {after or 0}: {one_line(why, 300)}"
            yield name, Text(line, "yellow")


def _rubrics(checked: Sequence[tuple[Result, Result]]) -> str:
    """Whether results were made with another rubric than that of now, and with which."""
    others = Counter(
        _lesson(before.origin.get("made_by", {})) for before, after in checked if _rubric(before) != _rubric(after)
    )
    if not others:
        return "The rubric is the one that these results were made with."
    listed = ", ".join(f"{count} by {lesson}" for lesson, count in others.items())
    made = f"Another rubric made {sum(others.values())} of {counted(len(checked), 'result')}: {listed}."
    return f"{made} That of now is {_lesson(checked[0][1].origin['made_by'])}."


def _rubric(result: Result) -> object:
    return result.origin.get("made_by", {}).get("rubric")


def _lesson(made_by: Mapping[str, object]) -> str:
    """Which lesson made a result, by name, version and the beginning of its rubric's digest."""
    name, version, rubric = (made_by.get(key) for key in ("lesson", "lesson_version", "rubric"))
    return one_line(f"{name} {version} ({str(rubric)[:12]})", 60) if rubric else "one that was not recorded"


def _totals(checked: Sequence[tuple[Result, Result]], changes: Counter[str]) -> str:
    """How many totals change, in which direction, and by which checks."""
    totals = [(before, after) for before, after in checked if score(before) != score(after)]
    if not totals:
        return f"None of {counted(len(checked), 'total')} changes."
    fall = sum(after.score < before.score for before, after in totals)
    rise = sum(after.score > before.score for before, after in totals)
    other = len(totals) - fall - rise
    ways = [
        f"{count} {way}" for count, way in ((fall, "lower"), (rise, "higher"), (other, "undecided otherwise")) if count
    ]
    checks = [f"{check} in {count}" for check, count in changes.most_common() if check]
    more = [f"{len(checks) - NAMED} more"] if len(checks) > NAMED else []
    because = ", ".join(checks[:NAMED] + more)
    return f"{len(totals)} of {counted(len(checked), 'total')} change: {', '.join(ways)}; {because}."
