"""`grade` on one's own notebook, as a student uses it."""

import hashlib
import json
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest

from graders.harness.cli.main import main
from graders.harness.run import warm_client
from tests.command import grade
from tests.patience import PATIENCE

GRADE = Path(sys.executable).with_name("grade")
SOLUTION = Path(__file__).parents[3] / "reference_solutions" / "ex1.ipynb"


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A right hand-in, in a folder of its own."""
    path = tmp_path / "ex1.ipynb"
    path.write_text(SOLUTION.read_text())
    return path


def spoil(notebook: Path) -> None:
    """Have the notebook hand in a fraction in per cent."""
    document = json.loads(SOLUTION.read_text())
    for cell in document["cells"]:
        if cell["cell_type"] == "code" and "lora_fraction" in "".join(cell["source"]):
            cell["source"] = (
                "".join(cell["source"]) + "\nlora_fraction = {r: 100 * f for r, f in lora_fraction.items()}\n"
            )
    notebook.write_text(json.dumps(document))


def all_of(terminal: int) -> str:
    """What is written to the other end of a terminal until that is closed."""
    said = b""
    with open(terminal, "rb", buffering=0) as file, suppress(OSError):
        while more := file.read(65536):
            said += more
    return said.decode()


def test_only_one_check(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--only` makes that check, tells no others, and runs the notebook once, for which libraries are imported once."""
    spoil(notebook)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # by which one run at a time differs from two
    monkeypatch.setattr(warm_client, "_kept", kept := [])
    ran = grade("ex1", "--only", "rank_ratio", folder=notebook.parent)
    assert ran.status == 0
    assert re.search(r"Score: (\d) of \1$", ran.stdout, re.MULTILINE)
    assert "lora_fraction" not in ran.printed
    assert not (notebook.parent / ".grade" / "ex1" / "ex1" / "again").exists()
    for warm in kept:
        warm.close()
    assert len(kept) == 1


def test_a_cell_that_does_not_compile(notebook: Path) -> None:
    """It is told before anything runs, and costs nothing of what the cells before it have earned."""
    document = json.loads(SOLUTION.read_text())
    last = [cell for cell in document["cells"] if cell["cell_type"] == "code"][-1]
    last["source"] = "\nlora_fraction = {\nunet_param_count = 3"
    notebook.write_text(json.dumps(document))
    ran = grade("ex1", "--only", "cross_attention_layers", folder=notebook.parent)
    assert ran.status == 0
    told = " ".join(ran.printed.split())
    assert told.startswith("Line 2 of the cell under *Compare* is not valid Python: '{' was never closed.")
    assert "'{' was never closed, in line 2 of the cell under *Compare*" in told


def test_no_such_check(notebook: Path) -> None:
    """The checks that there are are listed before anything is run."""
    ran = grade("ex1", "--only", "nothing", folder=notebook.parent)
    assert ran.status == 2
    assert "cross_attention_layers, lora_param_counts, rank_ratio" in ran.said
    assert not (notebook.parent / ".grade").exists()


def test_a_page_that_shows_the_same(notebook: Path) -> None:
    """`--html` leaves a page with the feedback that the terminal shows."""
    spoil(notebook)
    ran = subprocess.run(
        [GRADE, "ex1", "--html"], cwd=notebook.parent, capture_output=True, text=True, timeout=PATIENCE
    )
    assert ran.returncode == 1
    page = notebook.parent / ".grade" / "ex1" / "ex1" / "feedback.html"
    assert str(page) in ran.stdout
    assert "percentage" in ran.stdout
    assert "Feedback for ex1.ipynb" in page.read_text()
    assert "percentage" in page.read_text()


def test_graded_twice_at_once(notebook: Path) -> None:
    """A second command leaves alone what the first is at work with, and says so."""
    with subprocess.Popen([GRADE, "ex1", "--only", "lora_fraction"], cwd=notebook.parent) as first:
        deadline = time.monotonic() + PATIENCE
        while not [*notebook.parent.glob(".grade/ex1/.partial-*/run")]:
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        second = grade("ex1", "--only", "lora_fraction", folder=notebook.parent)
        assert (second.status, first.wait(timeout=PATIENCE)) == (2, 0)
    assert "being graded already" in second.said
    assert (notebook.parent / ".grade/ex1/ex1/result.json").is_file()
    assert not [*notebook.parent.glob(".grade/ex1/.partial-*")]


@pytest.mark.parametrize("left", ["a folder", "a link"])
def test_what_an_interrupted_grading_left(notebook: Path, left: str) -> None:
    """It takes no part in the next one; where it is a link, what that leads to is nobody's business."""
    partial = f".partial-{hashlib.sha256(b'ex1').hexdigest()[:12]}"
    place = notebook.parent / ".grade/ex1" / partial
    target = place if left == "a folder" else notebook.parent / "mine"
    target.mkdir(parents=True)
    (target / "profile.json").write_text("{}")
    (target / "run").mkdir()
    if left == "a link":
        place.parent.mkdir(parents=True)
        place.symlink_to(target)
    ran = grade("ex1", "--only", "lora_fraction", folder=notebook.parent)
    assert ran.status == 0, ran.printed
    assert not (notebook.parent / ".grade/ex1/ex1/profile.json").exists()
    assert target.exists() == (left == "a link")
    if left == "a link":
        assert (target / "profile.json").read_text() == "{}"


def test_watched(notebook: Path) -> None:
    """With `--watch` it is graded again when it is saved, whatever was saved, until Ctrl-C."""
    process = subprocess.Popen(
        [GRADE, "ex1", "--watch", "--only", "lora_fraction"],
        cwd=notebook.parent,
        stdout=subprocess.PIPE,
        text=True,
        # What was started in the background is deaf to it, and so are its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    told: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: told.extend(process.stdout or ()), daemon=True)
    reader.start()

    def wait(times: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while " ".join("".join(told).split()).count("to be saved; Ctrl-C ends.") < times:  # the lines are wrapped
            assert time.monotonic() < deadline, "".join(told)
            time.sleep(0.2)

    try:
        wait(1)
        spoil(notebook)
        wait(2)
        notebook.write_text("half a noteb")
        wait(3)
        notebook.write_text(SOLUTION.read_text())
        wait(4)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        process.kill()
    reader.join(timeout=PATIENCE)
    scores = re.findall(r"Score: (\S+) of", "".join(told))
    assert scores == ["2", "0", "2"]


@pytest.mark.parametrize("no_colour", [False, True])
def test_progress_and_colours_in_a_terminal(notebook: Path, no_colour: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal sees which cell runs, in colour unless it wants none, and no line is wider than it is."""
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    if not no_colour:
        monkeypatch.delenv("NO_COLOR")
    monkeypatch.chdir(notebook.parent)
    ours, theirs = pty.openpty()
    with ThreadPoolExecutor() as pool:
        heard = pool.submit(all_of, ours)
        with (
            open(theirs, "w") as terminal,
            redirect_stdout(terminal),
            redirect_stderr(terminal),
            pytest.raises(SystemExit) as ended,
        ):
            main(["ex1"])
        text = heard.result()
    assert ended.value.code == 0
    assert re.search(r"cell \d of \d", text)
    assert "checking: " in text
    assert ("\x1b[32m" in text) is not no_colour
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= 80
