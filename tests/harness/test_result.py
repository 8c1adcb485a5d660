"""A result as a document: what it says of its origin, and that all of it is documented."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from graders.harness import origin
from graders.harness.data.documents import DamagedError, Fields
from graders.harness.hand_in import HandIn
from graders.harness.lesson import Lesson
from graders.harness.result import Result, load, of_document
from graders.harness.run.evidence import Evidence
from graders.lesson import LESSON
from graders.lora import catalog
from tests.documents import SCHEMA, ensure_documented
from tests.harness.report.records import EVERY, RUN

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "result.md"
RESULT = of_document(Fields(json.loads(Result("ex3", RUN, EVERY).to_json())))


def of(parameters: dict[str, object], folder: Path) -> dict[str, object]:
    """The origin of a run in a folder that was given these parameters."""
    (folder / "request.json").write_text(json.dumps({"parameters": repr(parameters)}))
    return dict(origin.origin(HandIn(Evidence(folder), parameters)))


def test_every_field_is_explained() -> None:
    """Each field of the schema stands in the documentation, but for the names that a lesson gives."""
    schema, text = json.loads(SCHEMA.read_text()), DOCUMENTATION.read_text()
    explained = {part for name in re.findall(r"`([\w.]+)`", text) for part in name.split(".")}

    def fields(node: object) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(fields, node))
        if not isinstance(node, dict):
            return set()
        own = node.get("properties", {})
        return {*own}.union(*map(fields, [*own.values(), *(node[key] for key in ("items", "anyOf") if key in node)]))

    assert fields(schema) >= {"id", "made_by", "rubric", "ename", "misconception"}
    assert not fields(schema) - explained


def test_the_schema_notices() -> None:
    """A field that nobody documented, and one that is missing, are told: the tests hold every result against it."""
    document = json.loads(RESULT.to_json())
    for wrong in (document | {"mood": 1}, document | {"score": "3"}, document | {"made_by": {}}):
        with pytest.raises(AssertionError):
            ensure_documented(wrong)


def test_the_same_verdict_has_the_same_id(tmp_path: Path) -> None:
    """Another machine, version or parameter alters nothing of the id; with it and without, a result is read again."""
    known = replace(RESULT, origin=of({"SEED": 3}, tmp_path))
    assert known.id == RESULT.id
    for result in (known, RESULT):
        result.save(tmp_path / "result.json")
        read = load(tmp_path / "result.json")
        assert (read.id, read.origin) == (RESULT.id, result.origin)
        assert json.loads(read.to_json()) == json.loads(result.to_json())


@pytest.mark.parametrize("damaged", ['"parameters": 3', '"parameters": {"run": 1e999}', '"made_by": []'])
def test_a_damaged_origin(tmp_path: Path, damaged: str) -> None:
    """No digest covers it, and yet nothing that could not be written again is taken from it."""
    document = {**json.loads(RESULT.to_json()), "HERE": 0}
    (tmp_path / "result.json").write_text(json.dumps(document).replace('"HERE": 0', damaged))
    with pytest.raises(DamagedError):
        load(tmp_path / "result.json")


def test_parameters_tell_nothing_of_the_machine(tmp_path: Path) -> None:
    """Paths are below the fixtures or end in their last part, in whatever they lie, and every value is one of JSON."""
    given = {
        "MODEL": str(catalog.TINY_SD),
        "ADAPTERS": {"style": "/home/ada/adapters/ink", 3: str(tmp_path)},
        "GRID": [(1.0, 0.0), {1}],
        "PROMPTS": ["a boat"],
        "OUTPUT_DIR": "output",
        "SEED": None,
    }
    said = of(given, tmp_path)
    assert said["parameters"] == {
        "run": {
            "MODEL": "fixtures:tiny-sd",
            "ADAPTERS": {"style": "…/ink", "3": f"…/{tmp_path.name}"},
            "GRID": [[1.0, 0.0], [1]],
            "PROMPTS": ["a boat"],
            "OUTPUT_DIR": "output",
            "SEED": None,
        }
    }
    ensure_documented(json.loads(replace(RESULT, origin=said).to_json()))


def test_rubric(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It changes with a source of the lesson that decides, wherever that lies, and with the thresholds of a profile."""
    before = origin.rubric(LESSON.standard)
    assert origin.rubric(LESSON.standard) == before
    more = tmp_path / "check.py"
    more.write_text("LIMIT = 3")
    own = replace(LESSON.standard, thresholds=str(more))
    assert own.deciding
    assert origin.rubric(own) != before
    origin._sources.cache_clear()
    monkeypatch.setattr(Lesson, "sources", property(lambda lesson: iter([more])))
    first = origin.rubric(LESSON.standard)
    origin._sources.cache_clear()
    more.write_text("LIMIT = 4")
    assert before != first != origin.rubric(LESSON.standard)
    origin._sources.cache_clear()
