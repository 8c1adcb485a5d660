"""What `result.json` may hold: every result that tests make is held against the published schema."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

import graders.harness
from graders.harness.data.documents import DamagedError
from graders.harness.result import load

SCHEMA = Path(graders.harness.__file__).with_name("result.schema.json")


@cache
def _validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def ensure_documented(document: Any) -> None:
    """AssertionError for a result that says what the schema does not know, or not what it asks for."""
    wrong = [f"{error.json_path}: {error.message}" for error in _validator().iter_errors(document)]
    assert not wrong, "; ".join(wrong)[:2000]


def results_below(folder: Path) -> Iterator[tuple[Path, Any]]:
    """The results of this version that lie in a folder or below; what tests have damaged is left out."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if name == "result.json" or (path.parent.name == "earlier" and path.suffix == ".json"):
                with suppress(DamagedError):
                    load(path)
                    document = json.loads(path.read_bytes())
                    if document["schema_version"] > 1:
                        yield path, document
