"""From a notebook to its result: run it, then check what it left behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from graders.harness import exhibits, lessons, origin
from graders.harness.checking import Checked, CheckLimits, run_checks, titles
from graders.harness.contents import Contents
from graders.harness.data import documents, files
from graders.harness.data.claim import claimed
from graders.harness.data.documents import DamagedError
from graders.harness.data.files import named_by, with_blobs
from graders.harness.data.saving import make_folder, put
from graders.harness.errors import ExplainedError
from graders.harness.hand_in import HandIn
from graders.harness.imports import importing
from graders.harness.lesson import Exercise
from graders.harness.machine.packages import blame
from graders.harness.profile import Profile
from graders.harness.result import Result, load
from graders.harness.run import cores, imports, isolations
from graders.harness.run.beside import modules
from graders.harness.run.evidence import Evidence
from graders.harness.run.interpreter import Interpreter
from graders.harness.run.limits import Limits
from graders.harness.run.memory_watch import machine_memory
from graders.harness.run.notebook import read as read_notebook
from graders.harness.run.remarks import remarks
from graders.harness.run.run import Progress, run
from graders.harness.run.sandbox import Isolation
from graders.harness.run.unconfined import NoIsolation
from graders.harness.second_run import Again

EARLIER = "earlier"
"""The folder, beside a result, of those that it had before it was checked again; each is called after its id."""
EARLIER_KEPT = 10


class GradingError(ExplainedError):
    """What was given cannot be graded."""


@dataclass(frozen=True)
class Setting:
    """Where a notebook is run, with which models and data, and what it may take: seconds, and those of :class:`Limits`; and what
    checking it may take.

    The slowest reference solution takes about 100 s on two cores. Without ``isolation`` it runs as any program does,
    which is for one's own notebooks. Modules among ``own_files`` are known to be students' own, and not packages.
    """

    isolation: Isolation | None = None
    limits: Limits = field(default_factory=Limits)
    time_limit: float = 1800.0
    grace: float = 60.0
    profile: Profile = field(default_factory=lambda: lessons.meant().standard)
    checking: CheckLimits = field(default_factory=CheckLimits)
    own_files: tuple[str, ...] = ()

    @property
    def python(self) -> Interpreter | None:
        """The Python that notebooks run in, if it is another one than this."""
        return self.isolation.python if self.isolation else None


def setting(
    isolation: str,
    profile: Profile | None = None,
    check_limit: float | None = None,
    python: Interpreter | None = None,
) -> Setting:
    """The setting for one's own notebooks ("none"), or for other people's ("bubblewrap").

    Those have at most three quarters of the machine's memory, for both runs together, and 16 GiB. ``check_limit`` are the
    seconds for a check, if not those of :data:`graders.harness.checking.CHECK_SECONDS`. Notebooks run in ``python``, if it is
    another one than this.
    """
    checking = CheckLimits(check_limit) if check_limit else CheckLimits()
    lesson = lessons.meant()
    profile = profile or lesson.standard
    kept_in = isolations.isolation(
        isolation, (lesson.fixtures.root,) if profile.small else (), python, lesson.shared_files
    )
    if isolation == "none":
        return Setting(kept_in, profile=profile, checking=checking)
    limits = Limits(memory=min(16 << 30, machine_memory() * 3 // 4))
    return Setting(kept_in, limits, profile=profile, checking=checking)


@dataclass(frozen=True)
class Watcher:
    """Who is told how far grading has come."""

    on_run: Callable[[Progress], None] = lambda progress: None
    on_check: Callable[[str], None] = lambda title: None


def execute(
    name: str,
    notebook: Path,
    contents: Contents,
    folder: Path,
    parameters: Mapping[str, Any],
    watcher: Watcher | None = None,
    other: int | None = None,
    within: Setting | None = None,
    twice: bool = True,
    timings: dict[str, float] | None = None,
    beside: bytes = b"",
) -> HandIn:
    """Run a notebook on the grading fixtures and return what it left behind in ``folder / "run"``.

    Where the exercise has other parameters, it is run with those as well, unless not ``twice``, in ``folder / "again"``:
    with the set number ``other``, or else with one that the notebook's content picks, so that the same hand-in always meets
    the same one. ``timings`` gets the seconds that each run took. ``beside`` is an archive of the files that stand beside it.
    """
    lesson = lessons.meant()
    exercise = lesson.exercise(name)
    lesson.fixtures.ensure_there()
    within = within or Setting()
    _ensure_known(exercise, within.profile)
    own = within.profile.parameters.get(name, {})
    given = {**exercise.parameters, **_own_seed(exercise, contents), **own, **parameters}
    left_out = contents.left_out(name)
    if left_out is not None:
        # What it needs of the other exercises runs with their parameters
        given = {**{key: value for one in lesson.exercises() for key, value in one.parameters.items()}, **given}
    lesson.ensure_gradable(within.profile, exercise, given)
    runs = {"run": given}
    if exercise.others and twice:
        if other is None:
            other = hashlib.sha256(notebook.read_bytes()).digest()[0]
        runs["again"] = {**given, **exercise.others[other % len(exercise.others)]}
    # One after the other where they would share a GPU's memory, or where two models of true size may be more than the
    # machine has
    workers = cores.at_a_time(len(runs)) if within.profile.small and _on_cpu(given.get("DEVICE", "cpu")) else 1

    limits = within.limits  # of both runs, if they go on at once
    if limits.memory is not None:
        limits = replace(limits, memory=limits.memory // workers)

    def run_one(place: str) -> HandIn:
        started = time.monotonic()
        evidence = run(
            notebook,
            parameters=runs[place],
            hand_in=dict(exercise.hand_in),
            run_folder=folder / place,
            time_limit=within.time_limit,
            grace=within.grace,
            on_progress=watcher.on_run if watcher and place == "run" else lambda progress: None,
            limits=limits,
            isolation=within.isolation,
            environment=cores.sharing(workers),
            left_out=left_out or (),
            beside=beside,
            watchers=lesson.watching,
            readable=sorted({with_blobs(path) for path in named_by(list(runs[place].values()))}),
        )
        lesson.fixtures.note(runs[place], folder / place)
        origin.note(within.python, folder / place)
        if timings is not None:
            timings[place] = time.monotonic() - started
        return HandIn(evidence, runs[place], profile=within.profile)

    # Checks need them, and while the notebook runs there is time
    libraries = threading.Thread(target=_import_libraries, daemon=True)
    libraries.start()
    with ThreadPoolExecutor(workers) as pool:
        first, *again = pool.map(run_one, runs)
    libraries.join()  # such a library cannot be imported in two places at once
    lesson.save_profile(within.profile, folder)
    return replace(first, again=again[0] if again else None)


def _import_libraries() -> None:
    with contextlib.suppress(Exception), importing():  # what is wrong with one is said where it is needed
        lessons.meant().import_libraries()


def _ensure_known(exercise: Exercise, profile: Profile) -> None:
    """:class:`GradingError` if a profile names parameters that an exercise does not have."""
    known = (*exercise.parameters, "OUTPUT_DIR", *lessons.meant().further_parameters)
    if unknown := [name for name in profile.parameters.get(exercise.name, {}) if name not in known]:
        raise GradingError(
            f"{exercise.name} has no parameter {unknown[0]}.",
            f"Mend it in the profile. There are: {', '.join(exercise.parameters)}.",
        )


def _own_seed(exercise: Exercise, contents: Contents) -> dict[str, int]:
    """The seed that the notebook's code picks: to save it again, or to change a text, changes nothing."""
    if not exercise.seeds:
        return {}
    digest = hashlib.sha256("\0".join(cell.text for cell in contents.cells).encode()).digest()
    return {"SEED": exercise.seeds[digest[0] % len(exercise.seeds)]}


