"""Runs that are forked from a warm process: what they share with it, and what they must not share with each other."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from graders.harness.data.fixtures import NO_FIXTURES
from graders.harness.grade import Setting, grade
from graders.harness.run import bubblewrap as bubblewrap_module
from graders.harness.run import warm_client
from graders.harness.run.bubblewrap import Bubblewrap
from graders.harness.run.evidence import Evidence
from graders.harness.run.run import Progress, run
from graders.harness.run.sandbox import IsolationError
from graders.harness.run.unconfined import NoIsolation
from graders.harness.run.warm_client import cold_because
from graders.lora import catalog
from tests.harness.conftest import write_notebook
from tests.harness.run.conftest import Runner
from tests.patience import PATIENCE

CHECKOUT = Path(__file__).parents[3]
WARM, FRESH = Bubblewrap(likely=(catalog.ROOT,)), Bubblewrap(warm=False)


@pytest.fixture
def forked(tmp_path: Path, bubblewrap: Bubblewrap) -> Runner:
    """Runs cells in a warm sandbox, or in another, and gives the evidence."""
    number = 0

    def runner(*cells: str, isolation: Bubblewrap = WARM, **variables: str) -> Evidence:
        nonlocal number
        number += 1
        notebook = write_notebook(tmp_path / f"{number}", list(cells))
        place = tmp_path / f"run-{number}"
        return run(notebook, parameters={}, hand_in=variables, run_folder=place, time_limit=120, isolation=isolation)

    if because := cold_because(shutil.which("bwrap") or ""):
        pytest.skip(because)
    return runner


def test_is_forked(forked):
    """Libraries are there before they are imported, but in a process that is started anew."""
    look = "import sys\nx = 'torch' in sys.modules"
    assert forked(look, x="value").value("x") is True
    assert forked(look, x="value", isolation=FRESH).value("x") is False
    without_fixtures = Bubblewrap(likely=(NO_FIXTURES.root,))
    assert forked(look, x="value", isolation=without_fixtures).value("x") is True


LEAVE = """
import builtins, os, pathlib, random, socket, subprocess, sys, tempfile
import numpy, torch
os.environ["LEFT"] = "left"
for folder in (".", "/tmp", "/dev/shm", os.path.expanduser("~"), "/grade/evidence", tempfile.gettempdir()):
    pathlib.Path(folder, "left").write_text("left")
torch.nn.Linear = builtins.left = sys.modules["left"] = numpy.left = "left"
torch.manual_seed(1), random.seed(1), numpy.random.seed(1)
torch.set_num_threads(7)
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0left")
listener.listen()
server = socket.socket()
server.bind(("127.0.0.1", 7777))
server.listen()
subprocess.Popen(["sleep", "1000"], start_new_session=True)
x = 1
"""
LOOK = """
import builtins, os, random, socket, sys
import numpy, torch
found = [name for name in ("LEFT",) if name in os.environ]
for folder, folders, files in os.walk("/"):
    if folder == "/": folders[:] = [name for name in folders if name not in ("proc", "usr", "sys")]
    found += [f"{folder}/{name}" for name in files if name == "left"]
found += [str(one) for one in (torch.nn.Linear, getattr(builtins, "left", ""), getattr(numpy, "left", "")) if one == "left"]
found += [name for name in sys.modules if name == "left"]
for family, address in ((socket.AF_UNIX, "\\0left"), (socket.AF_INET, ("127.0.0.1", 7777))):
    try:
        socket.socket(family).connect(address)
        found.append(repr(address))
    except OSError:
        pass
processes = [name for name in os.listdir("/proc") if name.isdigit()]
found += [name for name in processes if b"sleep" in open(f"/proc/{name}/cmdline", "rb").read()]
numbers = [random.random(), float(numpy.random.random()), torch.rand(1).item(), torch.get_num_threads()]
"""


def test_nothing_of_the_one_before(forked):
    """A hand-in finds no file, variable, module, socket, process or random state that another one left."""
    kinds = {"found": "value", "numbers": "value", "processes": "value"}
    untouched = forked(LOOK, **kinds).value("numbers")
    assert forked(LEAVE, x="value").value("x") == 1
    after = forked(LOOK, **kinds)
    assert after.value("found") == []
    assert len(after.value("processes")) <= 4  # its own: who watches over it, who runs it, and its kernel
    *numbers, threads = after.value("numbers")
    assert threads == untouched[-1]
    assert not {*numbers} & {*untouched[:-1]}  # what is random in a fresh process is random here


@pytest.mark.parametrize(
    ("setting", "look"),
    [
        ("HF_HOME = /grade/home/else", "import huggingface_hub.constants as c\nx = c.HF_HOME"),
        ("HF_HUB_OFFLINE = 0", "import huggingface_hub.constants as c\nx = int(c.HF_HUB_OFFLINE)"),
        ("OMP_NUM_THREADS = 1", "import torch\nx = torch.get_num_threads()"),
        ("CUDA_VISIBLE_DEVICES = 5", "import torch, os\nx = os.environ['CUDA_VISIBLE_DEVICES']"),
        ("TOKENIZERS_PARALLELISM = false", "import tokenizers, os\nx = os.environ['TOKENIZERS_PARALLELISM']"),
    ],
)
def test_what_is_read_at_import_is_heeded(forked, setting, look):
    """A notebook that sets a variable before it imports a library gets what it asked for."""
    name, _, value = setting.partition(" = ")
    evidence = forked(f"import os\nos.environ[{name!r}] = {value!r}", look, x="value")
    assert str(evidence.value("x")) == value


def test_out_of_reach(forked):
    """A hand-in sees no process but its own, can signal none, and reads no memory of the warm one."""
    reach = """
