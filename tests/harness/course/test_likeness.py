"""Hand-ins that are more alike than independent work are found, and no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from graders.harness.course.likeness import Likeness, likenesses
from graders.harness.course.provenance import untrained
from graders.harness.marks import Grade, Gradebook, Record, Status, Student
from graders.harness.result import Result

CHECKOUT = Path(__file__).parents[3]
ADAPTERS = CHECKOUT / "fixtures" / "adapters" / "known"
RUN = {"ended": "completed", "cell": None, "error": None, "seconds": 3.0, "peak_memory_bytes": 0, "device": "cpu"}


class Class:
    """Students with what the runs of their notebooks would have left."""

    def __init__(self, root: Path) -> None:
        self.root, self.records = root, []

    def add(
        self,
        name: str,
        seed: int,
        adapter: str,
        code: str,
        scale: float = 1.0,
        shade: int | None = None,
        group: str = "",
    ) -> None:
        graded = self.root / name
        run = graded / "run"
        shutil.copytree(ADAPTERS / adapter, run / "work" / "output" / "rank4")
        if scale != 1.0:
            file = run / "work" / "output" / "rank4" / "pytorch_lora_weights.safetensors"
            tensors = {key: value * scale for key, value in load_file(file).items()}
            save_file(tensors, file)
        variables = run / "evidence" / "variables"
        variables.mkdir(parents=True)
        if shade is not None:
            (variables / "pictures").mkdir()
            Image.new("RGB", (8, 8), (shade, 0, 0)).save(variables / "pictures" / "0.png")
            pictures = {"mapping": [[4, {"list": [{"file": "0.png"}]}]]}
            record = {"kind": "pictures", "folder": "pictures", "pictures": pictures}
            (variables / "lora_images.json").write_text(json.dumps(record))
        parameters = repr({"SEED": seed, "RANKS": [4, 16]})
        (run / "request.json").write_text(
            json.dumps({"parameters": parameters, "hand_in": {"lora_images": "pictures"}, "output": "output"})
        )
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        nbformat.write(notebook, run / "notebook.ipynb")
        grade = Grade("ex3", Status.GRADED, 35, 4, Result("ex3", RUN, ()), folder=graded, group=group)
        self.records.append(Record(Student(name), {"ex3": grade}))

    def alike(self, kind: str) -> list[Likeness]:
        gradebook = Gradebook({"ex3": "Train a style LoRA"}, tuple(self.records))
        return [likeness for likeness in likenesses(gradebook) if likeness.kind == kind]


@pytest.fixture
def students(tmp_path: Path) -> Class:
    return Class(tmp_path)


def names(likeness: Likeness) -> set[str]:
    return {student.id for student in likeness.students}


def test_adapters(students: Class) -> None:
    """One adapter out of trainings with different seeds is found, weaker or not; adapters of independent ones are not."""
    students.add("ada", 1000, "style-rank4-1", "a")
    students.add("bob", 1001, "style-rank4-1", "b")
    students.add("carl", 1002, "style-rank4-1", "c", scale=0.5)
    students.add("dora", 1003, "style-rank4-2", "d")
    students.add("eve", 1004, "self-attention", "e")
    (found,) = students.alike("same adapter")
    assert names(found) == {"ada", "bob", "carl"}
    assert "another seed" in found.what


def test_same_seed(students: Class) -> None:
    """With the same seed honest trainings may be equal: that is no reason to look."""
    students.add("ada", 1000, "style-rank4-1", "a")
    students.add("bob", 1000, "style-rank4-1", "b")
    assert students.alike("same adapter") == []


def test_pictures(students: Class) -> None:
    """Pictures that are equal though they were generated with different seeds are found; one level of difference is enough."""
    students.add("ada", 1000, "style-rank4-1", "a", shade=7)
    students.add("bob", 1001, "style-rank4-2", "b", shade=7)
    students.add("carl", 1002, "style-rank16-1", "c", shade=8)
    students.add("dora", 1002, "style-rank16-2", "d", shade=8)
    (found,) = students.alike("same pictures")
    assert names(found) == {"ada", "bob"}


def test_code(students: Class) -> None:
    """Code that differs in comments and spaces only is found; that of the untouched assignment is not."""
    assigned = nbformat.read(CHECKOUT / "assignments" / "ex3.ipynb", 4)
    untouched = "\n".join(c.source for c in assigned.cells if c.cell_type == "code" and "tags" not in c.metadata)
    students.add("ada", 1000, "style-rank4-1", "x = 1\n\ny = x+1  # my own comment")
    students.add("bob", 1001, "style-rank4-2", "# mine\nx=1\ny = x + 1")
    students.add("carl", 1002, "style-rank16-1", "x = 1\ny = x + 2")
    students.add("dora", 1003, "style-rank16-2", untouched)
    students.add("eve", 1004, "memorised", untouched)
    (found,) = students.alike("same code")
    assert names(found) == {"ada", "bob"}


def test_a_group(students: Class) -> None:
    """Nobody is said to be like those with whom they handed in; somebody else is."""
    students.add("ada", 1, "style-rank4-1", "x = 1", group="Team 7")
    students.add("bob", 1, "style-rank4-1", "x = 1", group="Team 7")
    assert students.alike("same code") == []
    students.add("cy", 1, "style-rank4-1", "x = 1", group="Team 8")
    assert [len(likeness.students) for likeness in students.alike("same code")] == [3]


def test_runs_that_were_removed(students: Class) -> None:
    """Where runs were removed to make room, hand-ins are no longer compared, and reports are made all the same."""
    for name in ("ada", "bob", "eve"):
        students.add(name, 1, "convolution", "print(1)")
    shutil.rmtree(students.root / "eve" / "run")
    (found,) = students.alike("same code")
    assert names(found) == {"ada", "bob"}
    gradebook = Gradebook({"ex3": "Train a style LoRA"}, tuple(students.records[2:]))
    assert list(untrained(gradebook)) == []
