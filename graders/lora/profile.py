"""What notebooks are graded with: the models and data of the fixtures, or other ones."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from graders.harness.data import documents
from graders.harness.data.documents import Fields
from graders.harness.data.saving import save
from graders.lora import catalog

PRECISIONS = ("float32", "float16", "bfloat16")
FILE = "profile.json"
"""Beside the runs that were graded with another profile than the fixtures'."""


@dataclass(frozen=True)
class Profile:
    """Folders of models and data; ``thresholds`` is the file of what was derived for them, if anything was.

    ``held_out`` are pictures of the style that no notebook sees, ``plain`` pictures of the same captions that are not in it.
    ``parameters`` are those of notebooks that differ from the exercises' own, by exercise.
    """

    model: str
    judge: str
    held_out: str
    plain: str | None
    thresholds: str | None
    precision: str = "float32"
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    @property
    def for_practice(self) -> bool:
        """Whether the pictures that decide are missing on this machine, or the adapters that somebody may have copied."""
        return not catalog.INSTRUCTORS and (self.of_fixtures or self.held_out == STANDARD.held_out)

    @property
    def of_fixtures(self) -> bool:
        """Whether models, judge and adapters are those of the fixtures, whatever else is not."""
        own = "ADAPTERS" in self.parameters.get("ex4", {})
        return not own and (self.model, self.judge) == (STANDARD.model, STANDARD.judge)

    def save(self, folder: Path) -> None:
        """Write it beside the runs in ``folder``, unless they were graded with the fixtures."""
        if self != STANDARD:
            save((json.dumps(asdict(self), indent=1) + "\n").encode(), folder / FILE)


_MEASURED_ON = "held-out" if catalog.INSTRUCTORS else "practice"
STANDARD = Profile(
    model=str(catalog.TINY_SD),
    judge=str(catalog.CLIP),
    held_out=str(catalog.dataset(f"watercolor/{_MEASURED_ON}")),
    plain=str(catalog.dataset(f"plain/{_MEASURED_ON}")),
    thresholds=str(catalog.ROOT / "thresholds.json"),
)
"""The fixtures."""


def precision_of(parameters: Mapping[str, Any]) -> str:
    """The precision that a notebook was asked for, by the parameter that not every notebook has."""
    return parameters.get("PRECISION", STANDARD.precision)


def beside(folder: Path) -> Profile:
    """The profile that the runs in ``folder`` were graded with."""
    if not os.path.lexists(folder / FILE):
        return STANDARD
    return documents.read(folder, FILE, _profile, "Grade it again: with --profile, as before.")


def _profile(fields: Fields) -> Profile:
    parameters = fields.object("parameters")
    return Profile(
        fields.text("model"),
        fields.text("judge"),
        fields.text("held_out"),
        None if fields["plain"] is None else fields.text("plain"),
        None if fields["thresholds"] is None else fields.text("thresholds"),
        fields.text("precision"),
        {name: parameters.object(name).all() for name in parameters.all()},
    )
