"""Hand-ins that run amok: they take what they can get, end what they can end, and do not stop."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.hostile.case import EVIL, KEEP, LIMITS, SHORT, SMALL, Aftermath, Case

MIB = 1 << 20


def executed_is_small(aftermath: Aftermath) -> None:
    for evidence in aftermath.runs:
        assert (evidence.folder / "evidence" / "executed.ipynb").stat().st_size < 25_000_000


def little_was_written(aftermath: Aftermath) -> None:
    for told in map(json.loads, aftermath.kept("written.json")):
        assert len(told) >= 4
        assert all(4 * MIB < size <= LIMITS.disk for size in told.values()), told


def few_files_are_kept(aftermath: Aftermath) -> None:
    for evidence in aftermath.runs:
        assert sum(1 for _ in evidence.folder.rglob("*")) < LIMITS.files + 50


def was_alive(aftermath: Aftermath) -> None:
    assert all(int(text) > 0 for text in aftermath.kept("alive.json"))


CASES = [
    Case("an endless loop", "while True: pass", "timeout", EVIL, within=SHORT),
    Case(
        "an endless loop that ignores every interruption",
        """
import signal
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True:
    try:
        while True: pass
    except BaseException:
        pass
""",
        "timeout",
        EVIL,
        within=SHORT,
    ),
    Case(
        "printing for ever",
        "while True: print('x' * 1000)",
        "timeout",
        EVIL,
        afterwards=executed_is_small,
        within=SHORT,
    ),
    Case(
        "a gigabyte of output",
        "for _ in range(1000): print('x' * 1_000_000, flush=True)",
        ("completed", "timeout"),
        EVIL,
        afterwards=executed_is_small,
        within=replace(SMALL, limits=replace(LIMITS, memory=4 << 30), time_limit=12.0),
    ),
    Case(
        "a fork bomb",
        """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
        ("timeout", "kernel_died"),
        EVIL,
        within=SHORT,
    ),
    Case(
        "a flood of zombies",
        "import os\nwhile True:\n    if not os.fork(): os._exit(0)",
        "cell_error",
        EVIL,
        "Resource temporarily unavailable",
    ),
    Case(
        "a flood of threads",
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(600,)).start()",
        "cell_error",
        EVIL,
        "can't start new thread",
    ),
    Case("a memory bomb", "held = []\nwhile True: held.append(b'x' * (1 << 24))", "out_of_memory", EVIL),
    Case(
        "a memory bomb in files without a name",
        """
import os
held = []
while True:
    held.append(os.memfd_create("x"))
    for _ in range(16): os.write(held[-1], b'x' * (1 << 20))
""",
        "out_of_memory",
        EVIL,
    ),
    Case(
        "every folder is filled that can be written to",
        KEEP
        + """
import tempfile
written = {}
for folder in (OUTPUT_DIR, os.path.expanduser("~"), tempfile.gettempdir(), "/dev/shm"):
    written[folder] = 0
    try:
        for number in range(100):
            with open(f"{folder}/{number}", "wb", buffering=0) as file:
                for _ in range(30): written[folder] += file.write(b"x" * (1 << 20))
    except OSError:
        for number in range(100):
            if os.path.exists(f"{folder}/{number}"): os.remove(f"{folder}/{number}")
keep("written.json", written)
""",
        afterwards=little_was_written,
    ),
    Case(
        "the disk is filled and stays so",
        "number = 0\nwhile True:\n    number += 1\n    open(str(number), 'wb').write(b'x' * (1 << 20))",
        "cell_error",
        EVIL,
        "No space left on device",
    ),
    Case(
        "the folder of the evidence is filled",
        "number = 0\nwhile True:\n    number += 1\n    open(f'../evidence/{number}', 'wb').write(b'x' * (1 << 20))",
        "out_of_memory",
        EVIL,
    ),
    Case(
        "a million files",
        "for number in range(1_000_000): open(str(number), 'w').close()",
        ("out_of_memory", "timeout"),
        EVIL,
        afterwards=few_files_are_kept,
        within=SHORT,
    ),
    Case("sys.exit()", "import sys\nsys.exit(3)", ("cell_error", "completed"), EVIL),
    Case("quit()", ("quit()", "lora_fraction = 1"), "kernel_died", EVIL, r"quit\(\)"),
    Case("os._exit()", "import os\nos._exit(7)", "kernel_died", EVIL, "exit status 7"),
    Case("the kernel kills itself", "import os\nos.kill(os.getpid(), 9)", "kernel_died", EVIL, "SIGKILL"),
    Case(
        "the kernel stops itself",
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "timeout",
        EVIL,
        within=SHORT,
    ),
    Case("it kills who executes it", "import os\nos.kill(os.getppid(), 9)\nwhile True: pass", "kernel_died", EVIL),
    Case(
        "it stops who executes it",
        "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nwhile True: pass",
        "timeout",
        EVIL,
        within=SHORT,
    ),
    Case("it kills whatever it can", "import os\nos.kill(-1, 9)\nwhile True: pass", "kernel_died", EVIL),
    Case("input()", "lora_fraction = input('Your password? ')", "cell_error", EVIL, "StdinNotImplementedError"),
    Case(
        "daemons that nobody is the parent of",
        KEEP
        + """
import glob, time
for number in range(3):
    if not os.fork():
        os.setsid()
        if not os.fork():
            os.closerange(0, 4096)
            os.execve("/bin/sleep", [OUTSIDE["mark"], "600"], {})
        os._exit(0)
time.sleep(1.0)
lines = [open(path, "rb").read() for path in glob.glob("/proc/[0-9]*/cmdline")]
keep("alive.json", sum(line.startswith(OUTSIDE["mark"].encode()) for line in lines))
""",
        afterwards=was_alive,
    ),
    Case(
        "recursion without end",
        "import sys\nsys.setrecursionlimit(10**9)\nf = lambda: f()\nf()",
        ("out_of_memory", "kernel_died"),
        EVIL,
    ),
    Case(
        "recursion that overflows the stack",
        "import sys\nsys.setrecursionlimit(10**9)\nnest = []\nfor _ in range(10**6): nest = [nest]\nrepr(nest)",
        ("kernel_died", "out_of_memory"),
        EVIL,
    ),
    Case(
        "a value that has no end",
        """
class Endless(list):
    def __iter__(self):
        while True: yield 1
class Sleepy(list):
    def __iter__(self):
        import time
        while True: time.sleep(1)
lora_fraction, lora_param_counts = Endless(), Sleepy()
""",
        "timeout",
        EVIL,
        within=SHORT,
    ),
    Case(
        "a flood of made-up progress",
        """
import os, json
pipe = os.open(f"/proc/{os.getppid()}/fd/1", os.O_WRONLY)
line = json.dumps({"cell": 1, "of": 99999, "text": "\\x1b[2J" + "x" * 3000}).encode() + b"\\n"
for _ in range(20000): os.write(pipe, line)
os.write(pipe, b"x" * 50_000_000)
""",
    ),
]
