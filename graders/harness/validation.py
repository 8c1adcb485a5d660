"""What is wrong with a lesson, as far as its package alone shows it, without importing a rubric.

What only notebooks and hand-ins show is found out by :mod:`graders.harness.trial`.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import importlib.util
import math
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graders.harness.data.fixtures import NO_FIXTURES
from graders.harness.lesson import Exercise, Lesson, Outline
from graders.harness.rubric_source import UNKNOWN, Check, NoSource, Source, imports, slugs
from graders.harness.run import KINDS
from graders.harness.second_run import HARD_CODED

_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
_SLUG = re.compile(r"misconception(?:\s*:[^=\n]*)?\s*=\s*([^\n]*)")
_TEXT = re.compile(r"""["']([^"'\n]*)["']""")


@dataclass(frozen=True)
class Fault:
    """What is wrong, and what to do about it, a sentence each."""

    problem: str
    fix: str


def faults(lesson: Lesson) -> Iterator[Fault]:
    """All that is found, the first of which is reason enough to refuse the lesson."""
    yield from _names(lesson)
    yield from _places(lesson)
    known: dict[str, Source] = {}
    rubrics: dict[str, Source] = {}
    for name, outline in lesson.outlines.items():
        try:
            rubrics[name] = known[outline.rubric] = Source(outline.rubric, known)
        except NoSource as reason:
            yield Fault(
                f"The rubric {outline.rubric} of {name} is missing: {reason}.",
                "Write it, or mend its name in the lesson.",
            )
    code = _Code(lesson, {source.path for source in rubrics.values()})
    for name, source in rubrics.items():
        yield from _Rubric(lesson, name, lesson.outlines[name], source, code).faults()
    yield from code.faults()
    yield from _watchers(lesson)


def exercise_faults(lesson: Lesson, exercise: Exercise) -> Iterator[Fault]:
    """The same of an exercise that has been imported, so that all is known of it."""
    known: dict[str, Source] = {}
    sources = {name: Source(outline.rubric, known) for name, outline in lesson.outlines.items()}
    code = _Code(lesson, {source.path for source in sources.values()})
    rubric = _Rubric(lesson, exercise.name, lesson.outlines[exercise.name], sources[exercise.name], code)
    fields = {one.name: getattr(exercise, one.name) for one in dataclasses.fields(exercise)}
    fields |= {"others": tuple(map(dict, exercise.others)), "checked_again": tuple(exercise.checked_again)}
    fields["shapes"] = {name: tuple(shaped) for name, shaped in exercise.shapes.items()}
    yield from rubric.of_exercise(fields)
    yield from rubric.of_second_run(fields)


def _names(lesson: Lesson) -> Iterator[Fault]:
    if not _NAME.fullmatch(lesson.name):
        yield Fault(f"A lesson cannot be called {lesson.name!r}.", "Use letters, digits, “_”, “-” and “.”.")
    if not lesson.outlines:
        yield Fault(f"The lesson {lesson.name} has no exercise.", "Name its exercises in `outlines`.")
    for number, name in enumerate(lesson.outlines, start=1):
        if name != f"ex{number}":
            yield Fault(
                f"An exercise of the lesson {lesson.name} is called {name!r}, where ex{number} should be.",
                "Call the exercises ex1, ex2 and so on, in their order.",
            )
            return
    for name in lesson.for_instructors:
        if name not in lesson.outlines:
            yield Fault(
                f"`for_instructors` of the lesson {lesson.name} names {name}, which is no exercise.",
                _there_are(name, lesson.names),
            )


def _places(lesson: Lesson) -> Iterator[Fault]:
    if not lesson.home.is_dir():
        yield Fault(f"The lesson {lesson.name} is to be in {lesson.home}, which is no folder.", "Mend `home`.")
        return
    if lesson.notebooks.is_dir():
        for name in lesson.outlines:
            if not (lesson.notebooks / f"{name}.ipynb").is_file():
                yield Fault(
                    f"There is no assignment {name}.ipynb in {lesson.notebooks}.",
                    f"Write the reference solution, then run: grade --lesson {lesson.name} release",
                )
    else:
        yield Fault(
            f"There is no folder of notebooks {lesson.notebooks}.", "Mend `notebooks`, or make the assignments."
        )
    # Those with a manifest are asked for before each run, and a command of the lesson may be there to make them
    fixtures = lesson.fixtures
    if fixtures != NO_FIXTURES and not fixtures.manifest and not fixtures.root.is_dir():
        yield Fault(f"There is no folder of fixtures {fixtures.root}.", fixtures.remedy)
    for field, said in (("shared", "file"), ("undecisive", "file or folder")):
        for name in getattr(lesson, field):
            place = lesson.home / name
            if not (place.is_file() or (field == "undecisive" and place.is_dir())):
                yield Fault(
                    f"`{field}` of the lesson {lesson.name} names {name}, and there is no such {said} in {lesson.home}.",
                    f"Mend its name, or take it out of `{field}`.",
                )
    if lesson.libraries and not _is_there(lesson.libraries):
        yield Fault(
            f"`libraries` of the lesson {lesson.name} names {lesson.libraries}, and there is no such module.",
            "Mend its name, or leave it out.",
        )


def _is_there(module: str) -> bool:
    with suppress(Exception):  # the package that it is in is imported, and may do anything
        return importlib.util.find_spec(module) is not None
    return False


def _watchers(lesson: Lesson) -> Iterator[Fault]:
    place = lesson.watchers
    if place is None:
        return
    try:
        tree = ast.parse(place.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        yield Fault(f"The watchers {place} cannot be read: {error}.", "Mend the file, or its name in `watchers`.")
        return
    for module in imports(tree):
        if module.partition(".")[0] not in sys.stdlib_module_names:
            yield Fault(
                f"The watchers {place} import {module}, and a notebook's kernel may not have it.",
                "Use the standard library alone there, and look for others' modules in sys.modules.",
            )


class _Code:
    """The lesson's code beside the rubrics: what all checks may use."""

    def __init__(self, lesson: Lesson, rubrics: Collection[Path]) -> None:
        self._lesson = lesson
        apart = [place for place in (lesson.zoo, lesson.solutions) if place]
        self._texts = {
            path: path.read_text("utf-8", errors="replace")
            for path in (lesson.sources if lesson.home.is_dir() else ())
            if path not in rubrics and not any(path.is_relative_to(place) for place in apart)
        }
        self._words = {word for text in self._texts.values() for word in _TEXT.findall(text)}

    def names(self, variable: str) -> bool:
        """Whether a variable is named anywhere."""
        return variable in self._words

    def faults(self) -> Iterator[Fault]:
        """The misconceptions without a sentence; what looks like one is parsed, all else need not be."""
        for path, text in self._texts.items():
            said = {slug for line in _SLUG.findall(text) for slug in _TEXT.findall(line)}
            if said <= self._lesson.misconceptions.keys():
                continue
            with suppress(SyntaxError, ValueError):
                for slug in dict.fromkeys(slugs(ast.parse(text))):
                    yield from _without_sentence(self._lesson, f"In {path.relative_to(self._lesson.home)}", slug)


