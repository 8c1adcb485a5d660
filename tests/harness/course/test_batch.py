"""A whole batch: real hand-ins in the real sandbox, graded by the command, killed on the way and gone on with."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import psutil
import pytest

from graders.harness.course.store import Store
from graders.harness.result import Outcome, load
from tests.command import Ran, grade
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
CHECKOUT = Path(__file__).parents[3]
GRADE = Path(sys.executable).with_name("grade")
ROSTER = """id,name,exempt
101,"Lovelace, Ada",
102,"=HYPERLINK(""http://x"")",
103,Carl <b>,
104,Dora,
105,Eve,
106,Fred,ex1
"""


def hand_ins(path: Path) -> Path:
    """What Canvas would give: one right, one untouched and late, one broken, one empty, one whose kernel dies in the end."""
    solution = (CHECKOUT / "reference_solutions" / "ex1.ipynb").read_bytes()
    dying = nbformat.reads(solution.decode(), 4)
    dying.cells.append(nbformat.v4.new_code_cell("import os, time\ntime.sleep(2)\nos._exit(9)"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lovelaceada_101_1_ex1.ipynb", solution)
        archive.writestr("hyperlinkhttpx_LATE_102_2_ex1.ipynb", (CHECKOUT / "assignments" / "ex1.ipynb").read_bytes())
        archive.writestr("carl_103_3_ex1.ipynb", b"hello")
        archive.writestr("dora_104_4_ex1-2.ipynb", nbformat.writes(dying))
        archive.writestr("empty_107_5_ex1.ipynb", b"")
    return path


class Batch:
    """`grade batch` on hand-ins, in a folder of results."""

    def __init__(self, place: Path) -> None:
        self.place, self.results = place, place / "results"
        (place / "roster.csv").write_text(ROSTER)
        self.hand_ins = hand_ins(place / "submissions.zip")
        self.arguments = ["batch", self.hand_ins, "-o", self.results, "--roster", place / "roster.csv", "--jobs"]

    def run(self) -> Ran:
        """The command in this process, and one worker."""
        return grade(*self.arguments, 1, folder=self.place)

    def start(self, jobs: int) -> subprocess.Popen[str]:
        environment = {**os.environ, "COLUMNS": "200"}
        return subprocess.Popen(
            [GRADE, *self.arguments, str(jobs)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            # What a shell starts in the background ignores Ctrl-C, and so would what these tests start
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def concluded(self) -> int:
        return sum(stored.status is not None for stored in Store(self.results).attempts())

    def wait(self, process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not until() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)

    def traces(self, process: subprocess.Popen[str]) -> list[psutil.Process]:
        """What was started by a batch, found before it is ended."""
        with contextlib.suppress(psutil.Error):
            return psutil.Process(process.pid).children(recursive=True)
        return []

    def finish(self, process: subprocess.Popen[str]) -> Ran:
        printed, _ = process.communicate(timeout=PATIENCE)
        return Ran(process.returncode, printed, "", printed)

    def documents(self) -> dict[str, dict]:
        found = [json.loads(path.read_text()) for path in self.results.glob("feedback/*/feedback.json")]
        return {document["student"]["id"]: document["exercises"]["ex1"] for document in found}

    def folder(self, student: str) -> Path:
        (stored,) = [stored for stored in Store(self.results).attempts() if stored.student.id == student]
        return stored.graded


@dataclass
class Story:
    """A batch that was robbed of a worker at work and killed once it had finished a hand-in, and then interrupted."""

    batch: Batch
    robbed: Ran
    survivors: list[str]
    interrupted: Ran
    last: Ran


def _alive(processes: list[psutil.Process]) -> list[str]:
    left = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                left.append(" ".join(process.cmdline()))
    return left


def _at_work(command: subprocess.Popen[str]) -> list[psutil.Process]:
    """The workers that are grading: they hold the folder that a result is made in."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(command.pid).children(recursive=True):
            with contextlib.suppress(OSError):
                held = [os.readlink(path) for path in Path(f"/proc/{child.pid}/fd").iterdir()]
                if any(".partial-" in path for path in held):
                    found.append(child)
    return found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    batch = Batch(tmp_path_factory.mktemp("batch"))

    process = batch.start(jobs=2)
    batch.wait(process, lambda: len(_at_work(process)) == 2)
    for worker in _at_work(process)[:1]:
        worker.kill()
    batch.wait(process, lambda: batch.concluded() >= 1)
    started = batch.traces(process)
    process.kill()
    robbed = batch.finish(process)
    end = time.monotonic() + 10
    while _alive(started) and time.monotonic() < end:
        time.sleep(0.1)
    survivors = _alive(started)

    process = batch.start(jobs=1)
    batch.wait(process, lambda: bool(_at_work(process)))
    process.send_signal(signal.SIGINT)
    interrupted = batch.finish(process)

    return Story(batch, robbed, survivors, interrupted, batch.run())


def test_a_kill_leaves_no_process(story: Story) -> None:
    """Workers and the sandboxes that they run end with the command."""
    assert story.survivors == []


