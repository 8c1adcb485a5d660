"""What a run leaves."""

import json
import math
import os
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from graders.harness.errors import TroubleError
from graders.harness.run.evidence import Evidence
from graders.harness.run.records import Missing, Unreadable
from graders.harness.run.run import LaunchError, Progress, run
from graders.harness.run.unconfined import NoIsolation
from graders.lora import catalog

LIBRARIES = """
import sys, warnings
import numpy as np, pandas as pd, torch
from PIL import Image
json = open = len = str = None
warnings.warn("look out")
print("a progress bar", file=sys.stderr)
"""
VALUES = """
layers = {"b", "a"}
counts = {np.int64(4): np.int64(397824), 16.0: torch.tensor(1591296), (1.0, 0.0): 0.5, np.float32(0.7): None}
curve = [1.5, float("nan"), torch.tensor(float("inf")), np.float32(0.25)]
table = pd.DataFrame({"rank": [4, 16], "loss": [0.5, float("nan")]})
grid = np.arange(6).reshape(2, 3)
strange = object()
mixed = {"number": 1, "strange": object()}
model = MODEL
"""
TENSORS = """
z_t = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).T
loss = (torch.nn.Parameter(torch.ones(2)) ** 2).mean()
array = np.ones((2, 2), dtype=np.float32)
not_a_tensor = [1.0]
net = torch.nn.Linear(2, 1)
net.bias.requires_grad_(False)
net.large = torch.nn.Parameter(torch.arange(600_000).bfloat16().reshape(600, 1000).T, requires_grad=False)
net.free = torch.nn.Parameter(torch.arange(600_000).bfloat16())
net(torch.ones(1, 2)).sum().backward()
optimizer = torch.optim.SGD([net.weight], lr=0.5)
"""
PICTURES = """
red = np.zeros((4, 6, 3), dtype=np.uint8); red[..., 0] = 255
class Output(dict):
    images = [Image.fromarray(red)]
images = [Image.fromarray(red).convert("RGBA"), red / 255.0, torch.tensor(red).permute(2, 0, 1), red[..., 0], Output()]
by_rank = {4: torch.tensor(red)[None].float() / 255, 16: [red, red]}
too_bright = [red.astype(float)]
with __builtins__.open(OUTPUT_DIR + "/adapter.txt", "w") as file:
    file.write("weights")
"""
HAND_IN = {
    **dict.fromkeys(("layers", "counts", "curve", "table", "grid", "strange", "mixed", "model", "absent"), "value"),
    **dict.fromkeys(("z_t", "loss", "array", "not_a_tensor"), "tensor"),
    **dict.fromkeys(("images", "by_rank", "too_bright"), "pictures"),
    "net": "module",
    "optimizer": "optimizer",
}
RED = np.broadcast_to(np.array([255, 0, 0], dtype=np.uint8), (4, 6, 3))


@pytest.fixture(scope="module")
def told() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def whole(run_cells, told) -> Evidence:
    return run_cells(
        LIBRARIES,
        VALUES,
        TENSORS,
        PICTURES,
        hand_in=HAND_IN,
        parameters={"MODEL": "fixtures/model"},
        answers=("Because B is zero.",),
        on_progress=told.append,
    )


def test_completed(whole):
    """A notebook that warns and prints to standard error has completed, for all that."""
    assert (whole.run.ended, whole.run.cell, whole.run.error, whole.run.device) == ("completed", None, None, "cpu")
    assert whole.run.seconds > 0
    assert whole.run.peak_memory_bytes > 50_000_000
    executed = json.loads((whole.folder / "evidence" / "executed.ipynb").read_text())
    assert "a progress bar" in json.dumps(executed)
    assert "_grading_collector" not in json.dumps(executed)


def test_injected_parameters(whole):
    """Injected parameters override those of the notebook."""
    assert whole.value("model") == "fixtures/model"


def test_values(whole):
    """Numbers, names, tables and arrays come back as Python values, whichever library held them."""
    assert whole.value("layers") == {"a", "b"}
    assert whole.value("grid") == [[0, 1, 2], [3, 4, 5]]
    assert whole.value("table")[0] == {"rank": 4, "loss": 0.5}
    assert math.isnan(whole.value("table")[1]["loss"])


def test_not_finite(whole):
    """Numbers that are not finite survive the journey."""
    first, second, third, last = whole.value("curve")
    assert (first, third, last) == (1.5, math.inf, 0.25)
    assert math.isnan(second)


