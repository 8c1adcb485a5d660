"""A lesson, and its exercises: what a lesson is made of.

With :mod:`graders.harness.hand_in`, what checks look at, and :mod:`graders.harness.rubric`, by which they say what they see,
this is all that a lesson may use of the harness, and what those stand on: ``errors``, ``exhibits``, ``finding``, ``measured``,
``profile`` and ``data``.
"""

from __future__ import annotations

import importlib
import os
import tomllib
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from graders.harness.data import documents
from graders.harness.data.fixtures import NO_FIXTURES, Fixtures
from graders.harness.errors import ExplainedError
from graders.harness.exhibits import Drawer, Exhibit
from graders.harness.finding import Finding
from graders.harness.profile import FILE, Profile

if TYPE_CHECKING:
    from graders.harness.hand_in import Evidence, HandIn
    from graders.harness.result import Result
    from graders.harness.run.evidence import SetAgain

INTERFACE = 1
"""The version of what is here: a lesson that was written for another one is refused."""


class NoExercise(ExplainedError):
    """An exercise that the lesson does not have."""


class ProfileError(ExplainedError):
    """A profile that cannot be used."""


@dataclass(frozen=True)
class Texts:
    """Texts of up to so many characters, as what a parameter may hold."""

    longest: int

    def __contains__(self, value: object) -> bool:
        """Whether it is one of them."""
        return isinstance(value, str) and 0 < len(value) <= self.longest


@dataclass(frozen=True)
class Between:
    """Numbers from ``low`` to ``high``, as what a parameter may hold."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        """Whether it is one of them."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Exercise:
    """What an exercise asks for and how its notebook is run.

    ``hand_in`` maps each variable that the notebook leaves behind to how it is kept: "value", "tensor", "pictures",
    "module" or "optimizer". ``parameters`` are what the harness injects for grading. ``others`` are changes of them;
    with one of these, which the notebook's content picks, the same notebook is run a second time, and held to the checks
    named in ``checked_again``, or to all. Its code picks one of the ``seeds``, so that the same hand-in
    always meets the same one, and what is alike in different hand-ins has not come out of trainings from the same.
    ``carried`` are the parameters whose values, where a notebook sets them again to one of those, it is judged for. A
    parameter may shape some of the hand-in variables alone, which ``shapes`` names; set again after those were filled, it
    changes nothing.
    """

    name: str
    title: str
    hand_in: Mapping[str, str]
    parameters: Mapping[str, Any]
    others: Sequence[Mapping[str, Any]] = ()
    checked_again: Sequence[str] = ()
    seeds: Sequence[int] = ()
    carried: Mapping[str, Container[Any]] = field(default_factory=dict)
    shapes: Mapping[str, Collection[str]] = field(default_factory=dict)

    def set_again(self, evidence: Evidence) -> dict[str, SetAgain]:
        """The parameters that a notebook set again before it filled what they shape."""
        return {
            name: again
            for name, again in evidence.set_again.items()
            if name in self.parameters
            and any(evidence.set_before(name, shaped) for shaped in self.shapes.get(name, self.hand_in))
        }


@dataclass(frozen=True)
class Outline:
    """What is known of an exercise without its rubric, which takes seconds to import.

    ``rubric`` is the module with its ``EXERCISE`` and its checks, which have so many ``points`` together. Grading it takes at
    most so many bytes of memory and of disk, and about so many ``seconds``, with both its runs.
    """

    rubric: str
    points: float
    memory: int
    disk: int
    seconds: float


