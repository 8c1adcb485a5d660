"""`%grade` in real kernels, and in a terminal."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
import torch
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from safetensors.torch import load_file, save_file

from graders.lora import catalog
from tests.patience import PATIENCE

CHECKOUT = Path(__file__).parents[3]
LOAD = "%load_ext graders"
WEIGHTS = "pytorch_lora_weights.safetensors"


def cells_of(exercise: str, count: int | None = None) -> list[str]:
    """The first code cells of the reference solution."""
    notebook = nbformat.read(CHECKOUT / "reference_solutions" / f"{exercise}.ipynb", 4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"][:count]


def shown(*sources: str, folder: Path = CHECKOUT / "reference_solutions") -> NotebookNode:
    """What stands below the last of the cells, after all were run in one kernel."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    client = NotebookClient(notebook, timeout=PATIENCE, resources={"metadata": {"path": str(folder)}})
    client.execute()
    (output,) = [output for output in notebook.cells[-1].outputs if output.output_type != "stream"]
    return output.data


@pytest.fixture(scope="module")
def asked() -> Iterator[Callable[..., NotebookNode]]:
    """As `shown`, in a kernel that several tests have one after the other, each without the variables of the others."""
    notebook = new_notebook()
    client = NotebookClient(notebook, timeout=PATIENCE)

    def ask(*sources: str, folder: Path = CHECKOUT / "reference_solutions") -> NotebookNode:
        for source in ("%reset -f", f"import os\nos.chdir({str(folder)!r})", *sources):
            notebook.cells.append(new_code_cell(source))
            client.execute_cell(notebook.cells[-1], len(notebook.cells) - 1)
        (output,) = [output for output in notebook.cells[-1].outputs if output.output_type != "stream"]
        return output.data

    with client.setup_kernel():
        yield ask


def test_all_of_it_is_right(asked: Callable[..., NotebookNode]) -> None:
    """A whole solution has every point that can be had without another run, and hears what is checked besides."""
    data = asked(LOAD, *cells_of("ex1"), "%grade ex1")
    assert "17 of 17 points so far" in data["text/plain"]
    assert "17 of 17 points so far" in data["text/html"]
    assert "for another U-Net" in data["text/html"].replace("\n", " ")
    assert max(map(len, data["text/plain"].splitlines())) <= 80


def test_half_of_it_is_there(asked: Callable[..., NotebookNode]) -> None:
    """What is there is graded, what is not is said to be not there yet, and the next thing is shown in full."""
    data = asked(LOAD, *cells_of("ex2", 4), "%grade ex2")
    text = data["text/plain"]
    assert "Not there yet: noise, z_t, noise_pred, loss, unet, optimizer" in text
    assert "✓ `z_0` is what the VAE makes of the picture" in text
    assert re.search(r"To look at next: `noise` is standard normal.*next: Begin under", text, re.DOTALL)
    html = data["text/html"]
    assert "• <code>z_0</code> is there" in html
    assert "– <code>loss</code> not there yet" in html


def test_only_one_check(asked: Callable[..., NotebookNode]) -> None:
    """Some of the checks can be asked for, and what they need is not reported."""
    text = asked(LOAD, *cells_of("ex1"), "%grade ex1 --only rank_ratio")["text/plain"]
    assert "Four times the rank" in text
    assert "is complete, and nothing else is on it" not in text


def test_no_such_check(asked: Callable[..., NotebookNode]) -> None:
    """A check that there is none of is named, with those that there are."""
    text = asked(LOAD, cells_of("ex1", 1)[0], "%grade ex1 --only nothing")["text/plain"]
    assert text.startswith("Cannot go on: There is no check 'nothing' in ex1.")
    assert "rank_ratio" in text


def test_files_in_output_dir_are_graded(asked: Callable[..., NotebookNode], tmp_path: Path) -> None:
    """Adapters that were saved are read where OUTPUT_DIR is, relative to the notebook."""
    for rank in (4, 16):
        folder = tmp_path / "here" / f"rank{rank}"
        folder.mkdir(parents=True)
        known = load_file(catalog.ROOT / "adapters" / "known" / f"style-rank{rank}-1" / WEIGHTS)
        own = {name: torch.randn(matrix.shape) for name, matrix in known.items()}  # the course's own would be a copy
        save_file(own, folder / WEIGHTS)
    parameters = cells_of("ex3", 1)[0].replace("../fixtures", str(catalog.ROOT))
    data = asked(LOAD, parameters, "OUTPUT_DIR = 'here'", "%grade ex3 --only rank_as_asked", folder=tmp_path)
    assert "2 of 2 points so far" in data["text/plain"]