def _on_cpu(device: str) -> bool:
    """Whether notebooks will run on the CPU, guessed without waiting seconds for torch to be imported."""
    return device == "cpu" or (device == "auto" and shutil.which("nvidia-smi") is None)


def check(
    name: str,
    hand_in: HandIn,
    watcher: Watcher | None = None,
    only: Collection[str] = (),
    limits: CheckLimits | None = None,
) -> tuple[Result, tuple[str, ...]]:
    """Check what a run left behind, or ``only`` some of it; returns the result and the log of grader faults."""
    lesson = lessons.meant()
    module = lesson.rubric(name)
    assert module.__file__ is not None
    path = Path(module.__file__)
    on_check = (watcher or Watcher()).on_check
    # Before any check, so that none of them meets what a hand-in made of it
    counted = [lesson.sightings(one.evidence.read()) for one in (hand_in, hand_in.again) if one]
    made_of = origin.origin(hand_in)
    given, hand_in = hand_in.parameters, hand_in.as_set(module.EXERCISE)
    again = None
    faults: tuple[str, ...] = ()
    timings: dict[str, float] = {}
    if hand_in.again:
        second = run_checks(
            path,
            hand_in.again.as_set(module.EXERCISE, carrying=False),
            on_check,
            only=module.EXERCISE.checked_again,
            limits=limits,
        )
        again, faults = _again(given, hand_in.again, second), second.faults
        timings |= {f"check again {check}": seconds for check, seconds in second.seconds.items()}
    checked = run_checks(path, hand_in, on_check, again=again, only=only, limits=limits)
    timings = {f"check {check}": seconds for check, seconds in checked.seconds.items()} | timings
    run_report = asdict(hand_in.evidence.run) | {
        **counted[0],
        "remarks": list(remarks(hand_in.evidence, {*module.EXERCISE.parameters}, hand_in.own)),
    }
    result = Result(name, run_report, checked.checks, timings=timings, origin=made_of)
    return result, (*checked.faults, *faults)