import os
found = []
own = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
threads = {int(name) for number in own for name in os.listdir(f"/proc/{number}/task")}
for number in set(range(1, 400)) - threads:
    try:
        os.kill(number, 0)
        found.append(number)
    except OSError:
        pass
more = os.path.exists("/run/proc")
"""
    evidence = forked(reach, found="value", own="value", more="value")
    assert evidence.value("found") == []
    assert len(evidence.value("own")) <= 4
    assert not evidence.value("more")


def test_reads_its_own_share(tmp_path, forked):
    """Of what the warm process may read, a run sees what it is given and nothing else, wherever that lies."""
    places = [tmp_path / "models" / name for name in ("one", "two")] + [catalog.TINY_SD, catalog.CLIP]
    for place in places[:2]:
        place.mkdir(parents=True)
        (place / "weights").write_text(place.name)
    isolation = Bubblewrap(likely=(tmp_path / "models", catalog.ROOT))
    look = f"""
import os
seen = [sorted(os.listdir(place)) if os.path.isdir(place) else None for place in {[str(place) for place in places]}]
try:
    open({str(places[0] / "weights")!r}, "w")
    seen.append("written")
except OSError:
    pass
"""
    everything = [sorted(path.name for path in place.iterdir()) for place in places]
    for chosen in ((0, 2), (1, 3), (0, 1, 2, 3), ()):
        notebook = write_notebook(tmp_path / f"notebook-{chosen}", [look])
        readable = [places[number] for number in chosen]
        run_folder = tmp_path / f"run-{chosen}"
        evidence = run(
            notebook, parameters={}, hand_in={"seen": "value"}, run_folder=run_folder, time_limit=120, isolation=isolation,
            readable=readable,
        )  # fmt: skip
        assert evidence.value("seen") == [listed if n in chosen else None for n, listed in enumerate(everything)]


def test_a_warm_process_that_is_gone(tmp_path, forked):
    """A run whose warm process was killed is the machine's trouble, not the hand-in's; the next one has another."""
    assert forked("x = 1", x="value").value("x") == 1

    def kill(now: Progress) -> None:
        if now.cell == 2:
            for process in psutil.Process().children(recursive=True):
                if "graders.harness.run.warm" in process.cmdline():
                    process.kill()

    notebook = write_notebook(tmp_path / "killed", ["import time\ntime.sleep(60)"])
    given = {"parameters": {}, "hand_in": {}, "run_folder": tmp_path / "killed-run", "time_limit": 120}
    with pytest.raises(IsolationError):
        run(notebook, isolation=WARM, on_progress=kill, **given)
    assert forked("x = 2", x="value").value("x") == 2


def test_cold_where_nothing_can_be_forked(tmp_path, monkeypatch, forked):
    """Where namespaces cannot be made within namespaces, runs are started anew, and why is known."""
    monkeypatch.setattr(bubblewrap_module, "OUTER_PROC", "/run/elsewhere")  # not where the child looks for it
    monkeypatch.setattr(warm_client, "_failed", {})
    monkeypatch.setattr(warm_client, "_kept", [])
    assert forked("import sys\nx = 'torch' in sys.modules", x="value", isolation=Bubblewrap()).value("x") is False
    assert "forked" in cold_because(shutil.which("bwrap") or "")


def test_a_terminal(forked):
    """A notebook can make terminals, as elsewhere."""
    assert forked("import os, pty\nx = os.ttyname(pty.openpty()[1])", x="value").value("x") == "/dev/pts/0"


def test_without_a_sandbox(tmp_path):
    """One's own notebooks can be forked as well, and nothing that they started is left."""
    cells = [
        "import subprocess, sys\nx = 'torch' in sys.modules\np = subprocess.Popen(['sleep', '987.6'], start_new_session=True)"
    ]
    notebook, isolation = write_notebook(tmp_path, cells), NoIsolation()
    for number in range(2):
        place = tmp_path / f"run-{number}"
        left = run(
            notebook, parameters={}, hand_in={"x": "value"}, run_folder=place, time_limit=120, isolation=isolation
        )
        assert left.value("x") is True
    assert not [process for process in psutil.process_iter(["cmdline"]) if "987.6" in (process.info["cmdline"] or ())]


