"""Hand-ins that hold what no limit of their own counts, and those that make the graders fail to be paid for it."""

from __future__ import annotations

from collections.abc import Callable

from tests.hostile.case import KEEP, Aftermath, Case, nothing_found

P = 2**61 - 1

SYSCALLS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(what, number, *arguments):
    if libc.syscall(number, *arguments) >= 0: found.append(what)
"""


def quick(seconds: float) -> Callable[[Aftermath], None]:
    """Both runs and all checks took no longer than so many seconds on a busy machine, most of which is starting."""

    def assert_quick(aftermath: Aftermath) -> None:
        assert aftermath.ended - aftermath.started < seconds
        assert aftermath.result.undecided == 0, "a grader broke"

    return assert_quick


def left_files(aftermath: Aftermath) -> None:
    """What was in the way of the copy-out was copied as the file that it is."""
    for evidence in aftermath.runs:
        assert (evidence.folder / "work" / "output").read_text() == "a file"


def no_records(aftermath: Aftermath) -> None:
    """The hand-in has destroyed its own evidence, and nothing else."""
    assert aftermath.result.score == 0
    assert aftermath.result.undecided == 0


CASES = [
    Case(
        "keys that share one hash",
        f"""
from itertools import islice, product
same = [-1, -2, *(-2 - n * {P} for n in range(1, 4))]
cross_attention_layers = {{key for key in islice(product(same, repeat=7), 9_000)}}
lora_param_counts = {{key: 1 for key in islice(product(same, repeat=8), 9_000)}}
lora_fraction = {{(n, (m, -1)): 1 for n in same for m in same}}
""",
        afterwards=quick(150.0),
    ),
    Case(
        "paintings that no number can hold",
        """
import json, os
import threading, time
path = "/grade/evidence/variables/session.json"
def forge():
    for _ in range(200):
        with open(path, "w") as file:
            huge = 10**400
            json.dump({"paintings": [["x", [huge], {}]], "lora_adapters": [huge], "lora_configs": [[huge]]}, file)
        time.sleep(0.05)
threading.Thread(target=forge, daemon=True).start()
time.sleep(1)
""",
        afterwards=quick(150.0),
    ),
    Case(
        "OUTPUT_DIR is a file",
        """
import os
os.rmdir(OUTPUT_DIR)
with open(OUTPUT_DIR, "w") as file: file.write("a file")
""",
        afterwards=left_files,
    ),
    Case(
        "the folder of evidence is a file",
        """
import shutil, time, threading
def spoil():
    for _ in range(400):
        shutil.rmtree("/grade/evidence/variables", ignore_errors=True)
        try: open("/grade/evidence/variables", "x").write("a file")
        except OSError: pass
        time.sleep(0.02)
threading.Thread(target=spoil, daemon=False).start()
time.sleep(1)
""",
        ended=("completed", "kernel_died", "timeout"),
        points=0.0,
        kept=False,
        afterwards=no_records,
    ),
    Case(
        "queues that no control group counts",
        KEEP
        + """
import socket
held = []
def datagrams(family, flags=0):
    one = socket.socket(family, socket.SOCK_DGRAM | flags)
    held.append(one)
def netlink(protocol):
    held.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol))
for family in (socket.AF_INET, socket.AF_INET6):
    for flags in (0, socket.SOCK_NONBLOCK, socket.SOCK_CLOEXEC):
        attempt(f"datagrams of {family}", lambda: datagrams(family, flags))
    attempt(f"raw {family}", lambda: held.append(socket.socket(family, socket.SOCK_RAW)))
    attempt(f"sctp {family}", lambda: held.append(socket.socket(family, socket.SOCK_SEQPACKET)))
    for protocol in (132, 262, 2, 17, 255):
        attempt(f"protocol {protocol}", lambda: held.append(socket.socket(family, socket.SOCK_STREAM, protocol)))
held.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP))  # what notebooks use still works
for protocol in range(1, 32):
    attempt(f"netlink {protocol}", lambda: netlink(protocol))
