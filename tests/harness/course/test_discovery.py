"""Hand-ins are found in whatever a course system gives."""

from __future__ import annotations

import io
import json
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest

from graders.harness.course.batch import deposit
from graders.harness.course.discovery import Attempt, DiscoveryError, HandIns, discover
from graders.harness.course.rules import Rules
from graders.harness.course.store import Store
from graders.harness.data.archive import Archive
from graders.harness.data.names import is_version
from graders.harness.errors import ExplainedError

CHECKOUT = Path(__file__).parents[3]
METADATA = """---
submission_71:
  :submitters:
  - :name: Ada Lovelace
    :sid: '1815'
    :email: ada@example.org
  - :name: "Charles, Babbage"
    :sid: ''
    :email: charles@example.org
  :created_at: 2026-11-20 21:14:05.123456 Z
  :score: 0.0
  :results: !ruby/hash:ActiveSupport::HashWithIndifferentAccess
    tests: []
submission_72:
  :submitters: []
  :created_at: 2026-11-21 08:00:00 +01:00
"""


def solution(exercise: str) -> bytes:
    return (CHECKOUT / "reference_solutions" / f"{exercise}.ipynb").read_bytes()


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def laid(root: Path, files: dict[str, bytes], kind: str) -> Path:
    """The files as a folder or as a zip archive."""
    root.mkdir(exist_ok=True)
    if kind == "zip":
        path = root / "given.zip"
        path.write_bytes(packed(files))
        return path
    for name, content in files.items():
        path = root / "given" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root / "given"


def told(found: HandIns) -> list[tuple[str, str, str, int]]:
    return sorted((a.student.id, a.student.name, a.exercise, a.number) for a in found.attempts)


def attempts(found: HandIns, student: str, exercise: str) -> list[Attempt]:
    return [a for a in found.attempts if (a.student.id, a.exercise) == (student, exercise)]


LAYOUTS = {
    "a Canvas zip of submissions": (
        {
            "lovelaceada_101_9001_ex3.ipynb": b"{}",
            "lovelaceada_101_9000_ex3-1.ipynb": b"{}",
            "babbagecharles_LATE_102_9002_my work.ipynb": solution("ex2"),
            "müllerzoë_103_9003_alles.zip": packed(
                {"deep/ex1.ipynb": b"{}", "ex4.ipynb": b"{}", "__MACOSX/._ex4.ipynb": b""}
            ),
        },
        [
            ("101", "lovelaceada", "ex3", 1),
            ("101", "lovelaceada", "ex3", 2),
            ("102", "babbagecharles", "ex2", 1),
            ("103", "müllerzoë", "ex1", 1),
            ("103", "müllerzoë", "ex4", 1),
        ],
    ),
    "a Moodle zip of submissions": (
        {
            "Ada Lovelace_4711_assignsubmission_file_/ex1.ipynb": b"{}",
            "Zoë O'Hara, Jr._12_assignsubmission_file/ex1.ipynb": b"{}",
            "Zoë O'Hara, Jr._12_assignsubmission_onlinetext/onlinetext.html": b"<p>hello",
            "Participant_13_assignsubmission_file/sub/exercise 2 (final).ipynb": b"{}",
            "Flat Name_14_assignsubmission_file_ex4.ipynb": b"{}",
        },
        [
            ("12", "Zoë O'Hara, Jr.", "ex1", 1),
            ("13", "", "ex2", 1),
            ("14", "Flat Name", "ex4", 1),
            ("4711", "Ada Lovelace", "ex1", 1),
        ],
    ),
    "nbgrader's submitted folder": (
        {
            "submitted/ada/ex3/ex3.ipynb": b"{}",
            "submitted/ada/ex3/timestamp.txt": b"2026-11-20 21:14:05.123456 America/Los_Angeles",
            "submitted/bob/lora/ex1.ipynb": b"{}",
            "submitted/bob/lora/ex2.ipynb": b"{}",
            "submitted/bob/ex4/answers.ipynb": b"{}",
        },
        [("ada", "", "ex3", 1), ("bob", "", "ex1", 1), ("bob", "", "ex2", 1), ("bob", "", "ex4", 1)],
    ),
    "a Gradescope export": (
        {
            "assignment_1_export/submission_metadata.yml": METADATA.encode(),
            "assignment_1_export/submission_71/ex3.ipynb": b"{}",
            "assignment_1_export/submission_72/ex3.ipynb": b"{}",
        },
        [
            ("1815", "Ada Lovelace", "ex3", 1),
            ("72", "", "ex3", 1),
            ("charles@example.org", "Charles, Babbage", "ex3", 1),
        ],
    ),
    "a folder for each student": (
        {
            "hand-ins/ada lovelace/ex1.ipynb.txt": b"{}",
            "hand-ins/ada lovelace/second try/ex1.ipynb": b"{}",
            "hand-ins/bob/.ipynb_checkpoints/ex1-checkpoint.ipynb": b"{}",
            "hand-ins/bob/untitled.ipynb": solution("ex4"),
            "hand-ins/Thumbs.db": b"",
        },
        [("ada lovelace", "", "ex1", 1), ("ada lovelace", "", "ex1", 2), ("bob", "", "ex4", 1)],
    ),
    "a folder of notebooks": (
        {
            "all/ada-ex1.ipynb": b"{}",
            "all/ex1_bob the 2nd.ipynb": b"{}",
            "all/carol.ipynb": solution("ex3"),
            "all/notes.txt": b"",
        },
        [("ada", "", "ex1", 1), ("bob the 2nd", "", "ex1", 1), ("carol", "", "ex3", 1)],
    ),
}


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path: Path, layout: str, kind: str) -> None:
    """Every course system's layout is recognised, in a folder and in an archive, with who handed in what."""
    files, expected = LAYOUTS[layout]
    found = discover(laid(tmp_path, files, kind))
    assert found.layout == layout
    assert told(found) == sorted(expected)
    for attempt in found.attempts:
        assert found.content(attempt).startswith(b"{")


