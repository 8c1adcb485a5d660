"""How a run can end."""

import psutil
import pytest

from graders.harness.run.limits import Limits
from graders.harness.run.records import Missing, NotRead
from graders.harness.run.run import Progress


def test_cell_error(run_cells):
    """A cell that raises ends the run, is named with its line, and takes nothing from what was reached before."""
    evidence = run_cells("x = 1", "x = 2\ny = x / 0", "x = 3", hand_in={"x": "value", "y": "value"})
    assert (evidence.run.ended, evidence.run.cell) == ("cell_error", 3)
    assert evidence.run.error.ename == "ZeroDivisionError"
    assert evidence.run.error.line == "y = x / 0"
    assert evidence.value("x") == 2
    with pytest.raises(Missing):
        evidence.value("y")


def test_dead_kernel(run_cells):
    """What was assigned in the cells before a kernel's death is evidence, and what it left running is ended."""
    evidence = run_cells(
        "import subprocess\nsubprocess.Popen(['/bin/sleep', '600.125'], start_new_session=True, env={})",
        "early = 1",
        "early = 2\nimport os\nos._exit(0)",
        hand_in={"early": "value"},
    )
    assert (evidence.run.ended, evidence.run.cell) == ("kernel_died", 4)
    assert evidence.value("early") == 1
    assert evidence.run.error.evalue == "exit status 0"
    assert not [command for command in commands() if "600.125" in command]


def test_quit(run_cells):
    """quit() raises nothing, yet it ends the run at its cell."""
    evidence = run_cells("x = 1\nquit()", "x = 2", hand_in={"x": "value"})
    assert (evidence.run.ended, evidence.run.cell) == ("kernel_died", 2)
    assert evidence.value("x") == 1


def test_shutdown(run_cells):
    """A cell that has its kernel shut down in good order is the one that ended the run."""
    evidence = run_cells("x = 1\nget_ipython().kernel.do_shutdown(False)", "x = 2", hand_in={"x": "value"})
    assert (evidence.run.ended, evidence.run.cell, evidence.value("x")) == ("kernel_died", 2, 1)


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("import argparse\nargparse.ArgumentParser().parse_args()", "argparse.ArgumentParser().parse_args()"),
        (
            "%%time\nx = 2\nraise ExceptionGroup('several', [ValueError()])",
            "raise ExceptionGroup('several', [ValueError()])",
        ),
        ("class E(Exception):\n    def _render_traceback_(self): return None\nraise E", "raise E"),
    ],
)
def test_line_of_an_error(run_cells, cell, line):
    """The line is known of errors that IPython shows without one, too."""
    error = run_cells(cell, "x = 1", hand_in={}, parameters={}).run.error
    assert (error.line, error.number) == (line, len(cell.splitlines()))


def test_endless_loop(run_cells):
    """An endless loop ends with the time limit, what it had reached is collected, and what it was filling is not judged."""
    endless = "y = 1\nwhile True:\n    x.append(1); x = x[:1]"
    evidence = run_cells("x = []", endless, hand_in={"x": "value", "y": "value"}, time_limit=2.0)
    assert (evidence.run.ended, evidence.run.cell) == ("timeout", 3)
    assert evidence.value("y") == 1
    with pytest.raises(NotRead, match="stopped in code cell 3, which was filling `x`"):
        evidence.value("x")


def test_deaf_loop(run_cells):
    """A loop that ignores its interruption is killed, and the evidence of earlier cells is kept."""
    deaf = "while True:\n    try:\n        while True: pass\n    except KeyboardInterrupt:\n        pass"
    evidence = run_cells("x = 1", deaf, hand_in={"x": "value"}, cell_limit=1.0, grace=3.0)
    assert (evidence.run.ended, evidence.run.cell) == ("timeout", 3)
    assert evidence.value("x") == 1


def test_out_of_memory(run_cells):
    """A kernel that holds more than the memory limit is ended for that reason."""
    evidence = run_cells(
        "import time\nx = 1",
        "y = b'x' * 2_000_000_000\ntime.sleep(30)",
        hand_in={"x": "value"},
        limits=Limits(memory=1 << 30),  # more than what is shared with others, whose part depends on how many they are
    )
    assert (evidence.run.ended, evidence.run.cell) == ("out_of_memory", 3)
    assert evidence.value("x") == 1


def test_memory_error(run_cells):
    """A cell that is refused memory has run out of it."""
    evidence = run_cells("x = 1\nraise RuntimeError('CUDA out of memory. Tried to allocate')", hand_in={"x": "value"})
    assert (evidence.run.ended, evidence.run.cell, evidence.value("x")) == ("out_of_memory", 2, 1)


def test_killed_half(run_cells):
    """When the untrusted half itself is killed, the run died at the last cell that was announced."""
    evidence = run_cells("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nx = 1", hand_in={"x": "value"})
    assert (evidence.run.ended, evidence.run.cell) == ("kernel_died", 2)


def commands() -> list[str]:
    """The command lines of all processes."""
    return [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]


def test_interrupted(run_cells):
    """An interruption by the instructor passes through, and leaves no process behind."""
    seen = []

    def stop(progress: Progress) -> None:
        if progress.text == "started":
            seen.extend(command for command in commands() if "600.25" in command)
            raise KeyboardInterrupt

    cell = "import subprocess, time\nsubprocess.Popen(['/bin/sleep', '600.25'])\nprint('started')\ntime.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        run_cells(cell, hand_in={}, on_progress=stop)
    assert seen
    assert not [command for command in commands() if "600.25" in command]
