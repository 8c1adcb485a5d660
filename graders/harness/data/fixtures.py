"""Fixtures: the models and data that notebooks are run with, and what a manifest says of their files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from graders.harness.data import documents
from graders.harness.data.saving import save
from graders.harness.errors import ExplainedError

USED = "fixtures.json"
"""In a run folder: the digest of each fixture that the parameters name, by its path below the fixtures folder."""


class FixturesError(ExplainedError):
    """The fixtures are not what the manifest says."""


class OtherFixtures(ExplainedError):
    """A run was given other fixtures than these graders have."""


@dataclass(frozen=True)
class Fixtures:
    """The fixtures in the folder ``root``; a lesson that has none has :data:`NO_FIXTURES`.

    ``manifest`` is a file that says what they are: ``{"fixtures": {NAME: {"files": {PATH: SHA-256}}}}``, each path below the
    folder that it is in; without one, whatever lies there is right. ``remedy`` says how they can be had again. ``before`` are
    digests of those that have changed since runs without a record of what they were given were made.
    """

    root: Path
    manifest: Path | None = None
    remedy: str = "Install the package again."
    before: Mapping[str, str] = field(default_factory=dict, hash=False)

    def ensure_there(self) -> None:
        """:class:`FixturesError` if there are none."""
        if self.manifest and not self.manifest.is_file():
            raise FixturesError(
                f"The fixtures are missing: there is no {self.manifest.name} in {self.manifest.parent}.", self.remedy
            )

    def read_manifest(self) -> dict[str, Any]:
        """What the manifest says; :class:`FixturesError` if it cannot be read."""
        assert self.manifest
        try:
            document: dict[str, Any] = json.loads(self.manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FixturesError(
                f"There is no readable {self.manifest.name} in {self.manifest.parent}.", self.remedy
            ) from error
        return document

    @cached_property
    def digest(self) -> str:
        """Changes with any of them."""
        said = self.manifest.read_bytes() if self.manifest else repr(sorted(self._recorded.items())).encode()
        return hashlib.sha256(said).hexdigest()

    def note(self, parameters: Mapping[str, Any], run_folder: Path) -> None:
        """Write down what a run is given."""
        save(json.dumps(self._given(parameters), indent=1).encode(), run_folder / USED)

    def ensure_same(self, parameters: Mapping[str, Any], run_folder: Path) -> None:
        """:class:`OtherFixtures` if a run cannot be judged with the fixtures of now: right work would look wrong."""
        before = self.before
        if (run_folder / USED).is_file():
            before = documents.read(
                run_folder, USED, lambda fields: {n: fields.text(n) for n in fields.all()}, "Grade it again."
            )
        for name, digest in self._given(parameters).items():
            if before.get(name, digest) != digest:
                raise OtherFixtures(
                    f"It was run with another {name} than these graders have.",
                    "Grade it again, which runs its notebook.",
                )

    def missing(self, parameters: Mapping[str, Any]) -> list[str]:
        """The fixtures that parameters name and that are not there, by their paths below the fixtures folder."""
        return [name for name in self._named(list(parameters.values())) if not (self.root / name).exists()]

    def _given(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        given = {}
        for name in self._named(list(parameters.values())):
            files = sorted(item for item in self._recorded.items() if item[0] == name or item[0].startswith(f"{name}/"))
            if files:
                given[name] = hashlib.sha256(repr(files).encode()).hexdigest()[:12]
        return given

    @cached_property
    def _recorded(self) -> dict[str, str]:
        """The digest of every file, by its path below the fixtures folder."""
        if self.manifest is None:
            return {path.relative_to(self.root).as_posix(): digest_of(path) for path in files_of(self.root)}
        return {
            f"{name}/{file}": digest
            for name, entry in self.read_manifest()["fixtures"].items()
            for file, digest in entry["files"].items()
        }

    def _named(self, value: Any) -> Iterator[str]:
        """The fixtures that parameters name, by their paths below the fixtures folder."""
        if isinstance(value, str) and Path(value).is_relative_to(self.root) and Path(value) != self.root:
            yield Path(value).relative_to(self.root).as_posix()
        elif isinstance(value, list | tuple | dict):
            for item in value.values() if isinstance(value, dict) else value:
                yield from self._named(item)


NO_FIXTURES = Fixtures(Path(os.devnull, "fixtures"))
"""Of a lesson whose notebooks need no models and no data: a folder that is nowhere."""


def files_of(folder: Path) -> list[Path]:
    """All files in a folder and below it, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
