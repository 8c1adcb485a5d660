"""What notebooks are graded with: the models and data of the fixtures, or other ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from graders.harness import profile
from graders.harness.data.documents import Fields
from graders.lora import catalog
from graders.lora.true_size import TRUE_MEMORY, of_true_size

PRECISIONS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Profile(profile.Profile):
    """Folders of models and data; ``thresholds`` is the file of what was derived for them, if anything was.

    ``held_out`` are pictures of the style that no notebook sees, ``plain`` pictures of the same captions that are not in it.
    """

    model: str
    judge: str
    held_out: str
    plain: str | None
    thresholds: str | None
    precision: str = "float32"

    @property
    def for_practice(self) -> bool:
        """Whether the pictures that decide are missing on this machine, or the adapters that somebody may have copied."""
        return not catalog.INSTRUCTORS and (self.of_fixtures or self.held_out == STANDARD.held_out)

    @property
    def of_fixtures(self) -> bool:
        """Whether models, judge and adapters are those of the fixtures, whatever else is not."""
        own = "ADAPTERS" in self.parameters.get("ex4", {})
        return not own and (self.model, self.judge) == (STANDARD.model, STANDARD.judge)

    @property
    def small(self) -> bool:
        """Whether notebooks run with the model of the fixtures."""
        return self.model == STANDARD.model

    @property
    def extra_memory(self) -> int:
        """Bytes that a base model of true size takes in addition."""
        return TRUE_MEMORY if of_true_size(self.model) else 0

    @property
    def deciding(self) -> str | None:
        """The file of thresholds that were derived for it."""
        return None if self == STANDARD else self.thresholds

    @classmethod
    def of(cls, fields: Fields) -> Self:
        """The profile that a document holds."""
        return cls(
            model=fields.text("model"),
            judge=fields.text("judge"),
            held_out=fields.text("held_out"),
            plain=None if fields["plain"] is None else fields.text("plain"),
            thresholds=None if fields["thresholds"] is None else fields.text("thresholds"),
            precision=fields.text("precision"),
            parameters=profile.parameters_of(fields),
        )


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