def test_attempts_are_in_the_order_they_were_made(tmp_path: Path) -> None:
    """The last attempt is the one with the highest attachment number, whatever its name; a copy of Jupyter's is none."""
    canvas = discover(laid(tmp_path / "a", LAYOUTS["a Canvas zip of submissions"][0], "zip"))
    assert [a.file for a in attempts(canvas, "101", "ex3")] == ["ex3-1.ipynb", "ex3.ipynb"]
    files = {
        "ada/ex1.ipynb": b"{}",
        "ada/ex1-Copy1.ipynb": b"{}",
        "bob/v10/ex1.ipynb": b"{}",
        "bob/v9/ex1.ipynb": b"{}",
    }
    plain = discover(laid(tmp_path / "b", files, "folder"))
    assert [a.file for a in attempts(plain, "ada", "ex1")] == ["ex1-Copy1.ipynb", "ex1.ipynb"]
    assert [a.file for a in attempts(plain, "bob", "ex1")] == ["v9/ex1.ipynb", "v10/ex1.ipynb"]


NAMES = ("ex3.ipynb", "ex3 (1).ipynb", "ex3-1.ipynb", "ex3 - Kopie.ipynb", "ex3_final.ipynb")


@pytest.mark.parametrize("newest", NAMES)
@pytest.mark.parametrize("kind", ["folder", "zip", "zip of a student's"])
def test_several_notebooks_at_once(tmp_path: Path, kind: str, newest: str) -> None:
    """Of several notebooks for one exercise the newest counts, whatever it is called, and it is said which it is."""
    place = tmp_path / "given" / "ada"
    place.mkdir(parents=True)
    days = {name: 20 if name == newest else number + 1 for number, name in enumerate(NAMES)}
    if kind == "folder":
        for name, day in days.items():
            (place / name).write_text(json.dumps({"of": name}))
            os.utime(place / name, (when := datetime(2026, 11, day, tzinfo=UTC).timestamp(), when))
    else:
        packed = place / "work.zip" if kind != "zip" else tmp_path / "given.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for name, day in days.items():
                inside = name if kind != "zip" else f"ada/{name}"
                archive.writestr(zipfile.ZipInfo(inside, (2026, 11, day, 12, 0, 0)), json.dumps({"of": name}))
    found = discover(tmp_path / "given.zip" if kind == "zip" else tmp_path / "given")
    store = Store(tmp_path / "results")
    (todo,) = deposit(found, Rules(("ex3",)), store)
    assert todo.file.endswith(newest)
    assert (len(todo.others), todo.told_by) == (4, "time")
    assert Store(tmp_path / "results").attempts()[-1] == todo


