"""Lessons with one fault each: every one is refused when it is loaded, in a sentence that names it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from graders.harness import lessons, new_lesson
from graders.harness.validation import faults
from tests import command as here

RUBRIC, LESSON = "NAME/ex1.py", "NAME/__init__.py"
FIRST = "@pytest.mark.points(2)\ndef"
SECOND = '@pytest.mark.points(2)\ndef test_second(hand_in: HandIn) -> None:\n    """It is second"""\n\n\n'
EXERCISE = 'parameters={"NUMBERS": [2.0, 3.0, 6.0]},'
IN_RUBRIC, IN_CHECK = "NAME.ex1", "NAME.ex1, the check sum_of_squares"

FAULTS = [
    # what is wrong, in which file, what stands there, what stands there now, and what the refusal says
    ("needs what is no check", RUBRIC, FIRST, f'@pytest.mark.needs("sum_of_square")\n{FIRST}',
     f"In {IN_CHECK} needs sum_of_square, which is no check there.", "Did you mean sum_of_squares?"),
    ("sees what is no check", RUBRIC, FIRST, f'@pytest.mark.sees("total")\n{FIRST}',
     f"In {IN_CHECK} sees total, which is no check there.", "There are: sum_of_squares."),
    ("is checked again without being there", RUBRIC, EXERCISE, f'{EXERCISE} checked_again=("sums",),',
     f"{IN_RUBRIC} has sums checked again, which is no check there.", "There are: sum_of_squares."),
    ("needs itself", RUBRIC, FIRST, f'@pytest.mark.needs("sum_of_squares")\n{FIRST}',
     f"In {IN_RUBRIC}, checks need each other in a circle: sum_of_squares → sum_of_squares.", "Take one of them out"),
    ("two checks need each other", RUBRIC, FIRST,
     f'@pytest.mark.needs("sum_of_squares")\n{SECOND}@pytest.mark.needs("second")\n{FIRST}',
     f"In {IN_RUBRIC}, checks need each other in a circle: second → sum_of_squares → second.", "Take one of them out"),
    ("needs what is made after it", RUBRIC, FIRST, f'@pytest.mark.needs("sum_of_squares")\n{SECOND}{FIRST}',
     f"In {IN_RUBRIC}, the check second needs sum_of_squares, which is made after it.", "Move test_sum_of_squares up"),
    ("a misconception without a sentence", RUBRIC, '"sum-squared" if', '"sum-squred" if',
     f"In {IN_RUBRIC}, in the check sum_of_squares, the misconception sum-squred is named", "Did you mean sum-squared?"),
    ("no points", RUBRIC, FIRST, "def", f"In {IN_CHECK} has no points.", "@pytest.mark.points(…)"),
    ("points twice", RUBRIC, FIRST, f"@pytest.mark.points(1)\n{FIRST}",
     f"In {IN_CHECK} says 2 times how many points it has.", "Put one @pytest.mark.points"),
    ("fewer points than none", RUBRIC, "points(2)", "points(-2)", f"In {IN_CHECK} has -2 points.", "Give it some"),
    ("points in words", RUBRIC, "points(2)", 'points("two")', f"In {IN_CHECK} has points that are no number.", "(2)"),
    ("points that do not add up", RUBRIC, "points(2)", "points(3)",
     f"The checks of {IN_RUBRIC} have 3 points together, and the lesson gives ex1 2.", "Mend the points"),
    ("no docstring", RUBRIC, '    """`sum_of_squares` adds', '    _ = """`sum_of_squares` adds',
     f"In {IN_CHECK} has no docstring.", "the title that students see"),
    ("no check", RUBRIC, "def test_", "def check_", f"The rubric {IN_RUBRIC} has no check.", "begins with test_"),
    ("no rubric", LESSON, '"NAME.ex1"', '"NAME.ex7"', "The rubric NAME.ex7 of ex1 is missing", "Write it"),
    ("no exercise in the rubric", RUBRIC, "EXERCISE =", "TASK =", f"The rubric {IN_RUBRIC} has no EXERCISE.", "Write there"),
    ("another exercise in the rubric", RUBRIC, 'name="ex1"', 'name="ex2"',
     f"The exercise of {IN_RUBRIC} is called 'ex2', and ex1 in the lesson.", "Call it ex1."),
    ("an exercise by another name", LESSON, '{"ex1":', '{"sums":',
     "is called 'sums', where ex1 should be.", "Call the exercises ex1, ex2 and so on"),
    ("a kind that there is not", RUBRIC, '"sum_of_squares": "value"', '"sum_of_squares": "values"',
     "asks for sum_of_squares as 'values', which is no kind of hand-in.", "Did you mean value?"),
    ("a variable that no check reads", RUBRIC, ': "value"}', ': "value", "mean": "value"}',
     f"The exercise of {IN_RUBRIC} asks for mean, which no check reads.", "or do not ask for it"),
    ("another parameter that there is not", RUBRIC, EXERCISE, f'{EXERCISE} others=({{"NUMBER": [1.0]}},),',
     f"The exercise of {IN_RUBRIC} has no parameter NUMBER", "Did you mean NUMBERS?"),
    ("a comparison without a second run", RUBRIC, "hand_in: HandIn,", "hand_in: HandIn, again,",
     f"In {IN_CHECK} compares two runs, and there is no second one.", "Give the exercise `others`"),
    ("no folder of notebooks", LESSON, '"assignments"', '"notebooks"', "There is no folder of notebooks", "Mend `notebooks`"),
    ("no assignment", LESSON, '_HERE / "assignments"', '_HERE.parent / "zoo"', "There is no assignment ex1.ipynb in", "release"),
    ("no fixtures", LESSON, "    misconceptions", '    fixtures=Fixtures(_HERE / "data"),\n    misconceptions',
     "There is no folder of fixtures", "Install the package again."),
    ("shares what there is not", LESSON, "    misconceptions", '    shared=("api.py",),\n    misconceptions',
     "`shared` of the lesson NAME names api.py", "Mend its name"),
    ("what is undecisive is not there", LESSON, "    misconceptions", '    undecisive=("pages",),\n    misconceptions',
     "`undecisive` of the lesson NAME names pages", "Mend its name"),
    ("libraries that there are not", LESSON, "    misconceptions", '    libraries="NAME.slow",\n    misconceptions',
     "`libraries` of the lesson NAME names NAME.slow", "Mend its name"),
]  # fmt: skip


def changed(folder: Path, name: str, file: str, old: str, new: str) -> Path:
    """The template's lesson with one text replaced by another."""
    new_lesson.write(name, folder)
    place = folder / file.replace("NAME", name)
    text = place.read_text("utf-8").replace("import Lesson", "import Fixtures, Lesson")
    assert text.count(old.replace("NAME", name)) == 1
    place.write_text(text.replace(old.replace("NAME", name), new.replace("NAME", name)), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("number", "file", "old", "new", "problem", "fix"),
    [pytest.param(number, *row[1:], id=row[0]) for number, row in enumerate(FAULTS)],
)
def test_is_refused(tmp_path: Path, number: int, file: str, old: str, new: str, problem: str, fix: str) -> None:
    """What only makes sense otherwise keeps the lesson from being loaded, and the refusal says where it is and what helps."""
    name = f"faulty{number}"
    folder = changed(tmp_path / name, name, file, old, new)
    with pytest.raises(lessons.LessonError) as refused:
        lessons.load(str(folder))
    assert problem.replace("NAME", name) in refused.value.problem
    assert fix in refused.value.fix