def _again(given: Mapping[str, Any], second: HandIn, checked: Checked) -> Again:
    changed = [key for key, value in second.parameters.items() if given.get(key) != value]
    run = second.evidence.run
    error = None if run.ended == "completed" else run.reason
    return Again(changed, error, {check.id: check for check in checked.checks if check.worth})


def grade(
    name: str,
    notebook: Path,
    folder: Path,
    parameters: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
    other: int | None = None,
    within: Setting | None = None,
    only: Collection[str] = (),
    beside: bytes = b"",
) -> Result:
    """Run and check a notebook; ``folder`` keeps the runs, the result and the log of faults.

    ``beside`` is an archive of the files that stand beside it, as :mod:`graders.harness.run.beside` makes it.
    With ``only`` some checks, there is no second run unless they look at it. What ``folder`` held before is kept until then,
    so that what cannot be graded, or is interrupted, costs nothing. Raises :class:`ClaimedError` if another process grades
    into ``folder`` at the moment.
    """
    contents = Contents(read_notebook(notebook), lessons.meant().exercises())
    _look(name, contents, within or Setting(), beside)
    twice = not only or bool({*only} & {*titles(lessons.meant().rubric(name), "again")})
    with claimed(folder.parent / f".partial-{hashlib.sha256(os.fsencode(folder.name)).hexdigest()[:12]}") as partial:
        timings: dict[str, float] = {}
        hand_in = execute(
            name, notebook, contents, partial, parameters or {}, watcher, other, within, twice, timings, beside
        )
        if error := hand_in.evidence.run.error:
            blame(error.ename, error.evalue, within.python if within else None)
        result, faults = check(name, hand_in, watcher, only, (within or Setting()).checking)
        result = replace(result, timings={**timings, **result.timings})
        shown, more = _exhibits(hand_in, result)
        result = keep(result, (*faults, *more), partial, shown)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return result


def _look(name: str, contents: Contents, within: Setting, beside: bytes) -> None:
    """What is to be known before a notebook runs: that it is for this exercise, and that its imports are there.

    Raises :class:`NotebookError` and :class:`MissingImports`.
    """
    contents.ensure_meant(name)
    left_out = contents.left_out(name) or ()
    cells = [cell for cell in contents.cells if cell.id not in left_out]
    sandboxed = within.isolation is not None and within.isolation.name != NoIsolation.name
    if missing := imports.missing(cells, within.python, sandboxed, {*within.own_files, *modules(beside)}):
        raise imports.MissingImports(missing, imports.advice(missing[0].name, within.python))