@pytest.mark.parametrize(
    ("said", "version"),
    [
        *((said, True) for said in ("(1)", "1", "- Copy (2)", "Copy of", "Kopie von", "final_v2", "neu")),
        *(
            (said, False)
            for said in ("newton", "newman", "4711", "", "ada final", "new" * 30 + "_x", "_new" * 40 + "_x")
        ),
    ],
)
def test_versions(said: str, version: bool) -> None:
    """What a computer or a person adds to the name of another version is known, in no time; a longer word is a name."""
    assert is_version(said) is version


ONE_STUDENTS = {
    "versions beside a notebook": (["ada/ex3.ipynb", "ada/ex3 (1).ipynb", "ada/ex3-1.ipynb"], {"ada"}),
    "a notebook and other files": (["ada/ex3.ipynb", "ada/README.md"], {"ada"}),
    "numbers alone": (["subs/ex3-1.ipynb", "subs/ex3-2.ipynb"], {"1", "2"}),
    "versions alone": (["subs/ex3_v01.ipynb", "subs/ex3_v02.ipynb"], {"v01", "v02"}),
    "surnames": (["ex3-neu.ipynb", "ex3-fertig.ipynb"], {"neu", "fertig"}),
    "people beside templates": (
        ["s/ada-ex3.ipynb", "s/bob-ex3.ipynb", *(f"s/ex{n}.ipynb" for n in range(1, 5))],
        {"ada", "bob"},
    ),
}


@pytest.mark.parametrize(("names", "people"), ONE_STUDENTS.values(), ids=ONE_STUDENTS.keys())
def test_whose_is_the_only_folder(tmp_path: Path, names: list[str], people: set[str]) -> None:
    """The only folder is a student's if all that is in it may be of one; otherwise its files tell."""
    found = discover(laid(tmp_path, dict.fromkeys(names, b"{}"), "folder"))
    assert {*found.students} >= people
    assert len(people) > 1 or {*found.students} == people


def test_broken_beside_whole(tmp_path: Path) -> None:
    """An archive without a notebook, and an empty file, do not take the place of a notebook that came with them."""
    notebook = nbformat.writes(nbformat.v4.new_notebook()).encode()
    files = {"ada/ex3.ipynb": notebook, "ada/ex3_z.ipynb": b"", "b/ex3.ipynb": b"{}"}
    files["ada/zz_ex3_pictures.zip"] = packed({"a.png": b"x"})
    found = discover(laid(tmp_path, files, "folder"))
    todo = deposit(found, Rules(("ex3",)), Store(tmp_path / "results"))
    assert {stored.file for stored in todo if stored.student.id == "ada"} == {"ex3.ipynb"}


def test_several_notebooks_of_no_known_age(tmp_path: Path) -> None:
    """Where all files were unpacked at once, their times tell nothing, and it is said that the name decided."""
    found = discover(laid(tmp_path, {f"ada/{name}": b"{}" for name in NAMES}, "folder"))
    *_, last = found.attempts
    assert (last.file, len(last.others), last.told_by) == ("ex3_final.ipynb", 4, "name")


def test_times(tmp_path: Path) -> None:
    """When something was handed in is known where the course system says so, with its time zone."""
    nbgrader = discover(laid(tmp_path / "a", LAYOUTS["nbgrader's submitted folder"][0], "folder"))
    assert attempts(nbgrader, "ada", "ex3")[0].submitted == datetime(2026, 11, 21, 5, 14, 5, 123456, UTC)
    gradescope = discover(laid(tmp_path / "b", LAYOUTS["a Gradescope export"][0], "zip"))
    assert attempts(gradescope, "1815", "ex3")[0].submitted == datetime(2026, 11, 20, 21, 14, 5, 123456, UTC)
    assert attempts(gradescope, "72", "ex3")[0].submitted == datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
    canvas = discover(laid(tmp_path / "c", LAYOUTS["a Canvas zip of submissions"][0], "zip"))
    assert [a.student.id for a in canvas.attempts if a.late] == ["102"]


def test_one_exercise(tmp_path: Path) -> None:
    """Told the exercise, any notebook is for that; who handed in no notebook is not forgotten."""
    files = {
        "ada/work.ipynb": b"{}",
        "bob/essay.pdf": b"%PDF",
        "carol/a.zip": b"PK\x03\x04broken",
        "dora/ex2.ipynb": b"{}",
    }
    files |= {"eve/ex3.ipynb": b"{}", "eve/ex2.ipynb": b"{}"}
    found = discover(laid(tmp_path, files, "folder"), "ex3")
    assert told(found) == [(name, "", "ex3", 1) for name in ("ada", "bob", "carol", "dora", "eve")]
    problems = {a.student.id: a.problem for a in found.attempts if a.problem}
    assert problems.keys() == {"bob", "carol"}
    assert "no notebook" in problems["bob"]
    assert "essay.pdf is a PDF" in problems["bob"]
    assert "broken" in problems["carol"]
    assert attempts(found, "eve", "ex3")[0].file == "ex3.ipynb"