def test_keys(whole):
    """Keys that mean the same number are the same key, in whichever type they were written."""
    counts = whole.value("counts")
    assert counts == {4: 397824, 16: 1591296, (1, 0): 0.5, 0.7: None}
    assert [type(key) for key in counts] == [int, int, tuple, float]
    assert type(counts[16]) is int


def test_missing_is_not_unreadable(whole):
    """A variable that was never assigned is missing; one of a type that cannot be read is unreadable."""
    with pytest.raises(Missing) as missing:
        whole.value("absent")
    assert "`absent`" in missing.value.problem
    assert missing.value.fix
    with pytest.raises(Unreadable, match="`strange` cannot be read: it is of type object"):
        whole.value("strange")
    assert whole.value("mixed")["number"] == 1


def test_tensors(whole):
    """Tensors keep their dtype, their shape, and the fact that they were in the graph."""
    z_t = whole.tensor("z_t")
    assert z_t.dtype is torch.bfloat16
    assert z_t.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert whole.tensor("array").dtype is torch.float32
    assert whole.tensor("loss").shape == ()
    assert whole.tensor_facts("loss").in_graph
    assert not whole.tensor_facts("z_t").in_graph
    with pytest.raises(Unreadable, match="not a tensor"):
        whole.tensor("not_a_tensor")


def test_modules(whole):
    """A module's parameters come with their gradients, and an optimizer names those that it holds."""
    net, optimizer = whole.module("net"), whole.optimizer("optimizer")
    assert net.class_name == "Linear"
    assert net.parameters["weight"].gradient.tolist() == [[1.0, 1.0]]
    assert net.parameters["bias"].gradient is None
    assert not net.parameters["bias"].trainable
    assert optimizer.identities == (net.parameters["weight"].identity,)
    assert optimizer.options[0]["lr"] == 0.5


def test_large_parameters(whole):
    """Of a large frozen parameter type, shape and every bit are known, without a copy of it; of one that trains, all."""
    large, free = (whole.module("net").parameters[name] for name in ("large", "free"))
    was = torch.arange(600_000).bfloat16().reshape(600, 1000).T
    assert (large.value.dtype, large.value.shape, large.trainable) == (was.dtype, was.shape, False)
    assert large.equals(was)
    assert not large.equals(
        was.contiguous().index_put((torch.tensor(999), torch.tensor(599)), torch.tensor(1).bfloat16())
    )
    assert free.value.equal(torch.arange(600_000).bfloat16())
    assert sum(file.stat().st_size for file in (whole.folder / "evidence/variables").glob("net.*")) < 1.3e6


def test_pictures(whole):
    """Pictures come back as RGB, from Pillow, NumPy or PyTorch, whichever axis held the colours."""
    *coloured, grey, output = whole.pictures("images")
    for picture in [*coloured, output]:
        np.testing.assert_array_equal(picture, RED)
    np.testing.assert_array_equal(grey, np.full((4, 6, 3), 255))
    by_rank = whole.pictures("by_rank")
    assert {key: len(pictures) for key, pictures in by_rank.items()} == {4: 1, 16: 2}
    np.testing.assert_array_equal(by_rank[4][0], RED)
    with pytest.raises(Unreadable, match=r"values from 0 to 255, not in \[0, 1\]"):
        whole.pictures("too_bright")


def test_written_answers_and_files(whole):
    """Written answers and the files in OUTPUT_DIR are part of the evidence."""
    assert whole.written_answers == ["Because B is zero."]
    assert whole.path("adapter.txt").read_text() == "weights"
    with pytest.raises(Missing, match=r"no file `other.txt`"):
        whole.path("other.txt")


def test_progress(whole, told):
    """Every code cell is announced with its number in the notebook as handed in."""
    assert [progress.cell for progress in told if not progress.text][:1] == [1]
    assert {progress.cell for progress in told} == {None, 1, 2, 3, 4, 5}
    assert {progress.of for progress in told} == {5}
    assert any(progress.cell == 2 and progress.text for progress in told)


def test_output_is_capped(run_cells):
    """What a notebook prints beyond the cap is dropped, and it completes all the same."""
    evidence = run_cells("for _ in range(60):\n    print('x' * 1_000_000, flush=True)", hand_in={})
    assert evidence.run.ended == "completed"
    assert (evidence.folder / "evidence" / "executed.ipynb").stat().st_size < 25_000_000


