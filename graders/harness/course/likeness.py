"""Likeness: hand-ins that are more alike than independent work is, for a person to look at."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graders.harness import lessons
from graders.harness.marks import Gradebook, Student
from graders.harness.run.evidence import Evidence
from graders.harness.run.notebook import PARAMETERS, has_tag, parse


@dataclass(frozen=True)
class Likeness:
    """Students whose hand-ins for an exercise are alike, in words as :class:`graders.harness.lesson.Alike` has them."""

    kind: str
    students: tuple[Student, ...]
    exercise: str
    what: str
    measure: str


def likenesses(gradebook: Gradebook) -> list[Likeness]:
    """Hand-ins for the same exercise that are alike: in their code, or in what the lesson compares.

    Notebooks whose code is the assignment's are left out, and hand-ins of which no run is kept any more.
    What a group handed in together is one work. Those of most students come first.
    """
    lesson, found = lessons.meant(), list[Likeness]()
    for name in gradebook.exercises:
        runs = {
            record.student: Evidence(folder / "run")
            for record in gradebook.records
            if (folder := record.grades[name].folder) and record.grades[name].result and (folder / "run").is_dir()
        }
        found += _same_code(name, runs)
        profiles = {student: lesson.profile_in(evidence.folder.parent) for student, evidence in runs.items()}
        found += [
            Likeness(alike.kind, alike.whose, name, alike.what, alike.measure)
            for alike in lesson.alike(name, runs, profiles)
        ]
    groups = {(r.student, name): grade.group for r in gradebook.records for name, grade in r.grades.items()}
    found = [
        likeness for likeness in found if not _of_one_group({groups[s, likeness.exercise] for s in likeness.students})
    ]
    return sorted(found, key=lambda likeness: -len(likeness.students))


def _of_one_group(groups: set[str]) -> bool:
    return len(groups) == 1 and groups != {""}


def _same_code(exercise: str, runs: Mapping[Student, Evidence]) -> Iterator[Likeness]:
    assigned = _code((lessons.meant().notebooks / f"{exercise}.ipynb").read_bytes())
    groups: dict[str, list[Student]] = defaultdict(list)
    for student, evidence in runs.items():
        groups[_code((evidence.folder / "notebook.ipynb").read_bytes())].append(student)
    for code, students in groups.items():
        if len(students) > 1 and code != assigned:
            what = (
                "The notebooks' code is the same but for comments and spaces. In a guided exercise that may be chance."
            )
            yield Likeness("same code", tuple(students), exercise, what, f"{len(code.splitlines())} lines")


def _code(notebook: bytes) -> str:
    """The code of a notebook without comments, blank lines and spaces within lines; its parameters are the course's."""
    cells = [cell for cell in parse(notebook).cells if cell.cell_type == "code" and not has_tag(cell, PARAMETERS)]
    lines = (re.sub(r"\s+|(?<!\S)#.*", "", line) for cell in cells for line in cell.source.splitlines())
    return "\n".join(filter(None, lines))