def test_strays(tmp_path: Path) -> None:
    """A notebook that fits no exercise, and a student without any, are named and not dropped in silence."""
    files = {"ada/ex1.ipynb": b"{}", "ada/untitled.ipynb": b"{}", "bob/essay.pdf": b"%PDF", "loose.ipynb": b"{}"}
    found = discover(laid(tmp_path / "one", files, "folder"))
    assert told(found) == [("ada", "", "ex1", 1), ("bob", "", "ex1", 1)]
    assert "essay.pdf is a PDF" in attempts(found, "bob", "ex1")[0].problem
    assert {stray.file for stray in found.strays} == {"untitled.ipynb", "loose.ipynb"}
    # Where hand-ins for several exercises came, nobody knows which one it is
    found = discover(laid(tmp_path / "two", files | {"ada/ex2.ipynb": b"{}"}, "folder"))
    assert told(found) == [("ada", "", "ex1", 1), ("ada", "", "ex2", 1)]
    assert {stray.file for stray in found.strays} == {"untitled.ipynb", "bob/essay.pdf", "loose.ipynb"}


def test_one_notebook_with_all_exercises(tmp_path: Path) -> None:
    """It is handed in for each that it holds, unless there is another notebook for that one, or one exercise is asked for."""
    cells = [cell for name in ("ex1", "ex2", "ex4") for cell in json.loads(solution(name))["cells"]]
    everything = json.dumps({**json.loads(solution("ex1")), "cells": cells}).encode()
    files = {"ada/lora.ipynb": everything, "bob/ex1.ipynb": solution("ex1"), "bob/ex2 and more.ipynb": everything}
    found = discover(laid(tmp_path, files, "folder"))
    assert told(found) == [(who, "", name, 1) for who in ("ada", "bob") for name in ("ex1", "ex2", "ex4")]
    assert attempts(found, "bob", "ex1")[0].file == "ex1.ipynb"
    assert told(discover(laid(tmp_path, files, "folder"), "ex2")) == [("ada", "", "ex2", 1), ("bob", "", "ex2", 1)]


def test_files_that_were_handed_in_with_a_notebook(tmp_path: Path) -> None:
    """They are kept with it by their paths from its folder, and with others it is another attempt."""
    notebook = json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": []}).encode()
    files = {
        "ada/ex1/ex1.ipynb": notebook,
        "ada/ex1/lora_utils.py": b"x = 1",
        "ada/ex1/data/captions.csv": b"a",
        "ada/ex1/ex2.ipynb": notebook,
        "ada/diary.txt": b"mine",
        "bob/all.zip": packed({"work/ex1.ipynb": notebook, "work/lora_utils.py": b"x = 2", "work/../../evil.py": b""}),
        "carol/ex1.ipynb": notebook,
    }

    def given(place: str) -> list[tuple[str, int, list[str]]]:
        found = discover(laid(tmp_path / place, files, "folder"))
        todo = deposit(found, Rules(("ex1",)), Store(tmp_path / "results"))
        kept = [
            (stored.student.id, stored.number, stored.folder / "beside.zip")
            for stored in todo
            if stored.exercise == "ex1"
        ]
        return sorted((who, number, Archive(path).files if path.exists() else []) for who, number, path in kept)

    ada, bob, carol = (
        ("ada", 1, ["data/captions.csv", "lora_utils.py"]),
        ("bob", 1, ["lora_utils.py"]),
        ("carol", 1, []),
    )
    assert given("a") == [ada, bob, carol]
    assert given("b") == [ada, bob, carol]
    files["ada/ex1/lora_utils.py"] = b"x = 3"
    assert given("c") == [("ada", 2, ada[2]), bob, carol]


def test_only_files_are_read(tmp_path: Path) -> None:
    """Links and FIFOs in a folder of hand-ins are no hand-ins."""
    folder = laid(tmp_path, {"ada/ex1.ipynb": b"{}"}, "folder")
    (folder / "eve").mkdir()
    (folder / "eve" / "ex1.ipynb").symlink_to("/etc/passwd")
    os.mkfifo(folder / "eve" / "ex2.ipynb")
    (folder / "mallory").symlink_to(folder / "ada")
    assert told(discover(folder)) == [("ada", "", "ex1", 1)]