def test_what_is_patched_in_the_kernel_changes_nothing(tmp_path: Path) -> None:
    """The checks are made in another process, which imports nothing from the notebook's folder."""
    (tmp_path / "torch.py").write_text("raise SystemExit('not this one')")
    patch = "import graders.harness.result\ngraders.harness.result.Result.score = property(lambda self: 1000)"
    parameters = cells_of("ex1", 1)[0].replace("../fixtures", str(catalog.ROOT))
    data = shown(LOAD, parameters, patch, "unet_param_count = 859520964", "%grade ex1", folder=tmp_path)
    assert "✓ `unet_param_count` counts" in data["text/plain"]
    assert "✗ `cross_attention_layers`" in data["text/plain"]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("pass", ("`MODEL` has no value in this kernel.", "Run the notebook's first code cell.")),
        (
            "MODEL = object()\nDEVICE = 'cpu'\nSEED = 0",
            ("The parameter `MODEL` is a value of type object.", "Write it"),
        ),
    ],
)
def test_without_its_parameters(asked: Callable[..., NotebookNode], cell: str, said: tuple[str, str]) -> None:
    """What has to be there first is said, with what to do."""
    data = asked(LOAD, cell, "%grade ex1")
    for kind in ("text/plain", "text/html"):
        assert all(
            part in re.sub(r"</?code>", "`", data[kind]) or part.replace("'", "&#39;") in data[kind] for part in said
        )


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[KernelManager]:
    """A kernel that is talked to line by line."""
    manager = KernelManager()
    manager.start_kernel(cwd=str(tmp_path))
    yield manager
    manager.shutdown_kernel(now=True)


def processes_of(kernel: KernelManager) -> list[psutil.Process]:
    """The processes that check for a kernel."""
    kernels = [p for p in psutil.Process().children(recursive=True) if kernel.connection_file in p.cmdline()]
    return [child for one in kernels for child in one.children() if "graders.harness.live.checker" in child.cmdline()]


def test_interrupted_and_asked_again(kernel: KernelManager) -> None:
    """An interrupt ends the checking and nothing else; when the kernel ends, no process is left."""
    client = kernel.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=PATIENCE)
    setup = "\n".join(cells_of("ex2", 4)).replace("../fixtures", str(catalog.ROOT))
    assert client.execute_interactive(f"{LOAD}\n{setup}", timeout=PATIENCE, output_hook=lambda _: None)
    (process,) = processes_of(kernel)
    process.suspend()  # so that checking does not end before the interrupt
    interrupted = client.execute("%grade ex2")
    while "looking at your variables" not in str(client.get_iopub_msg(timeout=PATIENCE)["content"]):
        pass
    kernel.interrupt_kernel()
    while (reply := client.get_shell_msg(timeout=PATIENCE))["parent_header"]["msg_id"] != interrupted:
        pass
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    told: list[str] = []

    def hear(message: dict) -> None:
        told.append(json.dumps(message["content"]))

    reply = client.execute_interactive("%grade ex2", timeout=PATIENCE, output_hook=hear)
    assert reply["content"]["status"] == "ok"
    assert any("Not there yet: noise" in content for content in told)
    assert not process.is_running()
    (process,) = processes_of(kernel)
    assert client.execute_interactive("%grade ex2", timeout=PATIENCE, output_hook=hear)["content"]["status"] == "ok"
    assert processes_of(kernel) == [process]  # which has imported everything, and waits to be asked again
    client.stop_channels()
    kernel.shutdown_kernel(now=True)
    process.wait(timeout=PATIENCE)


def test_in_a_terminal(tmp_path: Path) -> None:
    """IPython in a terminal shows plain text, once; what is no exercise is said in a line."""
    parameters = cells_of("ex1", 1)[0].replace("../fixtures", str(catalog.ROOT))
    lines = f"{LOAD}\n{parameters}\n%grade ex1\n%grade ex9\n%grade\n"
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "NO_COLOR": "1"}
    argv = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"]
    ran = subprocess.run(
        argv, input=lines, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert ran.stdout.count("0 of 17 points so far") == 1
    assert "Not there yet: cross_attention_layers" in ran.stdout
    assert "looking at your variables" not in ran.stdout
    said = ran.stdout + ran.stderr
    assert "UsageError: %grade: argument exercise: invalid choice: 'ex9'" in said
    assert "UsageError: %grade: the following arguments are required: exercise. Write for example: %grade ex1" in said
    assert "Traceback" not in said