def rescore(
    name: str,
    folder: Path,
    watcher: Watcher | None = None,
    only: Collection[str] = (),
    limits: CheckLimits | None = None,
    *,
    dry: bool = False,
) -> Result:
    """Check the runs in ``folder`` again, with the graders as they are now, without running anything.

    The result that it had is kept in :data:`EARLIER` there if the new one says something else. If ``dry``, nothing is written.
    """
    there = _runs(folder)
    if not there:
        raise GradingError(f"There is no run in {folder}.", f"Grade a notebook first: grade {name} NOTEBOOK")
    if lost := lost_runs(folder):
        raise GradingError(f"The folder {lost.pop()} is missing in {folder}.", "Grade the notebook again.")
    stored = [Evidence(folder / place) for place in there]
    lesson = lessons.meant()
    profile = lesson.profile_in(folder)
    for evidence in stored:
        lesson.ensure_gradable(profile, lesson.exercise(name), evidence.parameters)
        lesson.fixtures.ensure_same(evidence.parameters, evidence.folder)
    first, *others = [HandIn(evidence, evidence.parameters, profile=profile) for evidence in stored]
    hand_in = replace(first, again=others[0] if others else None)
    result, faults = check(name, hand_in, watcher, only, limits)
    if not dry:
        shown, more = _exhibits(hand_in, result)
        _keep_earlier(folder, result.id)
        result = keep(result, (*faults, *more), folder, shown)
    return result


def _runs(folder: Path) -> list[str]:
    return [place for place in ("run", "again") if (folder / place / "run.json").is_file()]


def lost_runs(folder: Path) -> set[str]:
    """Which runs are not there of those that the result in ``folder`` was made of, as far as that is known.

    What is left answers another question.
    """
    needed = {"run"}
    with contextlib.suppress(DamagedError):
        needed |= {*load(folder / "result.json").origin.get("parameters", {})}
    return needed - {*_runs(folder)}


def _exhibits(hand_in: HandIn, result: Result) -> tuple[list[dict[str, bytes]], list[str]]:
    """The files of the exhibits, and a log of what failed: that costs an exhibit, and never the result."""
    shown: dict[str, dict[str, bytes]] = {}
    faults = []
    made = lessons.meant().exhibits(result.exercise, hand_in, result)
    while len(shown) < exhibits.MAX_EXHIBITS:
        try:
            exhibit = next(made)
            shown[exhibit.name] = exhibits.pack(exhibit)
        except StopIteration:
            break
        except Exception:
            faults.append(f"exhibits: {traceback.format_exc()}")
            if len(faults) == exhibits.MAX_EXHIBITS:
                break
    return [*shown.values()], faults


def _keep_earlier(folder: Path, new: str) -> None:
    """Put a copy of the result that is there beside it, unless its id is the ``new`` one; of many the oldest go."""
    try:
        before, content = load(folder / "result.json").id, files.read_file(folder, "result.json", documents.MAX_BYTES)
    except (DamagedError, files.Refused, OSError):
        return
    if before != new:
        make_folder(folder / EARLIER)
        put(content, folder / EARLIER / f"{before}.json")
        for old in sorted((folder / EARLIER).glob("*.json"), key=lambda path: path.stat().st_mtime_ns)[:-EARLIER_KEPT]:
            old.unlink()


def ensure_checks(name: str, only: Collection[str]) -> None:
    """:class:`GradingError` if one of ``only`` is no check of the exercise."""
    known = titles(lessons.meant().rubric(name))
    if unknown := [check for check in only if check not in known]:
        raise GradingError(f"There is no check {unknown[0]!r} in {name}.", f"There are: {', '.join(known)}.")


def keep(result: Result, faults: Sequence[str], folder: Path, shown: Iterable[Mapping[str, bytes]] = ()) -> Result:
    """Write the result, its exhibits and, if there are any, the log of grader faults; returns what was written."""
    result = replace(result, exhibits=exhibits.write(shown, folder))
    result.save(folder / "result.json")
    exhibits.clear(folder, result.exhibits)
    log = folder / "grader-faults.log"
    log.unlink(missing_ok=True)
    if faults:
        log.write_text("\n".join(faults), encoding="utf-8")
    return result