@pytest.mark.parametrize("what", ["nothing", "an empty folder", "a text file", "a broken archive", "no notebooks"])
def test_refused(tmp_path: Path, what: str) -> None:
    """What holds no hand-ins is refused in a sentence that says what to name instead."""
    place = tmp_path / "given"
    if what == "an empty folder":
        place.mkdir()
    elif what == "a text file":
        place.write_text("hello")
    elif what == "a broken archive":
        place.write_bytes(b"PK\x03\x04" + bytes(100))
    elif what == "no notebooks":
        place = laid(tmp_path, {"ada/essay.pdf": b""}, "folder")
    with pytest.raises(ExplainedError) as refused:
        discover(place)
    assert refused.value.fix
    if what in ("an empty folder", "no notebooks"):
        assert isinstance(refused.value, DiscoveryError)


def _filled_in(exercise: str, mark: str) -> bytes:
    notebook = nbformat.read(CHECKOUT / "assignments" / f"{exercise}.ipynb", 4)
    notebook.cells[-1].source += f"\n{mark}"
    notebook.cells.append(nbformat.v4.new_code_cell(f"done = {mark!r}"))
    return nbformat.writes(notebook).encode()


@pytest.mark.parametrize("newest", NAMES)
def test_times_are_lost(tmp_path: Path, newest: str) -> None:
    """The same files unpacked once more, without their times, change nothing; with another one among them it is asked anew."""
    store = Store(tmp_path / "results")
    contents = {f"ada/{name}": _filled_in("ex3", name) for name in NAMES}
    place = laid(tmp_path / "once", contents, "folder")
    for number, name in enumerate(NAMES):
        when = datetime(2026, 11, 20 if name == newest else number + 1, tzinfo=UTC).timestamp()
        os.utime(place / "ada" / name, (when, when))
    (first,) = deposit(discover(place), Rules(("ex3",)), store)
    assert (first.file, first.number, first.told_by) == (newest, 5, "time")
    (again,) = deposit(
        discover(laid(tmp_path / "again", contents, "zip")), Rules(("ex3",)), Store(tmp_path / "results")
    )
    assert again == first
    assert len(Store(tmp_path / "results").attempts()) == 5
    contents["ada/ex3_v9.ipynb"] = _filled_in("ex3", "v9")
    (new,) = deposit(discover(laid(tmp_path / "new", contents, "zip")), Rules(("ex3",)), Store(tmp_path / "results"))
    assert (new.file, new.told_by) == ("ex3_v9.ipynb", "name")


UNTOUCHED = {
    "as handed out": (CHECKOUT / "assignments" / "ex3.ipynb").read_bytes(),
    "run, saved by another tool": nbformat.writes(
        nbformat.from_dict(
            {
                **nbformat.read(CHECKOUT / "assignments" / "ex3.ipynb", 4),
                "metadata": {"colab": {}},
                "cells": [
                    {
                        **cell,
                        "source": cell.source + "\n",
                        **({"execution_count": 7} if cell.cell_type == "code" else {}),
                    }
                    for cell in nbformat.read(CHECKOUT / "assignments" / "ex3.ipynb", 4).cells
                ],
            }
        )
    ).encode(),
    "without cells": nbformat.writes(nbformat.v4.new_notebook()).encode(),
}


@pytest.mark.parametrize("untouched", UNTOUCHED.values(), ids=UNTOUCHED.keys())
def test_nothing_filled_in(tmp_path: Path, untouched: bytes) -> None:
    """An assignment that was opened last, and in which nothing is filled in, does not take the place of the work."""
    place = laid(tmp_path, {"ada/ex3.ipynb": _filled_in("ex3", "mine"), "ada/ex3 (1).ipynb": untouched}, "folder")
    when = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    os.utime(place / "ada" / "ex3.ipynb", (when, when))
    found = discover(place)
    (todo,) = deposit(found, Rules(("ex3",)), Store(tmp_path / "results"))
    assert (todo.file, todo.others, todo.told_by) == ("ex3.ipynb", ("ex3 (1).ipynb",), "work")
    (place / "ada" / "ex3.ipynb").unlink()
    (todo,) = deposit(discover(place), Rules(("ex3",)), Store(tmp_path / "other"))
    assert (todo.file, todo.told_by) == ("ex3 (1).ipynb", "")
