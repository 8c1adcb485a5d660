"""What an instructor has decided about a course is kept where people can read and edit it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from graders.harness.cli.batch import batch
from graders.harness.course import settings
from graders.harness.course.discovery import discover
from graders.harness.course.rules import Extension, Rules
from graders.harness.course.settings import Settings, SettingsError
from graders.harness.marks import Student
from tests.harness.course.test_discovery import laid

WRITTEN = """\
# Spring course
own_files = ["lora_utils"]  # they wrote it in week 3
# ? `kornia`, in 14 hand-ins: install it?

[mine]
anything = 1  # stays
"""


def test_comments_survive(tmp_path: Path) -> None:
    """What people wrote stays as they wrote it; questions are those that are open now."""
    (tmp_path / "course.toml").write_text(WRITTEN)
    assert settings.read(tmp_path) == Settings(own_files=("lora_utils",))
    decided = Settings(python="/opt/py", own_files=("lora_utils", "kornia"))
    settings.write(tmp_path, decided, ["`lpips`, in 1 hand-in:\ninstall it?"])
    text = (tmp_path / "course.toml").read_text()
    assert settings.read(tmp_path) == decided
    assert "# Spring course" in text
    assert "anything = 1  # stays" in text
    assert "# they wrote it in week 3" in text
    assert "kornia`" not in text
    assert "# ? `lpips`, in 1 hand-in: install it?" in text
    settings.write(tmp_path, settings.read(tmp_path), ["`lpips`, in 1 hand-in:\ninstall it?"])
    assert (tmp_path / "course.toml").read_text() == text
    settings.write(tmp_path, settings.read(tmp_path))
    assert "# ?" not in (tmp_path / "course.toml").read_text()


def test_nothing_decided(tmp_path: Path) -> None:
    """A course about which nothing is decided or asked has no such file; a folder that is not there yet is one."""
    assert settings.read(tmp_path / "none") == Settings()
    settings.write(tmp_path, Settings())
    assert not (tmp_path / "course.toml").exists()


RULES = """\
timezone = "Europe/Berlin"
attempts = "best"
late_penalty = 10
grace_minutes = 5

[due]
ex1 = 2026-11-30T23:59:00
ex2 = "2026-12-07 23:59"
ex3 = 2026-12-14T23:59:00Z

[[extensions]]
person = "Lovelace, Ada"
exercise = "ex1"
due = 2026-12-02T12:00:00
"""
BERLIN = ZoneInfo("Europe/Berlin")
DUE = datetime(2026, 11, 30, 23, 59, tzinfo=BERLIN)


def test_rules(tmp_path: Path) -> None:
    """Times are those of the course's zone, an extension is one person's for one exercise, and the grace time is not late."""
    (tmp_path / "course.toml").write_text(RULES)
    rules = settings.read(tmp_path).rules(Rules(("ex1", "ex2", "ex3")))
    assert (rules.attempts, rules.late_penalty, rules.grace) == ("best", 10, timedelta(minutes=5))
    assert rules.due["ex1"] == DUE
    assert rules.due["ex3"] == datetime(2026, 12, 14, 23, 59, tzinfo=UTC)
    ada, bob = Student("1", "Ada Lovelace"), Student("2", "Bob Ross")
    assert rules.extensions[0].is_for(ada, "ex1")
    late = DUE + timedelta(hours=30)
    assert rules.days_late("ex1", late, student=ada) == 0
    assert rules.days_late("ex1", late, student=bob) == 2
    assert rules.days_late("ex1", DUE + timedelta(minutes=5), student=bob) == 0
    assert rules.days_late("ex1", DUE + timedelta(minutes=6), student=bob) == 1
    assert rules.days_late("ex2", late, student=ada) == 0
    assert rules.days_late("ex4", late + timedelta(days=99), student=bob) == 0


def test_exercises_that_are_set(tmp_path: Path) -> None:
    """What is handed in for an exercise that is not set yet waits, and makes nobody's work missing."""
    (tmp_path / "course.toml").write_text('exercises = ["ex1"]')
    decided = settings.read(tmp_path)
    assert decided.rules(Rules(("ex1", "ex2"))).exercises == ("ex1",)
    found = discover(laid(tmp_path, {"ada/ex1.ipynb": b"{}", "bob/ex2.ipynb": b"{}"}, "folder"))
    found.keep(decided.exercises)
    assert [attempt.student.id for attempt in found.attempts] == ["ada"]
    assert [stray.student.id for stray in found.strays if stray.student] == ["bob"]


def test_results_among_hand_ins(tmp_path: Path) -> None:
    """Results are not made among the hand-ins, and those that lie there are no hand-ins."""
    given = laid(tmp_path, {"ada/ex1.ipynb": b"{}"}, "folder")
    done = CliRunner().invoke(batch, [str(given), "-o", str(given / "results")])
    assert done.exit_code == 2
    assert "would lie among the HAND-INS" in done.output
    results = given / "results"
    (results / "hand-ins" / "ada").mkdir(parents=True)
    (results / "hand-ins" / "ada" / "ex2.ipynb").write_bytes(b"{}")
    (results / "batch.json").write_text("{}")
    assert [attempt.exercise for attempt in discover(given).attempts] == ["ex1"]


