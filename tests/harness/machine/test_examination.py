"""`grade doctor` says what a machine is good for, and a run what it lacks."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from rich.console import Console

from graders.harness.finding import Finding
from graders.harness.machine import examination, packages, room
from graders.harness.machine.examination import Part
from graders.harness.report import doctor
from graders.lesson import LESSON
from graders.lora import catalog


@pytest.fixture
def no_bubblewrap(tmp_path) -> str:
    """A PATH on which everything is but bubblewrap."""
    place = tmp_path / "bin"
    place.mkdir()
    for folder in os.environ["PATH"].split(":"):
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            if program.name != "bwrap" and not (place / program.name).exists():
                (place / program.name).symlink_to(program)
    return str(place)


def test_student_without_bubblewrap(grade, no_bubblewrap):
    """Without bubblewrap one's own notebooks can be graded; what cannot is said, and is a failure only if asked for."""
    status, said = grade("doctor", PATH=no_bubblewrap)
    assert status == 0, said
    assert "You can grade your own notebooks here." in said
    assert "✗ a sandbox can be had: bubblewrap is not installed" in said
    assert "Other people's notebooks cannot be run safely here" in said
    assert "\x1b" not in said
    status, said = grade("doctor", "--sandbox", PATH=no_bubblewrap)
    assert status == 1


@pytest.mark.parametrize(("system", "said"), [("darwin", "it needs Linux"), ("linux", "could not be put to the test")])
def test_no_sandbox_to_be_had(monkeypatch, tmp_path, system, said):
    """Where the sandbox cannot even be put to the test, as on macOS, that is said of it."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = examination.sandbox()
    assert said in str(finding.broken)
    assert finding.fix


def rendered(*findings: Finding, sandbox: bool = False) -> tuple[tuple[bool, bool], str]:
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    answer = doctor.render([Part("Title", iter(findings), sandbox)], console)
    return answer, console.export_text()


def test_verdict():
    """What is essential decides, that of the sandbox only for other people's notebooks; a warning decides nothing."""
    broken = Finding("a", "words", "broken", "Mend it.")
    warning = Finding("b", "words", "tight", "Mend it.", essential=False)
    assert rendered(broken)[0] == (False, False)
    assert rendered(broken, sandbox=True)[0] == (True, False)
    assert rendered(warning)[0] == (True, True)
    assert rendered(Finding("c", "words"))[0] == (True, True)


def test_without_colours():
    """Without colours, what keeps from grading and what is a warning differ, and each fix stands below its finding."""
    said = rendered(
        Finding("a", "one", "broken", "Mend \x1b[2Jit."), Finding("b", "two", "tight", "Look.", essential=False)
    )
    assert "✗ one: broken\n    Mend \\x1b[2Jit." in "\n".join(line.rstrip() for line in said[1].splitlines())
    assert "! two: tight\n    Look." in "\n".join(line.rstrip() for line in said[1].splitlines())


def test_damaged_fixtures(monkeypatch, tmp_path):
    """A fixture that is missing or damaged is named; a file that lies beside them is not."""
    small = tmp_path / "fixtures"
    shutil.copytree(catalog.ROOT / "configs", small / "configs")
    manifest = json.loads((catalog.ROOT / "manifest.json").read_text())
    manifest["fixtures"] = {"configs": manifest["fixtures"]["configs"]}
    (small / "manifest.json").write_text(json.dumps(manifest))
    (small / "configs" / ".DS_Store").write_text("")
    monkeypatch.setattr(catalog, "ROOT", small)

    def found() -> str | None:
        (finding,) = next(p for p in examination.examine(tmp_path) if "data" in p.title).findings
        return finding.broken

    assert found() is None
    some = sorted(path for path in (small / "configs").rglob("*.json"))[:2]
    some[0].write_text("{}")
    assert found() == f"{some[0].relative_to(small)} is missing or damaged"
    some[1].unlink()
    assert found() == f"{some[0].relative_to(small)} and 1 more are missing or damaged"
    (small / "manifest.json").unlink()
    assert "manifest.json" in str(found())


def test_warnings_do_not_stop_a_run(monkeypatch, tmp_path):
    """What may go wrong is said, and the run goes on; conflicts of packages are among it."""
    conflict = Finding("a", "x needs y", "it is missing", "Install y.", essential=False)
    monkeypatch.setattr(packages, "conflicts", lambda: iter([conflict]))
    monkeypatch.setattr(room, "free_memory", lambda **given: LESSON.outlines["ex3"].memory - 1)
    assert [warning.name for warning in examination.before_run("ex3", {}, "none", tmp_path)] == ["memory", "a"]