def test_raises_exception_tag(tmp_path):
    """A cell that is tagged as meant to raise does not end the run."""
    cells = [new_code_cell("x = 0", metadata={"tags": ["parameters"]})]
    cells.append(new_code_cell("1 / x", metadata={"tags": ["raises-exception"]}))
    cells.append(new_code_cell("x = 2"))
    nbformat.write(new_notebook(cells=cells), tmp_path / "ex1.ipynb")
    folder = tmp_path / "run"
    evidence = run(tmp_path / "ex1.ipynb", parameters={}, hand_in={"x": "value"}, run_folder=folder, time_limit=60)
    assert (evidence.run.ended, evidence.value("x")) == ("completed", 2)
    assert Evidence(folder).value("x") == 2
    with pytest.raises(FileExistsError):
        run(tmp_path / "ex1.ipynb", parameters={}, hand_in={}, run_folder=folder, time_limit=60)


@pytest.mark.parametrize(
    "arguments",
    [
        {"hand_in": {"x": "pickle"}},
        {"hand_in": {"../x": "value"}},
        {"parameters": {"OUTPUT_DIR": "../../elsewhere"}},
        {"parameters": {"not a name": 1}},
        {"parameters": {"MODEL": Path("model")}},
    ],
)
def test_impossible_arguments(tmp_path, run_cells, arguments):
    """Arguments that cannot be carried out are the caller's error."""
    with pytest.raises((ValueError, TypeError)):
        run_cells("x = 1", **{"hand_in": {}, **arguments})


def test_no_kernel(run_cells):
    """When no kernel can be started, that is not the notebook's fault."""

    class Broken(NoIsolation):
        def start(self, argv, *others, fresh=False):
            return super().start([argv[0], "-c", "print('no module named ipykernel')"], *others, fresh=fresh)

    with pytest.raises(LaunchError, match="no module named ipykernel") as error:
        run_cells("x = 1", hand_in={}, isolation=Broken())
    assert error.value.fix


STRANGE = (
    'display({"text/plain": None}, raw=True)\ndisplay({"text/plain": [1]}, raw=True)\ndisplay({"text/html": 3}, raw=True)',
    "kernel = get_ipython().kernel\nsent = [('display_data', {'data': 1}), ('stream', {'name': 1}), ('error', {})]\n"
    "sent.append(('update_display_data', {'transient': {'display_id': []}}))\nfor kind, content in sent:\n"
    "    kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent('shell'))\n"
    "kernel.iopub_socket.send_multipart([b'<IDS|MSG>', b'no signature', b'{', b'', b'', b''])\n1 + 1",
    "x = [Out[3], _, _i, In[2]]",
    'import os, subprocess\nos.chdir("/")\nwith open(OUTPUT_DIR + "/a.txt", "w") as file:\n    file.write("there")',
    "import sys\ny = [subprocess.run(['python', '-c', 'import sys; print(sys.prefix)'], capture_output=True, text=True).stdout,"
    " sys.prefix]",
    "sys.exit(0)",
)


def test_strange_but_right(run_cells):
    """Messages that no notebook can hold, another working folder and `sys.exit(0)` at the end do no harm.

    In and Out are numbered as for the student, and programs in cells are those of this Python.
    """
    evidence = run_cells(*STRANGE, hand_in={"x": "value", "y": "value"})
    assert (evidence.run.ended, evidence.run.error) == ("completed", None)
    assert evidence.value("x") == [2, 2, STRANGE[1], STRANGE[0]]
    assert evidence.path("a.txt").read_text() == "there"
    found, own = evidence.value("y")
    assert found.strip() == own


def test_folders_of_colab_and_kaggle(run_cells, bubblewrap):
    """What is written to the folders that Colab and Kaggle work in lies in the working folder, in every sandbox."""
    cell = "import os\nos.chdir('/content')\nopen('output/a.txt', 'w').close()\nopen('/kaggle/working/b', 'w').close()"
    for sandbox in bubblewrap.ways:
        evidence = run_cells(cell, hand_in={}, isolation=sandbox)
        assert evidence.path("a.txt").is_file()
        assert (evidence.folder / "work" / "b").is_file()


COLAB = """
import google.colab.files
from google.colab import drive, userdata
from google.colab.output import eval_js
from kaggle_secrets import UserSecretsClient
drive.mount("/content/drive", force_remount=True)
given = [google.colab.files.upload(), userdata.get("HF_TOKEN"), UserSecretsClient().get_secret("token"), eval_js("1")]
google.colab.files.download("a.txt")
"""
LOGIN = """
from huggingface_hub import interpreter_login, login, notebook_login
login(token="hf_x")
notebook_login(), interpreter_login()
went_on = True
"""


