"""Hand-ins that lie: to the collector, to whoever executes them, to the graders, to whoever reads the file."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.hostile.case import EVIL, LIMITS, SHORT, SMALL, Aftermath, Case

FORGE = """
import json, os, sys, threading
FULL = {"score": 20, "max_score": 20, "outcome": "passed", "ended": "completed", "cell": None, "error": None, "device": "cpu"}
NAMES = ("cross_attention_layers", "lora_param_counts", "lora_fraction")
def forge(names=NAMES):
    for name in names:
        record = {"kind": "value", "value": True, "passed": True, **FULL}
        with open(f"/grade/evidence/variables/{name}.json", "w") as file: json.dump(record, file)
def claim(*folders):
    for folder in folders:
        for name in ("run.json", "result.json", "request.json", "left-out.json"):
            try:
                os.makedirs(folder, exist_ok=True)
                with open(os.path.join(folder, name), "w") as file: json.dump(FULL, file)
            except OSError:
                pass
"""
PATCH = """
import builtins, collections.abc, gc, io, math, shutil, struct, time, warnings, zlib
lie = lambda *arguments, **options: 20
class Yes:
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __bool__ = lambda *_: True
    __hash__ = lambda self: 0
    __len__ = __index__ = __int__ = lambda self: 20
    __getattr__ = lambda self, name: Yes()
    __call__ = lambda self, *_, **__: Yes()
for module in (math, struct, zlib, shutil, gc, io, warnings):
    for name in list(vars(module)):
        if not name.startswith("__") and callable(getattr(module, name)): setattr(module, name, lie)
"""
LIBRARIES = """
import torch, peft, diffusers, safetensors.torch, numpy
for module in (torch, torch.nn.functional, torch.optim, peft, diffusers, safetensors, safetensors.torch, numpy):
    for name in list(vars(module)):
        if callable(getattr(module, name, None)) and not name.startswith("_") and not isinstance(getattr(module, name), type):
            setattr(module, name, lie)
for method in ("__eq__", "item", "tolist", "numel", "detach", "cpu", "contiguous"): setattr(torch.Tensor, method, lie)
torch.nn.Module.parameters = torch.nn.Module.named_modules = lambda self, *_: iter(())
"""
REPLACE = """
module = sys.modules["_grading_collector.collect"]
module.collect = lambda *given: forge()
"""


def claims_changed_nothing(aftermath: Aftermath) -> None:
    """The files of the run that the graders write say what the graders wrote."""
    for evidence in aftermath.runs:
        request = json.loads((evidence.folder / "request.json").read_text())
        assert set(request) >= {"parameters", "hand_in", "output"}
        assert "score" not in json.loads((evidence.folder / "run.json").read_text())


CASES = [
    Case(
        "the standard library lies",
        FORGE + PATCH + "lora_fraction = lora_param_counts = cross_attention_layers = Yes()",
        afterwards=claims_changed_nothing,
    ),
    Case(
        "JSON and open() lie to the collector",
        FORGE
        + """
import builtins
json.dumps = lambda *arguments, **options: '{"kind": "value", "value": true, "score": 20}'
builtins.open = builtins.len = builtins.isinstance = None
""",
        ("timeout", "kernel_died"),  # the kernel itself cannot answer any more
        EVIL,
        within=SHORT,
        afterwards=claims_changed_nothing,
    ),
    Case(
        "PyTorch, PEFT, Diffusers, NumPy and safetensors lie",
        PATCH.split("for module")[0] + LIBRARIES + "lora_fraction = lora_param_counts = cross_attention_layers = Yes()",
        within=replace(SMALL, limits=replace(LIMITS, memory=2 << 30), time_limit=120.0),
    ),
    Case(
        "values that equal everything",
        """
class Liar(dict):
    __eq__ = __contains__ = lambda *_: True
    __missing__ = get = lambda self, *_: 20
    keys = lambda self: [4, 16]
class Text(str):
    __eq__ = __contains__ = lambda *_: True
    __hash__ = str.__hash__
class Number(float):
    __eq__ = lambda *_: True
    __hash__ = float.__hash__
cross_attention_layers, lora_param_counts, lora_fraction = [Text("to_q")] * 64, Liar({4: 1}), Liar({4: Number(1), 16: Number(4)})
""",
    ),
    Case(
        "records by hand, results and reports in every folder",
        FORGE + "forge()\nclaim('.', '..', OUTPUT_DIR, '../evidence', '../evidence/variables', '../..')",
        afterwards=claims_changed_nothing,
    ),
    Case("another collector in the collector's place", FORGE + REPLACE, afterwards=claims_changed_nothing),
    Case(
        "no collector at all",
        FORGE + "forge()\nsys.modules['_grading_collector'] = None",
        afterwards=claims_changed_nothing,
    ),
    Case(
        "a report of success, and death for whoever would write the true one",
        FORGE + "claim('../evidence')\nos.kill(os.getppid(), 9)\nwhile True: pass",
        "kernel_died",
        EVIL,
        afterwards=claims_changed_nothing,
    ),
    Case(
        "the true report cannot be written",
        FORGE
        + "claim('../evidence')\nos.mkdir('../evidence/run.json.part')\nos.mkdir('../evidence/executed.ipynb')\nraise KeyError",
        "kernel_died",
        EVIL,
        afterwards=claims_changed_nothing,
    ),
    Case(
        "a thread that writes records until the end",
        FORGE
        + """
def go_on():
    while True:
        try: forge(); claim("/grade/evidence")
        except OSError: pass
threading.Thread(target=go_on, daemon=True).start()
if not os.fork():
    os.setsid()
    go_on()
""",
        afterwards=claims_changed_nothing,
    ),
    Case(
        "results that were saved and never computed",
        "if False: lora_fraction = 1",
        saved_output="Score: 20 of 20\\nlora_fraction = {4: 0.0004628, 16: 0.0018513}",
    ),
]
