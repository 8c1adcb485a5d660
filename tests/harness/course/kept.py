"""Folders of results that earlier versions made: real courses, graded in the sandbox, that every version has to open."""

from __future__ import annotations

import csv
import os
import tarfile
from pathlib import Path

from graders.lora import catalog

PLACE = Path(__file__).parent
FIXTURES = b"@FIXTURES@"
"""What stands in them for the folder of the fixtures, which is another one on every machine."""


def unpacked(name: str, to: Path) -> Path:
    """The folder of results, a fresh copy of it."""
    with tarfile.open(PLACE / f"{name}.tar.gz") as archive:
        archive.extractall(to, filter="data")
    for request in (to / name).rglob("request.json"):
        request.write_bytes(request.read_bytes().replace(FIXTURES, os.fsencode(catalog.ROOT)))
    return to / name


def scores(results: Path) -> dict[tuple[str, str], str]:
    """The points in the gradebook, by student and exercise; "" where there are none."""
    with (results / "gradebooks" / "gradebook.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["id"], name): row[f"{name}_score"] for row in rows for name in ("ex1", "ex2")}