def test_ctrl_c(story: Story) -> None:
    """An interrupted batch ends in a sentence and not in a stack trace."""
    assert story.interrupted.status == 130, story.interrupted.printed
    assert "the same command goes on" in story.interrupted.printed
    assert "Traceback" not in story.interrupted.printed


def test_every_mark_is_right(story: Story) -> None:
    """After a kill, an interruption and the death of a worker everybody has what they have earned, nobody a false zero."""
    assert story.last.status == 1, story.last.printed  # written answers wait for a person
    given = {student: (grade["status"], grade["score"]) for student, grade in story.batch.documents().items()}
    dying = given.pop("104")
    assert given == {
        "101": ("graded", 20),
        "102": ("graded", 0),
        "103": ("refused", 0),
        "105": ("missing", 0),
        "106": ("exempt", None),
        "107": ("refused", 0),
    }
    assert dying == ("graded", 20)  # what was assigned before the kernel died counts
    assert story.batch.documents()["102"]["late"]


def test_it_says_what_happens(story: Story) -> None:
    """It tells the layout, a line for each hand-in, and what it sets aside because a worker or a kernel died."""
    assert "a Canvas zip of submissions: 5 hand-ins of 5 students (5 for ex1)" in story.last.printed
    for line in (
        "ex1 lovelaceada: 20 of 20",
        "ex1 hyperlinkhttpx: 0 of 20",
        "ex1 carl: refused: The file is not valid JSON",
    ):
        assert line in story.last.printed, story.last.printed
    aside = "set aside, to be tried once more alone"
    assert f"{aside}: The process that graded it died" in story.robbed.printed, story.robbed.printed
    assert f"ex1 dora: {aside}" in story.last.printed, story.last.printed


def test_feedback_for_everybody(story: Story) -> None:
    """Each student has an HTML file, a Markdown file and data, whatever became of the hand-in; the report names all."""
    folders = list((story.batch.results / "feedback").iterdir())
    assert len(folders) == 7
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == {"feedback.html", "feedback.md", "feedback.json"}
        assert (folder / "feedback.html").stat().st_size < 1_000_000
    report = (story.batch.results / "report.html").read_text()
    assert "Lovelace, Ada" in report
    assert "Carl <b>" not in report


def test_scores_go_into_the_instructors_own_gradebook(story: Story) -> None:
    """A copy of Canvas's export has everybody's score, EX for who is exempt, and nothing for who handed in nothing."""
    path = story.batch.place / "canvas.csv"
    rows = ["Student,ID,SIS Login ID,Section,Exercise 1 (7),Other (8)", "    Points Possible,,,,22,5"]
    rows += [f"Name {i},{i},,S,,1" for i in (101, 102, 103, 105, 106)]
    path.write_text("\n".join(rows) + "\n")
    done = grade("report", story.batch.results, "--gradebook", path, folder=story.batch.place)
    assert done.status == 1, done.printed
    with (story.batch.results / "gradebooks" / "canvas.csv").open() as file:
        given = {row["ID"]: row["Exercise 1 (7)"] for row in csv.DictReader(file)}
    assert given == {"": "22", "101": "20", "102": "0", "103": "0", "105": "", "106": "EX"}
    assert "2 students have no row there: Dora, empty" in done.stdout
    made = {path.name for path in (story.batch.results / "gradebooks").iterdir()}
    assert made == {"canvas.csv", "gradebook.csv", "nbgrader.csv", "junit.xml", "gradescope"}


def test_an_unknown_column_is_refused(story: Story) -> None:
    """Canvas would make a new assignment of it; everything else is written all the same."""
    path = story.batch.place / "wrong.csv"
    path.write_text("Student,ID,SIS Login ID,Section,Essay (7)\n    Points Possible,,,,22\nA,101,,S,\n")
    done = grade("report", story.batch.results, "--gradebook", path, folder=story.batch.place)
    assert done.status == 2
    assert "Essay" in done.stderr
    assert "Traceback" not in done.stderr
    assert (story.batch.results / "gradebooks" / "gradebook.csv").is_file()


def test_nothing_is_done_twice(story: Story) -> None:
    """The same command again runs no notebook."""
    before = {path: path.stat().st_mtime_ns for path in story.batch.results.rglob("run.json")}
    again = story.batch.run()
    assert again.status == 1
    assert again.printed.count("kept") == 3
    assert {path: path.stat().st_mtime_ns for path in story.batch.results.rglob("run.json")} == before