@dataclass(frozen=True)
class Alike:
    """Hand-ins that are more alike than independent work is: a reason to look, and never a verdict.

    ``whose`` are some of the keys that the hand-ins were given by. ``kind`` names in a few words how they are alike, such as
    "same adapter"; what is of one kind is listed together. ``what`` says in a sentence what is alike, ``measure`` how much,
    such as "every number, rank 4 and 16".
    """

    whose: tuple[Any, ...]
    kind: str
    what: str
    measure: str


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Everything about a lesson. What is a method here has a default, which a lesson with more to say overrides.

    ``outlines`` are its exercises by name, which is ex1, ex2 and so on, in their order. ``notebooks`` is the folder of the
    assignments, each named after its exercise; ``solutions`` that of the reference solutions, and ``zoo`` that of the modules
    with hand-ins whose verdicts are known, where they are on this machine. ``interface`` is the :data:`INTERFACE` that it was
    written for. ``misconceptions`` maps the slugs that checks name to sentences.

    ``home`` is the folder of its code, a package. ``shared`` are files in it that notebooks may import, and a sandbox shows no
    others; ``undecisive`` are files and folders in it that no verdict depends on. ``libraries`` is a module that imports what
    checks need and takes long; ``distributions`` are packages on whose versions a run depends.

    ``watchers`` is a file whose code runs in the kernel of a notebook, in no package, and imports the standard library alone. It
    may have a tuple ``MODULES`` and these functions. What they raise ends nothing; `grade lesson check` tells of it.

    * ``watch(tools)`` is called before the first cell, after each, and when one of ``MODULES`` has been imported, which are the
      names of libraries' modules: it puts in what notes from there on what they do. ``tools`` is
      :mod:`graders.harness.run.kernel.tools`.
    * ``after_cell()``, ``after_backward()`` and ``after_step(optimizer)`` are called then, the last two for PyTorch.
    * ``seen(tools)`` gives what was noted until now, a mapping of JSON, which :meth:`sightings` reads.

    Profiles may set ``further_parameters`` as well as an exercise's own. ``for_instructors`` are the exercises that only a
    package of the instructors' can decide.
    """

    name: str
    version: str
    title: str
    home: Path
    outlines: Mapping[str, Outline]
    notebooks: Path
    fixtures: Fixtures = NO_FIXTURES
    misconceptions: Mapping[str, str] = field(default_factory=dict)
    interface: int = INTERFACE
    solutions: Path | None = None
    zoo: Path | None = None
    watchers: Path | None = None
    libraries: str = ""
    distributions: tuple[str, ...] = ("numpy",)
    further_parameters: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    undecisive: tuple[str, ...] = ()
    for_instructors: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its exercises, in their order."""
        return tuple(self.outlines)

    def rubric(self, name: str) -> ModuleType:
        """The module with the checks of an exercise; :class:`NoExercise` if there is none of this name."""
        if name not in self.outlines:
            raise NoExercise(f"There is no exercise {name!r}.", f"Exercises are: {', '.join(self.names)}.")
        return importlib.import_module(self.outlines[name].rubric)

    def exercise(self, name: str) -> Exercise:
        """An exercise by its name; :class:`NoExercise` if there is none."""
        exercise: Exercise = self.rubric(name).EXERCISE
        return exercise

    def exercises(self) -> list[Exercise]:
        """All exercises, in their order."""
        return [self.exercise(name) for name in self.names]

    @property
    def sources(self) -> Iterator[Path]:
        """Its code that verdicts depend on: all that lies in its ``home`` and is not ``undecisive``."""
        found = self.home.rglob("*.py")
        return (path for path in found if not any(path.is_relative_to(self.home / one) for one in self.undecisive))

    @property
    def shared_files(self) -> dict[str, Path]:
        """The files that notebooks may import, by their paths from where modules are looked for."""
        return {f"{self.home.name}/{name}": self.home / name for name in self.shared}

    def import_libraries(self) -> None:
        """Import what its checks need, which takes long and is done once."""
        if self.libraries:
            importlib.import_module(self.libraries)

    # --- profiles: other models and data -----------------------------------------------------------------------

    @cached_property
    def standard(self) -> Profile:
        """What notebooks are graded with if nothing else is asked for."""
        return Profile()

    def profile_options(self) -> Sequence[Callable[[Any], Any]]:
        """Options of `grade ex1` beside `--profile`, as decorators; what they are given is handed to :meth:`read_profile`."""
        return ()

    def read_profile(self, file: Path | None, **options: Any) -> tuple[Profile, str | None]:
        """The profile in a TOML file, and the Python that it says notebooks run in, if it does.

        It is a table of parameters for each exercise, such as ``[ex1]``, and ``python``. Raises :class:`ProfileError`.
        """
        if file is None:
            return self.standard, None
        document = read_toml(file)
        python = document.pop("python", None)
        if unknown := [name for name in document if name not in self.outlines]:
            raise ProfileError(
                f"{file} says {unknown[0]}, which means nothing.", f"It may say python, {', '.join(self.names)}."
            )
        return replace(self.standard, parameters=document), python

    def save_profile(self, profile: Profile, folder: Path) -> None:
        """Write it beside the runs in ``folder``, unless it is the lesson's own."""
        if profile != self.standard:
            documents.write(asdict(profile), folder / FILE)

    def profile_in(self, folder: Path) -> Profile:
        """The profile that the runs in ``folder`` were graded with."""
        if not os.path.lexists(folder / FILE):
            return self.standard
        return documents.read(folder, FILE, type(self.standard).of, "Grade it again: with --profile, as before.")

    def ensure_gradable(self, profile: Profile, exercise: Exercise, parameters: Mapping[str, Any]) -> None:
        """:class:`ExplainedError` if an exercise cannot be run with these parameters, and judged with this profile."""

    def ensure_decides(self, profile: Profile, exercises: Iterable[str], *, calibrated: bool = False) -> None:
        """:class:`ExplainedError` if what decides these exercises is not here; ``calibrated`` asks for thresholds, too."""

    # --- what its watchers saw ---------------------------------------------------------------------------------

    @property
    def watching(self) -> str:
        """The code of its watchers, "" if it has none."""
        return self.watchers.read_text(encoding="utf-8") if self.watchers else ""

    def sightings(self, evidence: Evidence) -> Mapping[str, int]:
        """Read what its watchers noted in a run, so that no check meets what a hand-in made of it.

        What comes of it are counts, by names, that are told of the run in the result.
        """
        return {}

    # --- what there is to see -----------------------------------------------------------------------------------

    def exhibits(self, exercise: str, hand_in: HandIn, result: Result) -> Iterator[Exhibit]:
        """What there is to see of a hand-in beside its marks, in the order of the page, made once it is checked.

        ``result`` holds what the checks measured for it.
        """
        return iter(())

    def drawers(self) -> Mapping[str, Drawer]:
        """What draws its own diagrams, by the names that :class:`graders.harness.exhibits.Diagram` has for them."""
        return {}

    # --- a course ----------------------------------------------------------------------------------------------

    def alike(self, exercise: str, runs: Mapping[Any, Evidence], profiles: Mapping[Any, Profile]) -> Iterator[Alike]:
        """What came out of many students' runs more alike than independent work does; their code is compared anyway."""
        return iter(())

    def advice(self, run: Mapping[str, Any]) -> Iterator[str]:
        """Sentences for the student on how a run went, as :class:`graders.harness.result.Result` has it."""
        return iter(())

    # --- a machine ---------------------------------------------------------------------------------------------

    def before_run(self, exercise: str | None, parameters: Mapping[str, Any], isolation: str) -> Iterator[Finding]:
        """What can be told at once of a run of an exercise, or of all, with these parameters."""
        return iter(())

    def extra_memory(self, exercise: str, parameters: Mapping[str, Any]) -> int:
        """Bytes that a run takes with these parameters beyond its outline's."""
        return 0

    def examine(self, *, network: bool) -> Iterator[tuple[str, Iterator[Finding]]]:
        """What `grade doctor` looks at for this lesson: titles, and what is found out when it is asked for."""
        return iter(())

    # --- the command line --------------------------------------------------------------------------------------

    def commands(self) -> Sequence[Any]:
        """Commands of its own, of click."""
        return ()

    def for_students(self) -> Sequence[str]:
        """The fixtures that notebooks point at, by their paths: what `grade start` copies."""
        return sorted(path.name for path in self.fixtures.root.iterdir()) if self.fixtures.root.is_dir() else ()


def read_toml(path: Path) -> dict[str, Any]:
    """The document in a file of TOML; :class:`ProfileError` if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}.", "Give the file of a profile.") from None
    except ValueError as error:  # of TOML, or of UTF-8
        raise ProfileError(f"{path} is no TOML file: {error}.", "Mend it there; README shows a profile.") from None