def test_what_is_only_elsewhere(run_cells):
    """Modules of Colab's and Kaggle's, imported as if they were there, do nothing; who asks first is told that they are not."""
    asked = "try:\n    import google.colab\n    there = True\nexcept ImportError:\n    there = False"
    evidence = run_cells(COLAB, LOGIN, hand_in={"given": "value", "went_on": "value"})
    assert evidence.run.ended == "completed"
    assert evidence.value("given") == [{}, "", "", None]
    assert evidence.value("went_on") is True
    also = "from google import colab\nfrom google.colab import *\ndrive.mount('x')"
    evidence = run_cells(asked, also, hand_in={"there": "value"})
    assert (evidence.run.ended, evidence.value("there")) == ("completed", False)


@pytest.mark.parametrize("status", [70, 1])
def test_trouble(run_cells, status):
    """When what runs a notebook fails itself, nobody is blamed; any other end of it is the notebook's."""

    class Failing(NoIsolation):
        def start(self, argv, *others, fresh=False):
            ready = 'print(\'{"cell": 2, "of": 2, "text": ""}\')'
            script = f"{ready}; print('ValueError: a bug'); raise SystemExit({status})"
            return super().start([argv[0], "-c", script], *others, fresh=fresh)

    if status == 1:
        assert run_cells("x = 1", hand_in={}, isolation=Failing()).run.ended == "kernel_died"
        return
    with pytest.raises(TroubleError, match="a bug"):
        run_cells("x = 1", hand_in={}, isolation=Failing())


def test_set_again(run_cells):
    """A parameter that the notebook sets again is known, with its value and place; one used for something else is not."""
    evidence = run_cells(
        "STEPS = 5\nMODEL = str(MODEL)\nIMAGE = [1]\nDEVICE = 'mine'",
        hand_in={},
        parameters={"STEPS": 3, "MODEL": "a", "IMAGE": "b", "DEVICE": "cpu", "GRID": [(0, 1.5)]},
    )
    assert {name: again.value for name, again in evidence.set_again.items()} == {"STEPS": 5}
    assert evidence.set_again["STEPS"].place == "code cell 2"


def test_set_before(run_cells):
    """A parameter that is set again shapes what is filled later, in the same cell as well, and nothing that was filled before."""
    evidence = run_cells(
        "early = SEED",
        "SEED = 5\nlate = SEED",
        "same = [STEPS]\nfor STEPS in (1, 2): pass",
        "later = [STEPS]",
        hand_in=dict.fromkeys(("early", "late", "same", "later"), "value"),
        parameters={"SEED": 3, "STEPS": 4},
    )
    shaped = {
        (n, v) for n in ("SEED", "STEPS") for v in ("early", "late", "same", "later") if evidence.set_before(n, v)
    }
    assert shaped == {("SEED", "late"), ("SEED", "same"), ("SEED", "later"), ("STEPS", "later")}


def test_clean_environment(run_cells, monkeypatch):
    """The kernel sees no variable of the grader's environment but the harmless, and those that it was given."""
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    evidence = run_cells(
        "import os\nx = dict(os.environ)\nimport graders",
        hand_in={"x": "value"},
        environment={"HF_HUB_OFFLINE": "1"},
    )
    assert evidence.run.ended == "completed"
    assert evidence.value("x")["HF_HUB_OFFLINE"] == "1"
    assert "hunter2" not in evidence.value("x").values()
    assert evidence.value("x")["HOME"] != os.environ["HOME"]


def test_offered_functions(run_cells):
    """What the package offers to notebooks works wherever they run."""
    folders = {"JUDGE": str(catalog.CLIP), "REFERENCE": str(catalog.dataset("watercolor/held-out"))}
    evidence = run_cells(
        "from graders import style_similarity\nimport numpy as np\n"
        "x = style_similarity([np.zeros((64, 64, 3))], REFERENCE, JUDGE, 'cpu')",
        hand_in={"x": "value"},
        parameters=folders,
        readable=[Path(folder) for folder in folders.values()],
    )
    assert -1 < evidence.value("x") < 1


def test_long_path(tmp_path, isolation, notebook_of):
    """Where the run folder lies does not matter to a library that makes file names of the paths of its cache."""
    load = "from datasets import load_dataset\nx = len(load_dataset('imagefolder', data_dir=DATASET, split='train'))"
    dataset = catalog.dataset("watercolor/held-out")
    evidence = run(
        notebook_of(tmp_path, [load]),
        parameters={"DATASET": str(dataset)},
        hand_in={"x": "value"},
        run_folder=tmp_path / ("länge" * 30) / ("längere" * 20),
        time_limit=120,
        isolation=isolation,
        readable=[dataset],
    )
    assert (evidence.run.error, evidence.value("x")) == (None, len(list(dataset.glob("*.png"))))
