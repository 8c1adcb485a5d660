"""The file of a profile: models and data that notebooks are graded with in place of the fixtures.

It is written in TOML; README shows one in which everything is said. What is left out is as among the fixtures.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from graders.harness.data import files
from graders.harness.lesson import ProfileError, read_toml
from graders.lesson import LESSON
from graders.lora import hub
from graders.lora.profile import PRECISIONS, STANDARD, Profile

_DATASETS = ("train", "reference", "held-out", "plain")
_ADAPTERS = ("style", "subject")
_PATHS = ("MODEL", "IMAGE", "DATASET", "STYLE_REFERENCE", "JUDGE")
_TEXTS = ("model", "judge", "precision", "thresholds", "python")


@dataclass(frozen=True)
class Named:
    """A profile as it is written: names of what may still have to be fetched from the Hub.

    ``python`` is the path of the Python that notebooks run in, if it is not the graders' own.
    """

    model: str | None = None
    judge: str | None = None
    precision: str = "float32"
    thresholds: str | None = None
    python: str | None = None
    datasets: Mapping[str, hub.Dataset] = field(default_factory=dict)
    adapters: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def fetch(self, console: Console) -> Profile:
        """Download what is on the Hub and not on this machine yet."""
        for name, kind in ((self.model, hub.PIPELINE), (self.judge, hub.CLIP)):
            if name:
                hub.fetch(name, kind, console)
        for dataset in self.datasets.values():
            hub.fetch_dataset(dataset, console)
        return self.profile()

    def profile(self) -> Profile:
        """All of it in folders of this machine; :class:`graders.lora.hub.NotFetchedError` where there is none."""
        model = str(hub.folder(self.model, hub.PIPELINE)) if self.model else STANDARD.model
        judge = str(hub.folder(self.judge, hub.CLIP)) if self.judge else STANDARD.judge
        sets = {name: str(hub.dataset_folder(dataset)) for name, dataset in self.datasets.items()}
        for name in {"train", "reference"} & sets.keys():
            if "held-out" in sets and Path(sets["held-out"]).is_relative_to(files.with_blobs(Path(sets[name]))):
                fix = "Keep it in another folder: notebooks may read all of theirs."
                raise ProfileError(f"The held-out pictures lie in the folder of the data set {name}.", fix)
        common: dict[str, Any] = {"MODEL": model} if self.model else {}
        common |= {"PRECISION": self.precision} if self.precision != "float32" else {}
        ex3 = {"JUDGE": judge} if self.judge else {}
        ex3 |= {"DATASET": sets["train"]} if "train" in sets else {}
        ex3 |= {"STYLE_REFERENCE": sets["reference"]} if "reference" in sets else {}
        ex4 = {"ADAPTERS": dict(self.adapters)} if self.adapters else {}
        own: dict[str, dict[str, Any]] = {"ex3": ex3, "ex4": ex4}
        given = {name: {**common, **own.get(name, {}), **self.parameters.get(name, {})} for name in LESSON.names}
        return replace(
            STANDARD,
            model=model,
            judge=judge,
            held_out=sets.get("held-out", STANDARD.held_out),
            # Plain pictures of other captions would be no measure; without any, the base model's own stand in for them
            plain=sets.get("plain", None if "held-out" in sets else STANDARD.plain),
            thresholds=self.thresholds
            or (None if replace(self, parameters={}, python=None) != Named() else STANDARD.thresholds),
            precision=self.precision,
            parameters={name: changes for name, changes in given.items() if changes},
        )


def read(path: Path) -> Named:
    """A profile from its file, or :class:`ProfileError`."""
    return _Reader(path).named(read_toml(path))


class _Reader:
    """Takes a profile apart, and says what in it is not as it should be."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def named(self, document: dict[str, Any]) -> Named:
        self._only(document, (*_TEXTS, "datasets", "adapters", *LESSON.names), "")
        tables = {name: document.get(name, {}) for name in ("datasets", "adapters", *LESSON.names)}
        for name, table in tables.items():
            if not isinstance(table, dict):
                raise self._wrong(f"{name} is no table", f"Write it as [{name}], and below it lines of NAME = VALUE.")
        for name in _TEXTS:
            self._text(document.get(name, ""), name)
        precision = document.get("precision", "float32")
        if precision not in PRECISIONS:
            raise self._wrong(f"there is no precision {precision!r}", f"Take one of {', '.join(PRECISIONS)}.")
        self._only(tables["datasets"], _DATASETS, "datasets.")
        self._only(tables["adapters"], _ADAPTERS, "adapters.")
        if tables["adapters"] and len(tables["adapters"]) < len(_ADAPTERS):
            raise self._wrong("adapters has one of two", f"Exercise 4 composes {' and '.join(_ADAPTERS)}: name both.")
        thresholds = document.get("thresholds")
        return Named(
            model=self._place(document.get("model")),
            judge=self._place(document.get("judge")),
            precision=precision,
            thresholds=str(self._path.parent.absolute() / thresholds) if thresholds else None,
            python=self._place(document.get("python")),
            datasets={name: self._dataset(name, value) for name, value in tables["datasets"].items()},
            adapters={name: self._adapter(name, value) for name, value in tables["adapters"].items()},
            parameters={name: dict(self._parameters(name, tables[name])) for name in LESSON.names},
        )

    def _parameters(self, exercise: str, table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in table.items():
            try:
                ast.literal_eval(repr(value))
            except (ValueError, SyntaxError):
                fix = "Parameters are texts, numbers, lists and tables of such."
                raise self._wrong(f"{exercise}.{name} is of type {type(value).__name__}", fix) from None
            if name in _PATHS and isinstance(value, str):
                value = self._place(value)
            # TOML has no tuples, and pairs of weights are keys of what is handed in
            if isinstance(value, list):
                value = [tuple(item) if isinstance(item, list) else item for item in value]
            yield name, value

    def _dataset(self, name: str, value: Any) -> hub.Dataset:
        fields = value if isinstance(value, dict) else {"name": value}
        self._only(fields, ("name", "split", "image", "text"), f"datasets.{name}.")
        for key, text in fields.items():
            self._text(text, f"datasets.{name}.{key}")
        if "name" not in fields:
            raise self._wrong(f"datasets.{name} has no name", "Name the folder, or the data set on the Hub.")
        return hub.Dataset(**{**fields, "name": self._place(fields["name"])})

    def _adapter(self, name: str, value: Any) -> str:
        folder = Path(self._place(self._text(value, f"adapters.{name}")) or "")
        if not folder.exists():
            raise self._wrong(f"there is no {folder}", "Name the folder that save_lora_weights has written.")
        return str(folder)

    def _place(self, name: str | None) -> str | None:
        """A path from the root where there is something at that path, and else the name as it stands."""
        place = self._path.parent.absolute() / Path(name).expanduser() if name else None
        return str(place) if place and (place.exists() or str(name).startswith((".", "~"))) else name

    def _text(self, value: Any, name: str) -> str:
        if not isinstance(value, str):
            raise self._wrong(f"{name} is no text", f'Write it in quotation marks: {name} = "…".')
        return value

    def _only(self, table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
        if unknown := [name for name in table if name not in known]:
            raise self._wrong(f"it says {where}{unknown[0]}, which means nothing", f"Known are: {', '.join(known)}.")

    def _wrong(self, what: str, fix: str) -> ProfileError:
        return ProfileError(f"{self._path} cannot be used: {what}.", fix)
