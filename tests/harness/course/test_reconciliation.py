"""Before anything is graded it is told who handed in, who did not, and what belongs to nobody."""

from __future__ import annotations

import io
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console

from graders.harness.cli.batch import batch
from graders.harness.cli.batch_progress import recognised
from graders.harness.course.discovery import discover
from graders.harness.course.reconciliation import reconcile
from graders.harness.course.roster import read
from tests.harness.course.test_discovery import laid

FILES = {
    "Ada Lovelace_11_assignsubmission_file/ex1.ipynb": b"{}",
    "Bob Ross_12_assignsubmission_file/essay.pdf": b"%PDF",
    "Cy Twombly_13_assignsubmission_file/ex1.ipynb": b"{}",
    "Ada Lovelace_14_assignsubmission_file/ex1.ipynb": b"{}",
}
ROSTER = 'id,name\n11,Ada Lovelace\n77,"Ross, Bob"\n78,Dora\n'


def test_everybody(tmp_path: Path) -> None:
    """Everybody on the list and everybody who handed in is in one of the lists."""
    (tmp_path / "roster.csv").write_text(ROSTER)
    found, roster = discover(laid(tmp_path, FILES, "zip")), read(tmp_path / "roster.csv")
    held = reconcile(found, roster)
    assert held.listed == 3
    assert [student.id for student in held.handed_in] == ["11"]
    assert [student.id for student in held.instead] == ["12"]
    assert [student.id for student in held.nothing] == ["78"]
    assert {student.id for student in held.unlisted} == {"13", "14"}
    assert len(held.doubts) == 1
    console = Console(file=io.StringIO(), width=200)
    recognised(found, held, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    for line in (
        "1 of 3 students on the list handed in a notebook.",
        "Something else than a notebook came from Bob Ross (",
        "Nothing came from Dora.",
        "On nobody's list, but handed in: ",
        "2 people called Ada Lovelace handed in (11, 14), and one is on the list: 14 is not taken for that one.",
    ):
        assert line in said


def test_check_grades_nothing(tmp_path: Path) -> None:
    """`grade batch --check` says whose the hand-ins are, and makes no results."""
    (tmp_path / "roster.csv").write_text(ROSTER)
    given = laid(tmp_path, FILES, "zip")
    asked = [str(given), "-o", str(tmp_path / "results"), "--roster", str(tmp_path / "roster.csv"), "--check"]
    done = CliRunner().invoke(batch, asked, catch_exceptions=False)
    assert done.exit_code == 0
    assert "a Moodle zip of submissions: 4 hand-ins of 4 students" in done.output
    assert "Nothing came from Dora" in done.output
    assert not (tmp_path / "results").exists()


def test_check_asks_for_the_layout(tmp_path: Path) -> None:
    """A layout that is not clear is asked for, and the answer is taken."""
    given = laid(
        tmp_path,
        dict.fromkeys(("Monday/ada/ex1.ipynb", "Monday/bob/ex1.ipynb", "Friday/cy/ex1.ipynb"), b"{}"),
        "folder",
    )
    asked = [str(given), "-o", str(tmp_path / "results"), "--check"]
    assert CliRunner().invoke(batch, asked).exit_code != 0
    done = CliRunner().invoke(batch, [*asked, "--layout", "{group}/{id}/**"], catch_exceptions=False)
    assert "3 hand-ins of 3 students" in done.output


def test_check_leaves_out_what_is_not_set(tmp_path: Path) -> None:
    """`grade batch --check` leaves out the exercises that course.toml does not name, as grading does."""
    given = laid(tmp_path, dict.fromkeys(("ada_ex1.ipynb", "ada_ex2.ipynb"), b"{}"), "folder")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "course.toml").write_text('exercises = ["ex1"]\n')
    done = CliRunner().invoke(batch, [str(given), "-o", str(tmp_path / "results"), "--check"], catch_exceptions=False)
    assert "1 hand-in of 1 student" in done.output
    assert "ex2 is not among the course's exercises" in " ".join(done.output.split())