def test_many_in_turn(forked):
    """A warm process serves one run after another, whatever became of the one before."""
    assert forked("import os\nos.kill(1, 9)\nos._exit(3)", x="value").run.ended == "kernel_died"
    assert forked("x = 'a' * 10", x="value").value("x") == "a" * 10
    # Not a thousand frames deep: for each, IPython goes through all modules that there are
    shallow = "import sys\nsys.setrecursionlimit(300)\ndef f(): f()\nf()"
    assert forked(shallow, x="value").run.ended in ("cell_error", "kernel_died")
    assert forked("x = 2", x="value").value("x") == 2


RUNNING = """
import sys
from pathlib import Path
from graders.harness.run.bubblewrap import Bubblewrap
from graders.harness.run.run import run
here = Path(sys.argv[1])
run(here / "ex1.ipynb", parameters={}, hand_in={"x": "value"}, run_folder=here / "run", time_limit=600,
    isolation=Bubblewrap(), on_progress=lambda now: print(now.cell, flush=True))
"""


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


@pytest.mark.parametrize("first", ["the harness", "the sandbox", "the warm process", "the kernel"])
def test_whoever_is_killed_first(tmp_path, forked, first):
    """Nothing is left of a run and its warm process when the harness has ended, whichever process is killed first."""
    write_notebook(tmp_path, ["x = 1", "import time\ntime.sleep(600)"])
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNING, tmp_path], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "3":
        assert process.poll() is None
    mine = family(psutil.Process(process.pid))
    by_age = mine[1:]
    assert len(by_age) >= 5
    victim = {
        "the harness": mine[0],
        "the sandbox": by_age[0],
        "the warm process": by_age[2],
        "the kernel": by_age[-1],
    }[first]
    victim.send_signal(signal.SIGKILL)
    if first != "the harness":
        process.wait(PATIENCE)
    _, left = psutil.wait_procs(mine, timeout=PATIENCE)
    assert left == []


@pytest.mark.parametrize("exercise", [pytest.param("ex1", marks=pytest.mark.campaign), "ex2"])
def test_same_as_fresh(tmp_path, forked, exercise):
    """A forked run leaves what a fresh one leaves, to the bit, and gets the same verdicts."""
    reference = CHECKOUT / "reference_solutions" / f"{exercise}.ipynb"
    results, left = [], []
    for name, isolation in (("forked", WARM), ("fresh", FRESH)):
        within = Setting(isolation)
        results.append(grade(exercise, reference, tmp_path / name, {"DEVICE": "cpu"}, within=within))
        left.append([_left(tmp_path / name / place) for place in ("run", "again")])
    assert results[0].checks == results[1].checks
    assert left[0] == left[1]


def _left(run_folder: Path) -> dict[str, object]:
    """What a run has left, by its name, without what is another number in each process."""
    variables = run_folder / "evidence" / "variables"
    left: dict[str, object] = {path.name: _record(path) for path in variables.glob("*.json")}
    left |= {path.name: path.read_bytes() for path in (run_folder / "work").rglob("*") if path.is_file()}
    return left


def _record(path: Path) -> object:
    # The order within a set is another one in each process
    record = json.loads(
        path.read_bytes(), object_hook=lambda part: {"set": sorted(part["set"])} if "set" in part else part
    )
    if "file" in record:  # whose name says how often the variable has been read
        record["file"] = (path.parent / record["file"]).read_bytes()
    if record.get("kind") == "module":
        record["parameters"] = [{**parameter, "identity": None} for parameter in record["parameters"]]
    if record.get("kind") == "optimizer":
        record["parameters"] = len(record["parameters"])
    return record


def test_no_time_is_lost(forked):
    """A run that imports every library has ended long before the libraries could have been imported."""
    forked("x = 1", x="value")
    started, cpu = time.monotonic(), os.times()
    assert forked("import torch, diffusers, transformers, peft, datasets\nx = 1", x="value").value("x") == 1
    assert time.monotonic() - started < PATIENCE
    assert os.times().user - cpu.user < 5
