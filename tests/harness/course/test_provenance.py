"""Adapters that a run left and did not train are told to the instructor, as something to ask."""

import json
import shutil
from pathlib import Path

import pytest

from graders.harness.course.provenance import untrained
from graders.harness.marks import Grade, Gradebook, Record, Status, Student
from graders.harness.report.course import course_page
from graders.harness.result import Result
from graders.lora import catalog

RUN = {"ended": "completed", "cell": None, "error": None, "seconds": 3.0, "peak_memory_bytes": 0, "device": "cpu"}


@pytest.mark.parametrize(
    ("seen", "adapter", "told"),
    [
        ({"backward_passes": 0}, True, True),
        ({"backward_passes": 299}, True, True),
        ({"backward_passes": 300}, True, False),
        ({"backward_passes": 0}, False, False),  # nothing was handed in that would have to be trained
        ({}, True, False),  # a run of before it was counted, or one that ended early
        ({"backward_passes": -1}, True, False),
        ({"backward_passes": "<b>0</b>"}, True, False),
    ],
)
def test_untrained(tmp_path: Path, seen: dict[str, object], adapter: bool, told: bool) -> None:
    """An adapter, and fewer backward passes than a training has steps: the report says whom to ask, and why not to judge."""
    run = tmp_path / "ada" / "run"
    (run / "work" / "output" / "rank4").mkdir(parents=True)
    if adapter:
        shutil.copytree(catalog.adapter("null/plain"), run / "work" / "output" / "rank4", dirs_exist_ok=True)
    (run / "evidence" / "variables").mkdir(parents=True)
    (run / "evidence" / "variables" / "session.json").write_text(json.dumps(seen))
    parameters = repr({"SEED": 1000, "STEPS": 300, "RANKS": [4, 16]})
    (run / "request.json").write_text(json.dumps({"parameters": parameters, "hand_in": {}, "output": "output"}))
    grade = Grade("ex3", Status.GRADED, 35, 4, Result("ex3", RUN, ()), folder=run.parent)
    gradebook = Gradebook({"ex3": "Train a style LoRA"}, (Record(Student("ada"), {"ex3": grade}),))
    found = list(untrained(gradebook))
    assert bool(found) == told
    page = course_page(gradebook, untrained=found)
    assert ("Training that was not seen" in page) == told
    if told:
        assert f"{seen['backward_passes']} backward passes were seen, and a training has 300 steps" in page
        assert "ada, ex3" in page
