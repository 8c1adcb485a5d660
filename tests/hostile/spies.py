"""Hand-ins that look around: for the course's files, other people's, secrets, and what the graders expect."""

from __future__ import annotations

import json

from graders.harness.run import MARK
from tests.hostile.case import KEEP, Aftermath, Case, nothing_found

SEARCH = (
    KEEP
    + """
import glob, re
NEEDLES = ["configs/stable-diffusion-" + ("v1" if "diffusion-x" in MODEL else "xl"), "397" + "824", "397" + "_824",
    "159" + "1296", "canary" + "-", "test_cross_" + "attention"]
def look(what, text):
    for needle in NEEDLES:
        if needle not in text: continue
        apart = "".join(f"[{letter}]" for letter in needle)  # so that the pattern is not found either
        at = re.search(r"(?<!\\d)" + apart + r"(?!\\d)", text)  # not digits of a longer number by chance
        if at: found.append(f"{needle} in {what}: {text[max(at.start() - 40, 0) : at.end() + 40]}")
def read(path, most=1 << 26):
    with open(path, "rb") as file: return file.read(most).decode("latin-1")
def look_into(path):
    try: look(path, read(path))
    except OSError: pass
"""
)
"""Needles are expected values, the other set of parameters, secrets of the host, and a rubric; each is written in two
parts, so that the hand-in does not find itself."""


def cells_tell_nothing(aftermath: Aftermath) -> None:
    nothing_found(aftermath)
    for text in aftermath.kept("seen.json"):
        seen = json.loads(text)
        assert seen
        assert all(len(source) < 200 for source in seen), seen