def _without_sentence(lesson: Lesson, where: str, slug: str) -> Iterator[Fault]:
    if slug not in lesson.misconceptions:
        yield Fault(
            f"{where}, the misconception {slug} is named, and there is no sentence for it.",
            "Add one to `misconceptions` of the lesson. " + _there_are(slug, lesson.misconceptions),
        )


@dataclass(frozen=True)
class _Rubric:
    """A rubric, held against what the lesson says of its exercise."""

    lesson: Lesson
    name: str
    outline: Outline
    source: Source
    code: _Code

    def faults(self) -> Iterator[Fault]:
        """What is wrong with it."""
        exercise = self.source.exercise
        if exercise is None:
            yield Fault(f"The rubric {self.source.module} has no EXERCISE.", "Write there: EXERCISE = Exercise(...)")
            return
        yield from self.of_exercise(exercise)
        checks = self.source.checks
        if not checks:
            yield Fault(
                f"The rubric {self.source.module} has no check.", "Write a function there whose name begins with test_."
            )
            return
        for name, check in checks.items():
            yield from self._check(name, check, checks)
        yield from self._circles(checks)
        yield from self.of_second_run(exercise)
        yield from self._misconceptions()
        points = [given[0] for check in checks.values() for given in check.marks.get("points", ()) if given]
        if all(map(_are_points, points)) and not math.isclose(sum(points), self.outline.points, abs_tol=1e-9):
            yield Fault(
                f"The checks of {self.source.module} have {sum(points):g} points together, and the lesson gives {self.name} "
                f"{self.outline.points:g}.",
                f"Mend the points of a check, or `points` of {self.name} in the lesson.",
            )

    # --- the exercise ---

    def of_exercise(self, exercise: Mapping[str, Any]) -> Iterator[Fault]:
        """What is wrong with the fields of the exercise."""
        of = f"The exercise of {self.source.module}"
        if exercise["name"] not in (self.name, UNKNOWN):
            yield Fault(f"{of} is called {exercise['name']!r}, and {self.name} in the lesson.", f"Call it {self.name}.")
        hand_in, parameters = exercise["hand_in"], exercise["parameters"]
        if isinstance(hand_in, dict):
            yield from self._hand_in(of, hand_in)
        if isinstance(parameters, dict):
            yield from self._parameters(of, exercise, parameters)
        if isinstance(hand_in, dict) and isinstance(exercise["shapes"], dict):
            for name, shaped in exercise["shapes"].items():
                for variable in shaped if isinstance(shaped, tuple) else ():
                    if variable is not UNKNOWN and variable not in hand_in:
                        yield Fault(
                            f"{of} says that {name} shapes {variable}, which is no hand-in variable.",
                            _there_are(variable, hand_in),
                        )

    def _hand_in(self, of: str, hand_in: Mapping[str, Any]) -> Iterator[Fault]:
        words = {*self.source.words()}
        for variable, kind in hand_in.items():
            if not isinstance(variable, str) or not variable.isidentifier():
                yield Fault(f"{of} asks for {variable!r}, which is no name of a variable.", "Mend it in `hand_in`.")
            if isinstance(kind, str) and kind not in KINDS:
                yield Fault(
                    f"{of} asks for {variable} as {kind!r}, which is no kind of hand-in.", _there_are(kind, KINDS)
                )
            # Whoever goes through all of them reads each
            if variable not in words and "EXERCISE.hand_in" not in words and not self.code.names(variable):
                yield Fault(
                    f"{of} asks for {variable}, which no check reads.",
                    f'Read it in a check, hand_in.evidence.value("{variable}"), or do not ask for it.',
                )

    def _parameters(self, of: str, exercise: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[Fault]:
        others = exercise["others"] if isinstance(exercise["others"], tuple) else ()
        named = [("others", name) for other in others if isinstance(other, dict) for name in other]
        for field in ("carried", "shapes"):
            named += [(field, name) for name in exercise[field] or ()] if exercise[field] is not UNKNOWN else []
        named += [("seeds", "SEED")] if exercise["seeds"] else []
        for field, name in dict.fromkeys(named):
            if name is not UNKNOWN and name not in parameters:
                yield Fault(
                    f"{of} has no parameter {name}, and `{field}` sets it or is about it.", _there_are(name, parameters)
                )

    # --- its checks ---

    def _check(self, name: str, check: Check, checks: Mapping[str, Check]) -> Iterator[Fault]:
        of = f"In {self.source.module}, the check {name}"
        if not check.title:
            yield Fault(
                f"{of} has no docstring.", "Its first line is the title that students see; say after it why it matters."
            )
        given = check.marks.get("points", [])
        if len(given) != 1:
            times = f"says {len(given)} times how many points it has" if given else "has no points"
            yield Fault(f"{of} {times}.", "Put one @pytest.mark.points(…) before it, with 0 if a person decides.")
        elif len(given[0]) != 1 or given[0][0] is UNKNOWN or not isinstance(given[0][0], int | float):
            yield Fault(f"{of} has points that are no number.", "Write the number there: @pytest.mark.points(2)")
        elif not _are_points(given[0][0]):
            yield Fault(f"{of} has {given[0][0]:g} points.", "Give it some, or 0 if a person decides.")
        order = [*checks]
        for mark in ("needs", "sees"):
            for other in check.named(mark):
                if other not in checks:
                    yield Fault(f"{of} {mark} {other}, which is no check there.", _there_are(other, checks))
                elif order.index(other) > order.index(name) and not (
                    mark == "needs" and self._leads(other, name, checks)  # which is told below
                ):
                    yield Fault(
                        f"{of} {mark} {other}, which is made after it.", f"Move test_{other} up, before test_{name}."
                    )

    def _circles(self, checks: Mapping[str, Check]) -> Iterator[Fault]:
        told: set[str] = set()
        for name in checks:
            if name not in told and (way := self._leads(name, name, checks)):
                told |= {*way}
                yield Fault(
                    f"In {self.source.module}, checks need each other in a circle: {' → '.join([name, *way])}.",
                    "Take one of them out of `needs`.",
                )

    @staticmethod
    def _leads(start: str, end: str, checks: Mapping[str, Check]) -> list[str]:
        """The checks on the way along needs from one to another, that one included; none if there is no way."""
        ways = [[other] for other in checks[start].named("needs")]
        seen = set[str]()
        for way in ways:  # which grows meanwhile
            if way[-1] == end:
                return way
            if way[-1] in checks and way[-1] not in seen:
                seen.add(way[-1])
                ways += [[*way, other] for other in checks[way[-1]].named("needs")]
        return []

    def of_second_run(self, exercise: Mapping[str, Any]) -> Iterator[Fault]:
        """What is wrong with the second run, as the fields of the exercise and the checks have it."""
        checks = self.source.checks
        of, again = f"The exercise of {self.source.module}", [n for n, c in checks.items() if "again" in c.fixtures]
        if exercise["checked_again"] is not UNKNOWN:
            for name in exercise["checked_again"]:
                if name is not UNKNOWN and name not in checks:
                    yield Fault(f"{of} has {name} checked again, which is no check there.", _there_are(name, checks))
                elif name in again:
                    yield Fault(f"{of} has {name} checked again, which compares the runs.", "Leave it out there.")
        for name in again if exercise["others"] == () else ():
            yield Fault(
                f"In {self.source.module}, the check {name} compares two runs, and there is no second one.",
                "Give the exercise `others`, with other values of its parameters.",
            )
        for name in again[:1]:
            yield from _without_sentence(self.lesson, f"In {self.source.module}, in the check {name}", HARD_CODED)

    def _misconceptions(self) -> Iterator[Fault]:
        for statement in self.source.tree.body:
            where = f"In {self.source.module}"
            if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test_"):
                where += f", in the check {statement.name.removeprefix('test_')}"
            for slug in dict.fromkeys(slugs(statement)):
                yield from _without_sentence(self.lesson, where, slug)


def _are_points(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given) and given >= 0


def _there_are(meant: Any, names: Collection[str]) -> str:
    """What could have been meant."""
    close = difflib.get_close_matches(str(meant), [*names], 1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(names) or 'none'}."