def test_more_time_is_never_less() -> None:
    """A deadline in the roster that is earlier than the exercise's own, because it was for another one, shortens nothing."""
    rules = Rules(("ex2",), due={"ex2": DUE}, extensions=(Extension("2", "ex2", DUE - timedelta(days=9)),))
    assert rules.days_late("ex2", DUE - timedelta(days=1), DUE - timedelta(days=14), Student("2")) == 0


def test_new_decisions_come_before_tables(tmp_path: Path) -> None:
    """What is added to a file with tables is not taken for a part of the last one, and due times are added to theirs."""
    (tmp_path / "course.toml").write_text("# mine\n[due]\nex1 = 2026-11-30T23:59:00Z  # first\n")
    decided = replace(settings.read(tmp_path), late_penalty=5.0, own_files=("mine",))
    settings.write(tmp_path, decided.with_(Settings(due={"ex2": DUE})))
    assert settings.read(tmp_path).late_penalty == 5
    assert settings.read(tmp_path).own_files == ("mine",)
    assert settings.read(tmp_path).due["ex2"] == DUE
    text = (tmp_path / "course.toml").read_text()
    assert "# first" in text
    assert "# mine" in text


def test_options_change_nothing_silently(tmp_path: Path) -> None:
    """An option that contradicts what is decided is refused with the line; nothing is graded, and --set changes it."""
    results = tmp_path / "results"
    results.mkdir()
    (results / "course.toml").write_text(RULES)
    given = laid(tmp_path, {"ada/ex1.ipynb": b"{}"}, "folder")
    asked = ["-o", str(results), "--isolation", "none", "--late-penalty", "0"]
    done = CliRunner(env={"COLUMNS": "500"}).invoke(batch, [str(given), *asked])
    assert done.exit_code == 2
    assert "course.toml, line 3 says otherwise: late_penalty 10 → 0" in " ".join(done.output.split())
    assert "--set" in done.output
    assert not (results / "hand-ins").exists()
    assert (results / "course.toml").read_text() == RULES
    with pytest.raises(SettingsError, match="line 7 says otherwise: due time of ex1"):
        settings.ensure_said(results, settings.read(results), Settings(due={"ex1": DUE + timedelta(days=1)}))
    settings.write(results, settings.read(results).with_(Settings(late_penalty=0.0)))
    assert settings.read(results).late_penalty == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("late_penalty = 120", 1),
        ("\nlate_penalty = true", 2),
        ('attempts = "first"', 1),
        ('timezone = "Berlin"', 1),
        ("[due]\nex1 = 3", 2),
        ("[due]\nex9 = 2026-11-30T23:59:00", 2),
        ("[due]\nex1 = 2026-11-30", 2),
        ("[due]\nex1 = 0001-01-01T00:00:00", 2),
        ('[[extensions]]\nexercise = "ex1"', 1),
        ("[due]\nex1 = 2026-11-30T23:59:00\n[weights]\nex1 = 3", 4),
        ("[weights.ex1]\nrank_ratio = 2\n[weights.ex9]\nrank_ratio = 2", 3),
        ("[weights.ex2]\nnoise = 2\n[ weights . ex1 ]\nnoise = 2", 4),
        ("[weights.ex1]\nrank_ratio = -1", 2),
        ("[weights.ex1]\nlora_fraction = 1\n'rank_ratio' = \"2\"", 3),
        ("[weights.ex1]\nrank_ratio = nan", 2),
        ("[weights.ex1]\nrank_ratio = inf", 2),
        ("[weights.ex1]\nrank_ratio = true", 2),
        ("[weights.ex1]\nwritten_answers = 3", 2),
        ("weights.ex1.rank_ratio = 1\nweights.ex1.rank = 1", 2),
        ("attempts = 'best'\nweights = { ex1 = { rank = 1 } }", 2),
        ("weights = 3", 1),
    ],
)
def test_what_is_wrong_has_its_line(tmp_path: Path, text: str, line: int) -> None:
    """A value of another kind is refused with its line."""
    (tmp_path / "course.toml").write_text(text)
    with pytest.raises(SettingsError, match=f"course.toml, line {line} cannot be used"):
        settings.read(tmp_path)


@pytest.mark.parametrize("text", ["own_files = ", 'own_files = "kornia"', "python = 3", "own_files = [1]", "\udcff"])
def test_what_cannot_be_read(tmp_path: Path, text: str) -> None:
    """A file that says nothing that can be followed is refused by its path, and stays as it is."""
    (tmp_path / "course.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SettingsError, match=r"course\.toml(, line 1)? cannot be used"):
        settings.read(tmp_path)
