"""A batch: everybody's attempts are graded in parallel, and what the machine may have broken is tried once more alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace

from pebble import ProcessExpired

from graders.harness.course.discovery import Attempt, HandIns
from graders.harness.course.newest import knowing
from graders.harness.course.once import Done
from graders.harness.course.rules import Rules
from graders.harness.course.store import Store
from graders.harness.course.stored import Stored
from graders.harness.course.workers import Crew, Handled, Workers, working
from graders.harness.data.documents import DamagedError
from graders.harness.data.saving import DiskFullError
from graders.harness.errors import ExplainedError
from graders.harness.marks import Status
from graders.harness.result import Result


@dataclass(frozen=True)
class Finished:
    """An attempt of which something has become; ``done`` is what had to be done for it, None if nothing could be."""

    stored: Stored
    done: Done | None


@dataclass(frozen=True)
class SetAside:
    """An attempt that will be tried once more, alone, and why."""

    stored: Stored
    problem: str


@dataclass(frozen=True)
class Tested:
    """The sandbox holds what it promises."""


def deposit(hand_ins: HandIns, rules: Rules, store: Store) -> list[Stored]:
    """Keep all attempts in the store, and return those that have to be graded: of each student and exercise, the last.

    All of them are returned where the best one counts.
    """
    kept: dict[tuple[str, str], list[Stored]] = {}
    hopeless: set[Stored] = set()
    times = Counter((attempt.student.id, attempt.exercise) for attempt in hand_ins.attempts)
    for attempt in _as_kept(hand_ins, store):
        content = files = b""
        whose = attempt.student.id, attempt.exercise
        if not attempt.problem:
            try:
                content = hand_ins.content(attempt)
                files = hand_ins.beside(attempt, content)
            except ExplainedError as error:
                attempt = replace(attempt, problem=error.problem)
        before = kept.get(whose, [])[-1:]
        stored = store.deposit(attempt, content, files, after=before[0] if before else None, alone=times[whose] == 1)
        if attempt.problem:
            if stored.status is None:
                stored = stored.concluded(Status.REFUSED, attempt.problem, "Hand in the notebook itself.")
                store.update(stored)
            hopeless.add(stored)
        kept.setdefault(whose, []).append(stored)
    chosen = [attempts if rules.attempts == "best" else attempts[-1:] for attempts in kept.values()]
    todo = [stored.set_damage_aside() for attempts in chosen for stored in attempts if stored not in hopeless]
    for stored in todo:
        store.update(stored)
    return todo


def _as_kept(hand_ins: HandIns, store: Store) -> list[Attempt]:
    """The attempts. Where only names tell which of several notebooks is the newest, and all are kept, it is the one from before:
    another unpacking may have lost the files' times.
    """
    attempts = [*hand_ins.attempts]
    for place, last in enumerate(hand_ins.attempts):
        if last.told_by == "name":
            first = place - len(last.others)
            those = attempts[first : place + 1]
            known = [store.newest(attempt, _content(hand_ins, attempt)) for attempt in those]
            numbers = {stored.number: attempt for stored, attempt in zip(known, those, strict=True) if stored}
            if len(numbers) == len(those):
                told_by = next(stored.told_by for stored in known if stored and stored.number == max(numbers))
                attempts[first : place + 1] = knowing(
                    [numbers[number] for number in sorted(numbers)], told_by or "name"
                )
    return attempts


def _content(hand_ins: HandIns, attempt: Attempt) -> bytes:
    with suppress(ExplainedError):
        return hand_ins.content(attempt)
    return b""


def grade(todo: Sequence[Stored], store: Store, crew: Crew) -> Iterator[Finished | SetAside | Tested]:
    """Put the sandbox to the test, then grade what is to be done, side by side. What has been graded before is not again.

    Raises :class:`DiskFullError` when nothing can be written any more; all that was finished is kept. Raises
    :class:`PromiseError` for a sandbox that does not hold what it promises.
    """
    aside: list[Stored] = []
    with working(crew) as workers:
        if crew.sandboxed:
            workers.insist()
            yield Tested()
        for stored, verdict in _graded(todo, workers):
            known = verdict.done is Done.KEPT and stored.status is not None and not verdict.fault
            if verdict.doubtful and not known:
                aside.append(stored)
                yield SetAside(stored, verdict.problem or "it did not end as it should")
            else:
                yield _conclude(stored, verdict, store)
    for stored in aside:
        with working(crew.alone) as workers:  # a fresh one for each: the last may have left a broken GPU
            for again, verdict in _graded([stored], workers, again=True):
                yield _conclude(again, verdict, store)


@dataclass(frozen=True)
class Rescored:
    """A stored run that was checked again: its result before and after, or why there is no new one."""

    stored: Stored
    before: Result | None
    after: Result | None
    problem: str = ""


def rescore(store: Store, crew: Crew, *, dry: bool = False) -> Iterator[Rescored]:
    """Check every stored run again, side by side. Where that fails, or if it is ``dry``, the result that is there stays."""
    before = {}
    for stored in store.attempts():
        try:
            if result := stored.result:
                before[stored] = result
        except DamagedError as error:
            yield Rescored(stored, None, None, error.problem)
    aside: list[Stored] = []
    with working(crew, running=False) as workers:
        for one in _checked(before, workers, dry):
            if one.after is None or one.after.faulty:
                aside.append(one.stored)
            else:
                yield one
    for stored in aside:  # perhaps for want of memory or time, which there is alone
        with working(crew.alone, running=False) as workers:
            yield from _checked({stored: before[stored]}, workers, dry)


def _checked(before: Mapping[Stored, Result | None], workers: Workers, dry: bool) -> Iterator[Rescored]:
    futures: dict[Future[Result], Stored] = {workers.check(s.exercise, s.graded, dry): s for s in before}
    for future in as_completed(futures):
        stored = futures[future]
        try:
            after = future.result()
        except DiskFullError:
            raise
        except ExplainedError as error:
            yield Rescored(stored, before[stored], None, error.problem)
        except Exception as error:
            yield Rescored(stored, before[stored], None, f"the graders failed: {type(error).__name__}: {error}")
        else:
            yield Rescored(stored, before[stored], after)


def _graded(todo: Sequence[Stored], workers: Workers, again: bool = False) -> Iterator[tuple[Stored, Handled]]:
    futures: dict[Future[Handled], Stored] = {
        workers.grade(stored.exercise, stored.notebook, stored.graded, again): stored for stored in todo
    }
    for future in as_completed(futures):
        yield futures[future], _verdict(future)


def _verdict(future: Future[Handled]) -> Handled:
    problem, fix = (
        "",
        "Run the same command again, with fewer --jobs; if it stays, report it with what GRADE_DEBUG=1 says.",
    )
    try:
        return future.result()
    except DiskFullError:
        raise
    except ProcessExpired as error:
        problem = f"The process that graded it died (exit status {error.exitcode})."
    except Exception as error:
        problem = f"The graders failed ({type(error).__name__}: {error})."
    return Handled(Status.TROUBLE, None, problem, fix, doubtful=True)


def _conclude(stored: Stored, verdict: Handled, store: Store) -> Finished:
    if verdict.done is not Done.KEPT or stored.status is not verdict.status:
        stored = stored.concluded(verdict.status, verdict.problem, verdict.fix, verdict.missing)
        store.update(stored)
    return Finished(stored, verdict.done)