keep()
""",
        afterwards=nothing_found,
    ),
    Case(
        "quotas of the whole machine",
        KEEP
        + SYSCALLS
        + """
context = ctypes.c_long()
call("inotify", 253)
call("inotify, with flags", 294, 0o2000000)
call("fanotify", 300, 0, 0)
call("aio", 206, 1, ctypes.byref(context))
call("secret memory", 447, 0)
call("the machine's log", 103, 3, ctypes.create_string_buffer(100), 100)
call("a message queue", 240, b"grade", 0o102, 0o600, None)
call("messages of System V", 68, 0, 0o1600)
call("semaphores of System V", 64, 0, 1, 0o1600)
call("memory of System V", 29, 0, 4096, 0o1600)
import resource
opened = []
try:
    while len(opened) < 3000: opened.append(os.open("/dev/null", os.O_RDONLY))
    found.append("thousands of open files")
except OSError:
    for one in opened: os.close(one)
keep()
""",
        afterwards=nothing_found,
    ),
    Case(
        "other processes of the sandbox",
        KEEP
        + SYSCALLS
        + """
call("traced the first process", 101, 16, 1, 0, 0)
call("seized it", 101, 0x4206, 1, 0, 0)
buffer = ctypes.create_string_buffer(8)
call("read its memory", 310, 1, ctypes.byref(buffer), 1, ctypes.byref(buffer), 1, 0)
call("wrote to it", 311, 1, ctypes.byref(buffer), 1, ctypes.byref(buffer), 1, 0)
call("compared its files", 312, 1, os.getpid(), 0, 0, 0)
first = libc.syscall(434, 1, 0)
if first >= 0: call("took a file of it", 438, first, 0, 0)
attempt("opened its memory", lambda: os.pwrite(os.open("/proc/1/mem", os.O_RDWR), b"x", 0))
keep()
""",
        afterwards=nothing_found,
    ),
    Case(
        "leases and locks on the machine's files",
        KEEP
        + """
import fcntl, sys
for path in ("/usr/bin/env", sys.executable, "/grade/request.json", "/proc/self/exe"):
    attempt(f"a lease on {path}", lambda: fcntl.fcntl(os.open(path, os.O_RDONLY), 1024, fcntl.F_RDLCK))
    import ctypes
    call = ctypes.CDLL(None, use_errno=True).syscall
    command = ctypes.c_uint64(1 << 32 | 1024)  # of which the Linux kernel sees the lower half
    if call(ctypes.c_long(72), ctypes.c_long(os.open(path, os.O_RDONLY)), command, ctypes.c_long(0)) == 0:
        found.append(f"a lease on {path}, in a wide register")
attempt("notices of a folder", lambda: fcntl.fcntl(os.open("/usr", os.O_RDONLY), 1026, 1))
one, other = (os.open("/usr/bin/env", os.O_RDONLY) for _ in range(2))
fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
try:
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    found.append("a lock that another can feel")
keep()
""",
        afterwards=nothing_found,
    ),
    Case(
        "packages that are installed beside those of notebooks",
        KEEP
        + """
import glob, importlib, sys
for name in ("pytest", "hypothesis", "mypy", "pebble", "grade_beside",
             "graders.ex1", "graders.harness.rubric", "graders.lora.fixtures"):
    attempt(f"import {name}", lambda: importlib.import_module(name))
for folder in [path for path in sys.path if path.endswith("-packages")]:
    names = os.listdir(folder)
    found += [name for name in names if name.lower().startswith(("lora_graders", "graders", "pytest", "_pytest", "grade_beside"))]
keep()
""",
        afterwards=nothing_found,
    ),
    Case(
        "what /proc says of the machine",
        KEEP
        + """
for name in ("kpageflags", "kpagecount", "slabinfo", "timer_list", "keys", "key-users", "kallsyms", "vmallocinfo", "kcore"):
    def read():
        with open(f"/proc/{name}", "rb") as file:
            assert file.read(16)
    attempt(name, read)
keep()
""",
        afterwards=nothing_found,
    ),
]