def test_rescore(story: Story) -> None:
    """What other graders gave is put right without running a notebook, and it is told whose points changed and why."""
    path = story.batch.folder("101") / "result.json"
    was = load(path)
    check, *others = was.checks
    made_by = was.origin["made_by"] | {"rubric": "0" * 64}
    other = replace(was, checks=(replace(check, outcome=Outcome.FAILED, score=0.0), *others))
    other = replace(other, origin={**was.origin, "made_by": made_by})
    other.save(path)
    everything = {one: one.read_bytes() for one in story.batch.results.rglob("*") if one.is_file()}
    dry = grade("rescore", story.batch.results, "--dry-run", folder=story.batch.place, COLUMNS="300")
    assert dry.status == 1, dry.printed
    assert {one: one.read_bytes() for one in story.batch.results.rglob("*") if one.is_file()} == everything
    before = {path: path.stat().st_mtime_ns for path in story.batch.results.rglob("run.json")}
    done = grade("rescore", story.batch.results, folder=story.batch.place, COLUMNS="300")
    assert done.status == 1, done.printed
    for said in (dry.stdout, done.stdout):
        assert re.search(rf"ex1 lovelaceada: [\d.]+ of 20 to 20 of 20: {check.id} 0/(\d+) to \1/\1", said)
        assert "Another rubric made 1 of 3 results: 1 by lora" in said
        assert f"1 of 3 totals change: 1 higher; {check.id} in 1." in said
    assert [load(one).id for one in (path.parent / "earlier").iterdir()] == [other.id]
    again = grade("rescore", story.batch.results, "--dry-run", folder=story.batch.place, COLUMNS="300")
    assert (again.status, "None of 3 totals changes." in again.stdout) == (0, True), again.printed
    assert "The rubric is the one" in again.stdout
    assert (load(path), load(path).id) == (was, was.id)
    assert load(path).score == 20
    assert {path: path.stat().st_mtime_ns for path in story.batch.results.rglob("run.json")} == before


def test_a_run_that_is_lost_is_made_again(story: Story) -> None:
    """Where one of both runs is gone nothing is scored anew, and the same batch runs that notebook again."""
    folder = story.batch.folder("101")
    shutil.rmtree(folder / "run")
    dry = grade("rescore", story.batch.results, "--dry-run", folder=story.batch.place, COLUMNS="300")
    assert (dry.status, "keeps its result: The folder run is missing" in dry.stdout) == (3, True), dry.printed
    again = story.batch.run()
    assert (again.status, again.printed.count("kept")) == (1, 2), again.printed
    assert (folder / "run" / "run.json").is_file()
    assert load(folder / "result.json").score == 20


def test_two_at_once(story: Story) -> None:
    """A second command on the same results waits for nothing and breaks nothing: it says that one is at work."""
    with Store(story.batch.results).locked():
        refused = story.batch.run()
    assert refused.status == 2
    assert "Another command is at work" in refused.printed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_full_disk(tmp_path: Path) -> None:
    """A full disk ends the batch in a sentence, nobody has a mark for it, and with space the same command goes on."""
    batch = Batch(tmp_path)
    with zipfile.ZipFile(batch.hand_ins, "w") as archive:
        archive.write(CHECKOUT / "reference_solutions" / "ex1.ipynb", "lovelaceada_101_1_ex1.ipynb")
    batch.results.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=120k", "small", str(batch.results)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        full = batch.run()
        assert full.status == 3, full.printed
        assert "The disk is full" in full.printed
        assert not any(stored.result for stored in Store(batch.results).attempts())
        subprocess.run(["mount", "-o", "remount,size=200m", str(batch.results)], check=True)
        assert batch.run().status == 1
        assert batch.documents()["101"]["score"] == 20
    finally:
        subprocess.run(["umount", str(batch.results)], check=True)


def test_no_sandbox_no_batch(tmp_path: Path) -> None:
    """Where no sandbox can be had, nothing of other people is run unless the instructor says so."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bwrap").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "bwrap").chmod(0o755)
    batch = Batch(tmp_path)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run([GRADE, *batch.arguments, "2"], env=environment, capture_output=True, text=True)
    assert done.returncode == 3
    assert "sandbox" in done.stderr
    assert not list(batch.results.rglob("run.json"))


def test_imports_that_are_missing_here(tmp_path: Path) -> None:
    """Such hand-ins wait for one answer from the instructor, the rest is graded, and the answer is kept for the course."""
    given, results = tmp_path / "given", tmp_path / "results"
    solution = nbformat.read(CHECKOUT / "reference_solutions" / "ex1.ipynb", 4)
    for student in ("ada", "bob", "carol"):
        (given / student).mkdir(parents=True)
        nbformat.write(solution, given / student / "ex1.ipynb")
        solution.cells[2].source = f"import korniaa\n# {student}\n{solution.cells[2].source}"
    command = ("batch", given, "-o", results, "--isolation", "none", "--jobs", 1)
    question = "`korniaa`, in 2 hand-ins: install it for notebooks, or is it the students' own file?"

    def scores() -> list[float | None]:
        documents = [json.loads(path.read_text()) for path in sorted(results.glob("feedback/*/feedback.json"))]
        return [document["exercises"]["ex1"]["score"] for document in documents]

    asked = grade(*command, folder=tmp_path)
    assert asked.status == 1
    assert question in asked.said
    assert f"# ? {question}" in (results / "course.toml").read_text()
    assert "korniaa" in (results / "report.html").read_text()
    assert scores() == [20.0, None, None]
    answered = grade(*command, "--own-file", "korniaa", folder=tmp_path)
    assert answered.status == 1
    assert question not in answered.said + (results / "course.toml").read_text()
    assert 'own_files = ["korniaa"]' in (results / "course.toml").read_text()
    assert scores() == [20.0, 0.0, 0.0]
