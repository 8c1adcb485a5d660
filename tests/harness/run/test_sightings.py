"""What is seen of a notebook while it runs, because it may be gone when it has run."""


def test_backward_passes(run_cells):
    """The backward passes of a run are counted, however they are begun, also in the cell that imports PyTorch."""
    cell = """
import torch
x = torch.ones(3, requires_grad=True)
for _ in range(4):
    (x * x).sum().backward()
torch.autograd.backward((x * x).sum())
"""
    assert run_cells(cell, "x.sum().backward()", hand_in={}).backward_passes == 6
    assert run_cells("x = 1", hand_in={}).backward_passes == 0


WATCHERS = """
import sys

MODULES = ("colorsys",)
noted = {"cells": 0, "passes": 0, "steps": 0, "halves": 0}

def watch(tools):
    module = sys.modules.get("colorsys")
    if module is not None and not hasattr(module, "_seen"):
        convert = module.rgb_to_hsv
        def note(*rgb):
            noted["colour"] = tools.encode(rgb)
            return convert(*rgb)
        module.rgb_to_hsv, module._seen = note, True

def after_cell():
    noted["cells"] += 1

def after_backward():
    noted["passes"] += 1
    raise ValueError("a fault of the lesson's")

def after_step(optimizer):
    noted["steps"] += optimizer.param_groups[0]["lr"] == 0.5

def seen(tools):
    return {**noted, "device": "a lie"}
"""


def test_what_a_lesson_watches_for(run_cells):
    """Its watchers are told of cells, imports, passes and steps, what they noted can be read, and their faults end nothing."""
    cell = """
import colorsys, torch
colorsys.rgb_to_hsv(1, 0.5, 0)
x = torch.ones(3, requires_grad=True)
(x * x).sum().backward()
torch.optim.SGD([x], lr=0.5).step()
"""
    evidence = run_cells(cell, "del colorsys", hand_in={}, watchers=WATCHERS)
    assert evidence.run.device == "cpu"
    assert [evidence.count(what) for what in ("cells", "passes", "steps", "halves")] == [
        5,
        1,
        1,
        0,
    ]  # two more for parameters
    assert evidence.seen("colour", lambda found, budget: found) == {"tuple": [1, 0.5, 0]}
    assert evidence.seen("colour", lambda found, budget: 1 / 0) == {"tuple": [1, 0.5, 0]}  # read once
    assert evidence.seen("raised", lambda found, budget: 1 / 0) is None
    assert evidence.seen("other", lambda found, budget: found) is None
    assert (
        evidence.seen("watchers_failed", lambda found, budget: found)
        == "after_backward(): ValueError: a fault of the lesson's"
    )
    assert evidence.backward_passes == 1