def test_watchers_take_the_standard_library_alone(tmp_path: Path) -> None:
    """What runs in a notebook's kernel imports nothing that may be missing there, not even where it is called."""
    new_lesson.write("watched", tmp_path / "watched")
    lesson = lessons.load(str(tmp_path / "watched"))
    watchers = tmp_path / "seen.py"
    lesson = replace(lesson, watchers=watchers)
    watchers.write_text("import sys\nfrom collections import abc\n")
    assert not [*faults(lesson)]
    watchers.write_text("def begin():\n    import torch.nn\n")
    (fault,) = faults(lesson)
    assert fault.problem == f"The watchers {watchers} import torch.nn, and a notebook's kernel may not have it."


def test_what_rubrics_share_is_read_as_well(tmp_path: Path) -> None:
    """An exercise, its parameters, a check and texts may stand in other modules of the lesson: what is wrong there is found."""
    new_lesson.write("sharing", tmp_path / "sharing")
    place = tmp_path / "sharing" / "sharing"
    rubric = (place / "ex1.py").read_text()
    (place / "given.py").write_text('GIVEN = {"NUMBERS": [3.0]}\nOTHERS = [{**GIVEN, "NUMBERS": [2.0]}]\n')
    moved = rubric.replace(EXERCISE, "parameters=dict(given.GIVEN), others=given.OTHERS,")
    (place / "checks.py").write_text(moved.replace("import pytest", "import pytest\nfrom . import given"))
    (place / "ex1.py").write_text("from .checks import EXERCISE, test_sum_of_squares\n")
    lesson = lessons.load(str(tmp_path / "sharing"))

    (place / "given.py").write_text('GIVEN = {"NUMBERS": [3.0]}\nOTHERS = [{**GIVEN, "NUMBER": [2.0]}]\n')
    (place / "checks.py").write_text(
        (place / "checks.py").read_text().replace("dict(given.GIVEN)", "given.GIVEN").replace("points(2)", "points(1)")
    )
    (place / "hints.py").write_text('SAID = dict(misconception="too-large" if 1 else None)\n# misconception="none"\n')
    assert [fault.problem for fault in faults(lesson)] == [
        "The exercise of sharing.ex1 has no parameter NUMBER, and `others` sets it or is about it.",
        "The checks of sharing.ex1 have 1 points together, and the lesson gives ex1 2.",
        "In hints.py, the misconception too-large is named, and there is no sentence for it.",
    ]


def test_refused_in_a_sentence_by_the_command(tmp_path: Path) -> None:
    """What is refused at load is told as any error is, whatever was asked for."""
    folder = changed(tmp_path / "faulty", "faulty", RUBRIC, "points(2)", "points(-2)")
    done = here.grade("--lesson", folder, "ex1", folder / "solutions" / "ex1.ipynb", folder=tmp_path)
    assert done.status == 2
    assert "In faulty.ex1, the check sum_of_squares has -2 points." in done.said


def test_takes_no_library() -> None:
    """The lesson that comes with the graders is right, which is found out without importing what its rubrics need."""
    code = (
        "import sys, time; from graders.harness import lessons; lesson = lessons.read('lora');"
        "from graders.harness.validation import faults; began = time.process_time(); print([*faults(lesson)]);"
        "print(f'{1000 * (time.process_time() - began):.0f} ms', file=sys.stderr);"
        "print([name for name in ('torch', 'diffusers', 'graders.ex1') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print(done.stderr)
    assert done.stdout.split("\n") == ["[]", "[]", ""]
