"""Likeness: hand-ins that are more alike than independent work is, for a person to look at."""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graders.harness.errors import HandInError
from graders.harness.grade import module_of
from graders.harness.marks import Gradebook, Student
from graders.harness.run.evidence import Evidence
from graders.harness.run.notebook import PARAMETERS, has_tag, parse
from graders.lora import catalog
from graders.lora.measures import thresholds
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.architecture import empty_unet
from graders.lora.profile import beside


@dataclass(frozen=True)
class Likeness:
    """Students whose hand-ins for an exercise are alike: a reason to look, and never a verdict.

    ``kind`` names in a few words how they are alike, such as "same adapter"; what is of one kind is listed together.
    ``what`` says in a sentence what is alike, ``measure`` how much, such as "every number, rank 4 and 16".
    """

    kind: str
    students: tuple[Student, ...]
    exercise: str
    what: str
    measure: str


@dataclass(frozen=True)
class _Trained:
    """What a student's training left for one rank: the layers it changed, and their changes as one vector of length 1."""

    student: Student
    seed: int
    layers: tuple[str, ...]
    change: Tensor


def likenesses(gradebook: Gradebook) -> list[Likeness]:
    """Hand-ins for the same exercise that are alike: in their code, or in what came out of trainings with other seeds.

    Notebooks whose code is the assignment's are left out. What came out with the same seed is not compared: there honest
    work may be equal to the bit. What a group handed in together is one work. Those of most students come first.
    """
    found: list[Likeness] = []
    for name in gradebook.exercises:
        runs = {
            record.student: Evidence(folder / "run")
            for record in gradebook.records
            if (folder := record.grades[name].folder) and record.grades[name].result
        }
        found += _same_code(name, runs)
        if module_of(name).EXERCISE.seeds:
            # What an adapter changes in a model of true size are hundreds of megabytes, too many for those of a course
            small = {s: evidence for s, evidence in runs.items() if beside(evidence.folder.parent).of_fixtures}
            for rank in module_of(name).EXERCISE.parameters["RANKS"]:
                found += _same_adapter(name, rank, small)
            found += _same_pictures(name, runs)
    groups = {(r.student, name): grade.group for r in gradebook.records for name, grade in r.grades.items()}
    found = [
        likeness for likeness in found if not _of_one_group({groups[s, likeness.exercise] for s in likeness.students})
    ]
    return sorted(found, key=lambda likeness: -len(likeness.students))


def _of_one_group(groups: set[str]) -> bool:
    return len(groups) == 1 and groups != {""}


def _same_code(exercise: str, runs: Mapping[Student, Evidence]) -> Iterator[Likeness]:
    assigned = _code((catalog.data_folder("assignments") / f"{exercise}.ipynb").read_bytes())
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


def _same_adapter(exercise: str, rank: int, runs: Mapping[Student, Evidence]) -> Iterator[Likeness]:
    """Groups in which each adapter is closer to another one than those of independent trainings are."""
    alike: dict[tuple[str, ...], list[_Trained]] = defaultdict(list)
    for student, evidence in runs.items():
        if trained := _trained(student, evidence, rank):
            alike[trained.layers].append(trained)
    limits = thresholds.load()
    assert limits  # of the fixtures they are known
    bound = max(limits.copied_rank4, limits.copied_rank16)
    for trainings in alike.values():
        changes = torch.stack([trained.change for trained in trainings])
        cosines = changes @ changes.T
        close = cosines > bound
        for group in _groups(close & _other_seeds(trainings)):
            least = min(float(cosines[one, other]) for one in group for other in group if close[one, other])
            equal = "the same in every number" if least > 1 - 1e-6 else f"similarity of weights {least:.3f} and more"
            what = (
                f"The adapters of rank {rank} came out alike though each training was given another seed. Independent "
                f"trainings stay below {bound:.3f}. Either they were not trained where they were handed in, or SEED was not used."
            )
            yield Likeness("same adapter", tuple(trainings[place].student for place in group), exercise, what, equal)


def _trained(student: Student, evidence: Evidence, rank: int) -> _Trained | None:
    try:
        adapter = read_adapter(evidence.folder_path(f"rank{rank}"), _unet())
    except HandInError:
        return None
    layers = tuple(sorted(adapter.layers))
    change = torch.cat([adapter.layers[layer].delta().flatten() for layer in layers])
    length = float(change.norm())
    seed = evidence.parameters["SEED"]
    # An adapter that changes nothing is like any other of its kind
    return _Trained(student, seed, layers, change / length) if math.isfinite(length) and length > 0 else None


def _same_pictures(exercise: str, runs: Mapping[Student, Evidence]) -> Iterator[Likeness]:
    groups: dict[bytes, list[tuple[Student, int]]] = defaultdict(list)
    for student, evidence in runs.items():
        try:
            pictures = evidence.pictures("lora_images")
        except HandInError:
            continue
        digest = hashlib.sha256(repr(_shapes(pictures)).encode())
        for picture in _flat(pictures):
            digest.update(picture.tobytes())
        groups[digest.digest()].append((student, evidence.parameters["SEED"]))
    for works in groups.values():
        if len({seed for _, seed in works}) > 1:
            what = "The adapters' pictures are the same in every pixel though each was painted with another seed."
            yield Likeness("same pictures", tuple(student for student, _ in works), exercise, what, "every pixel")


def _flat(pictures: Any) -> Iterator[np.ndarray]:
    if isinstance(pictures, np.ndarray):
        yield pictures
    else:
        for part in pictures.values() if isinstance(pictures, dict) else pictures:
            yield from _flat(part)


def _shapes(pictures: Any) -> list[tuple[int, ...]]:
    return [picture.shape for picture in _flat(pictures)]


def _other_seeds(trainings: Sequence[_Trained]) -> Tensor:
    seeds = torch.tensor([trained.seed for trained in trainings])
    return seeds[:, None] != seeds[None, :]


def _groups(linked: Tensor) -> list[list[int]]:
    """The connected parts, of more than one, of the graph with these edges."""
    left, groups = set(range(len(linked))), []
    while left:
        group, fresh = set(), {left.pop()}
        while fresh:
            group |= fresh
            fresh = {other for one in fresh for other in linked[one].nonzero().flatten().tolist()} - group
        left -= group
        if len(group) > 1:
            groups.append(sorted(group))
    return groups


@cache
def _unet() -> nn.Module:
    return empty_unet(catalog.TINY_SD)