CASES = [
    Case(
        "files of the course, the graders, other students and the host",
        KEEP
        + """
import sys
OWN = (sys.prefix, sys.base_prefix, MODEL)  # of the folders that these lie in, nothing else is seen
ways = ["", "/proc/1/root", "/proc/self/root", f"/proc/{os.getppid()}/root", f"/proc/{os.getppid()}/cwd/../..", "/../../.."]
ways += [f"/proc/self/fd/{n}/.." for n in os.listdir("/proc/self/fd")] + [f"/proc/{pid}/root" for pid in OUTSIDE["processes"]]
for path in OUTSIDE["files"]:
    for way in ways:
        attempt(way + path, lambda: open(way + path, "rb").read(1))
    link = f"link-{len(os.listdir('.'))}"
    os.symlink(path, link)
    attempt(f"link to {path}", lambda: open(link, "rb").read(1))
    attempt(f"hard link to {path}", lambda: os.link(path, link + "-hard"))
for folder in OUTSIDE["folders"]:
    listed = os.listdir(folder) if os.path.isdir(folder) else []
    paths = [os.path.join(folder, name) for name in listed]
    found += [path for path in paths if not any(own.startswith(path) for own in OWN)]
for folder in ("~/.ssh", "/root/.ssh", "/home", "/var", "/run", "/mnt", "/srv", "/sys", "/boot"):
    attempt(folder, lambda: os.listdir(os.path.expanduser(folder))[0])
keep()
""",
        afterwards=nothing_found,
    ),
    Case(
        "the names of all files",
        KEEP
        + """
import sys
wanted = {"thresholds.json", "manifest.json", "id_ed25519", "classmate", "reference_solutions", "ex1.py", "ex3.py",
          "lora_counts.py", "grade.py", "checking.py", "secret", "shadow", "result.json", "graded", "judge"}
for folder, folders, files in os.walk("/"):
    if folder == "/": folders[:] = [name for name in folders if name != "proc"]
    if folder.startswith(("/usr/", sys.prefix + "/lib", sys.base_prefix + "/")): folders.clear()
    found += [f"{folder}/{name}" for name in wanted.intersection(folders + files)]
keep()
""",
        afterwards=nothing_found,
    ),
    Case(
        "modules of the graders",
        KEEP
        + """
import importlib, pkgutil, sys
sys.path += ["/opt/grade", "/grade", *OUTSIDE["folders"]]
for name in ("ex1", "ex2", "ex3", "ex4", "harness.grade", "harness.rubric", "harness.checking",
             "harness.result",
             "lora.measures.lora_counts", "lora.measures.thresholds", "lora.measures.layer_names",
             "lora.fixtures", "harness.zoo", "harness.course.answers"):
    attempt(name, lambda: importlib.import_module(f"graders.{name}").__file__.lower())
found += [name for name in sys.modules if name.startswith("graders.ex")]
keep()
""",
        afterwards=nothing_found,
    ),
    Case(
        "processes of others, and their memory",
        SEARCH
        + """
import ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)
for pid in OUTSIDE["processes"]:
    attempt(f"signal to {pid}", lambda: os.kill(pid, signal.SIGCONT))
    if libc.ptrace(16, pid, 0, 0) == 0: found.append(f"traced {pid}")
    if libc.syscall(434, pid, 0) >= 0: found.append(f"has a descriptor of process {pid}")
found += [name for name in os.listdir("/proc") if name.isdigit() and int(name) in OUTSIDE["processes"]]
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"): look_into(path)
for path in ("/proc/kcore", "/proc/kmsg", "/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda"):
    attempt(path, lambda: read(path, 16))
for path in glob.glob("/proc/[0-9]*/maps"):
    if path.split("/")[2] == str(os.getpid()): continue
    try:
        memory = open(path.replace("maps", "mem"), "rb", buffering=0)
        for line in open(path):
            start, end = (int(number, 16) for number in line.split()[0].split("-"))
            if "rw" not in line or end - start > 1 << 27: continue
            memory.seek(start)
            look(path, memory.read(end - start).decode("latin-1"))
    except (OSError, ValueError, OverflowError):
        pass
keep()
""",
        afterwards=nothing_found,
    ),
    Case(
        "the environment",
        SEARCH
        + f"MARK = {MARK!r}"  # says that a notebook is being graded, which is no secret
        + """
look("environ", repr(dict(os.environ)))
SETTINGS = ("GRADE", "SSH", "AWS", "GITHUB", "PYTEST", "SUDO")
found += [name for name in os.environ if name.startswith(SETTINGS) and name != MARK]
import pwd
attempt("users", lambda: [0][not pwd.getpwall()])
keep()
""",
        afterwards=nothing_found,
    ),
    Case(
        "objects, frames, modules, sources and history of the kernel",
        (
            "lora_fraction = 1",
            SEARCH
            + """
import gc, linecache, sys, inspect
shell = get_ipython()
look("history", repr(In) + repr(_ih) + repr(list(shell.history_manager.get_range(output=True))))
look("source lines", repr(linecache.cache))
frame = sys._getframe()
while frame:
    look("frame", repr([repr(value)[:10000] for name, value in list(frame.f_locals.items()) if name != "NEEDLES"]))
    frame = frame.f_back
found += [name for name in sys.modules if name.startswith("graders")]
collector = sys.modules["_grading_collector.collect"]
look("collector", repr(vars(collector)) + repr(vars(collector._collector)))
for item in gc.get_objects():
    if type(item) in (dict, list, tuple, set) and item is not NEEDLES and len(item) < 10000:
        for inner in (list(item.items()) if type(item) is dict else list(item)):
            for part in inner if type(inner) is tuple else (inner,):
                if type(part) in (str, int) and item is not found and part not in NEEDLES:
                    look("an object", str(part) if type(part) is int else part[:1000])
keep()
""",
        ),
        afterwards=nothing_found,
    ),
    Case(
        "the request, the collector's source and everything in the run folder",
        SEARCH
        + """
import sys
OWN = (sys.prefix, sys.base_prefix, MODEL)  # where a checkout lies in /tmp, these are there to be read
for folder in ("/grade", "/opt/grade", "/tmp", "/dev/shm"):
    for place, folders, files in os.walk(folder):
        if place.startswith(OWN):
            folders.clear()
            continue
        for name in files:
            if name != "notebook.ipynb": look_into(os.path.join(place, name))
request = json.load(open("/grade/request.json"))
look("request", repr(request))
known = {"parameters", "hand_in", "output", "time_limit", "cell_limit", "grace", "left_out", "python", "watchers"}
found += sorted(set(request) - known)
keep()
""",
        afterwards=nothing_found,
    ),
    Case(
        "a hook that sees every cell which is executed later",
        (
            KEEP + "seen = []\nget_ipython().events.register('pre_run_cell', lambda info: seen.append(info.raw_cell))",
            "lora_fraction = 1",
            "keep()\nkeep('seen.json', [source for source in seen if not source.startswith('keep')])",
        ),
        afterwards=cells_tell_nothing,
    ),
]
