"""Hand-ins whose files are not what they seem: what a grader must not follow, open, load, run or keep."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from graders.harness.run.gather import LEFT_OUT
from tests.hostile.case import EVIL, KEEP, LIMITS, SHORT, Aftermath, Case, nothing_found

FILE = "pytorch_lora_weights.safetensors"
RANKS = (
    KEEP
    + f'\nFILE = "{FILE}"\n'
    + 'MARKER = OUTSIDE["marker"]\n'
    + """
folders = [os.path.join(OUTPUT_DIR, f"rank{rank}") for rank in RANKS]
for folder in folders: os.makedirs(folder)
small, large = (os.path.join(folder, FILE) for folder in folders)
"""
)
TENSORS = """
import struct
def tensors(path, header, data=b"", length=None):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    with open(path, "wb") as file: file.write(struct.pack("<Q", len(text) if length is None else length) + text + data)
def adapter(rank, number=b"\\0\\0\\x80?", kind="F32", layer="mid_block.attentions.0.transformer_blocks.0.attn2.to_q", width=128):
    header, at = {}, 0
    for name, shape in (("lora_A", [rank, width]), ("lora_B", [width, rank])):
        size = len(number) * rank * width
        header[f"unet.{layer}.{name}.weight"] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    return header, number * (at // len(number))
"""
PICKLE = """
import pickle
class Payload:
    def __reduce__(self): return exec, (f"import pathlib; pathlib.Path({MARKER!r}).touch()",)
content = pickle.dumps(Payload())
"""


def left_out(*reasons: str) -> Callable[[Aftermath], None]:
    """Both runs left something out for each of the reasons."""

    def assert_left_out(aftermath: Aftermath) -> None:
        for evidence in aftermath.runs:
            said = " ".join(json.loads((evidence.folder / LEFT_OUT).read_text()).values())
            assert all(reason in said for reason in reasons), said

    return assert_left_out


def nothing_but_files(aftermath: Aftermath) -> None:
    """Whatever was kept is a regular file or a folder, with a name that can be printed."""
    for path in aftermath.folder.rglob("*"):
        assert not path.is_symlink()
        assert path.is_file() or path.is_dir()
        assert path.name.isprintable()
        assert path.lstat().st_nlink == 1 or path.is_dir()


def both(*asserted: Callable[[Aftermath], None]) -> Callable[[Aftermath], None]:
    def assert_all(aftermath: Aftermath) -> None:
        for function in asserted:
            function(aftermath)

    return assert_all


def ex3(title: str, attack: str, *reasons: str, points: float | None = None) -> Case:
    """A hand-in of adapters, of which nothing is worth a point, or only what they are named and shaped like."""
    afterwards = both(nothing_but_files, left_out(*reasons)) if reasons else nothing_but_files
    return Case(title, RANKS + attack, exercise="ex3", afterwards=afterwards, points=points)


CODE = """
payload = f"import pathlib; pathlib.Path({OUTSIDE['marker']!r}).touch()\\n"
files = dict.fromkeys(("torch.py", "conftest.py", "sitecustomize.py", "usercustomize.py", "numpy.py", "graders.py", "ex1.py",
    "test_ex1.py", "__init__.py", "safetensors.py", "json.py"), payload)
files |= {"x.pth": "import os; " + payload, "pytest.ini": "[pytest]\\naddopts = -p conftest\\n", "setup.cfg": "[tool:pytest]\\n",
    "pyproject.toml": '[tool.pytest.ini_options]\\naddopts = "-p conftest"\\n', ".env": "PYTHONSTARTUP=torch.py\\n"}
home = os.path.expanduser("~")
site = f"{home}/.local/lib/python3.11/site-packages"
for folder in (".", OUTPUT_DIR, home, site, f"{home}/.ipython/profile_default/startup", "..", "../evidence"):
    try:
        os.makedirs(folder, exist_ok=True)
        for name, content in files.items():
            with open(os.path.join(folder, name), "w") as file: file.write(content)
    except OSError:
        found.append(folder)
found.remove("..")
keep()
"""
LINKS = """
os.symlink("/etc/passwd", small)
os.rmdir(folders[1])
os.symlink(OUTSIDE["folders"][0], folders[1])
os.symlink("/", "root"); os.symlink(".", "here"); os.symlink("loop", "loop"); os.symlink("/proc/1/root", OUTPUT_DIR + "/init")
"""
CASES = [
    Case(
        "modules and settings that Python and pytest would load, wherever it can write",
        KEEP + CODE,
        afterwards=nothing_found,
    ),
    ex3("links to the host's files and folders", LINKS, "it is a link"),
    ex3(
        "links in circles, and hard links",
        "os.symlink(FILE, small)\nopen('one', 'w').write('x')\nos.link('one', large)\n",
        "it is a link",
        "several names",
    ),
    ex3(
        "a pipe and a socket for adapters",
        "import socket\nos.mkfifo(small)\nserver = socket.socket(socket.AF_UNIX)\nos.chdir(folders[1])\nserver.bind(FILE)",
        "not a regular file",
    ),
    Case(
        "device files",
        KEEP
        + """
import stat
for number, kind in enumerate((stat.S_IFBLK, stat.S_IFCHR)):
    for device in (os.makedev(1, 1), os.makedev(7, 0), os.makedev(253, 0), os.makedev(8, 0), os.makedev(1, 3)):
        attempt("a device", lambda: os.mknod(f"device-{number}", 0o600 | kind, device))
for path in ("/dev/mem", "/dev/kmem", "/dev/port", "/dev/loop0", "/dev/fuse", "/dev/kvm", "/dev/vsock", "/dev/disk"):
    attempt(path, lambda: os.stat(path))
keep()
""",
        afterwards=nothing_found,
    ),
    ex3("pickles under an adapter's name", PICKLE + "for path in (small, large): open(path, 'wb').write(content)"),
    ex3(
        "pickles beside where an adapter should be",
        PICKLE
        + """
for name in ("pytorch_lora_weights.bin", "adapter_model.bin"): open(f"{folders[0]}/{name}", "wb").write(content)
for name in ("adapter.pt", "adapter_model.pth", "a.ckpt", "a.pkl", "a.npy"): open(f"{folders[1]}/{name}", "wb").write(content)
open(f"{folders[1]}/adapter_config.json", "w").write(json.dumps({"auto_mapping": {"parent_library": "torch"}, "r": 4}))
""",
    ),
    ex3(
        "files of a terabyte without content",
        """
try: os.truncate(os.open(large, os.O_CREAT | os.O_WRONLY), 1 << 40)
except OSError: pass
for path in (small, large): os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 30 << 20)
""",
        "claims to hold more",
    ),
    ex3(
        "names that steer terminals, hide, or are no text",
        """
names = [b"new\\nline", b"\\x1b[2J\\x1b]0;x\\x07", "\\u202egnp.exe".encode(), "\\U0001f608".encode(), b"x" * 255,
         b"\\xff\\xfe\\x80",
         b"[red]rich[bold", b"<img src=x onerror=alert(1)>", b"$(touch x)", b"; rm -rf .", b"-rf", b"*", b" ", b"\\x7f", b"a\\rb"]
for folder in (*folders, OUTPUT_DIR, "."):
    for name in names: open(os.path.join(os.fsencode(folder), name), "w").close()
""",
        "cannot be printed",
    ),
    ex3(
        "folders in folders, a thousand deep",
        """
for folder, length in ((folders[0], 250), (folders[1], 1), ("../evidence/variables", 30)):
    at = os.open(folder, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("d" * length, dir_fd=at)
        inner = os.open("d" * length, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
""",
        "nested too deeply",
        "path is too long",
    ),
    ex3(
        "safetensors with a huge header, and with tensors over each other",
        TENSORS
        + """
tensors(small, {}, b"x" * 1000, length=1 << 62)
header, data = adapter(RANKS[1])
for entry in header.values(): entry["data_offsets"] = [0, 128 * RANKS[1] * 4]
tensors(large, header, data)
""",
    ),
    ex3(
        "safetensors with a shape beyond measure, and with a header that is all brackets",
        TENSORS
        + """
name = next(iter(adapter(4)[0]))
tensors(small, {name: {"dtype": "F32", "shape": [1 << 62, 1 << 62, 0], "data_offsets": [0, 0]}})
tensors(large, b"[" * 1_000_000)
""",
    ),
    ex3(
        "an adapter of NaN, and one of infinities",
        TENSORS
        + """
tensors(small, *adapter(RANKS[0], b"\\0\\0\\xc0\\x7f"))
tensors(large, *adapter(RANKS[1], b"\\0\\0\\x80\\x7f"))
""",
        points=10.06,  # for layers and ranks, which are right in both runs
    ),
    ex3(
        "an adapter of integers, and one of the wrong width",
        TENSORS
        + """
tensors(small, *adapter(RANKS[0], b"\\1\\0\\0\\0", kind="I32"))
tensors(large, *adapter(RANKS[1], width=7))
""",
    ),
    ex3(
        "layers whose names are markup",
        TENSORS
        + """
layer = "[red]x[/red]<script>alert(1)</script>\\x1b[2J\\u202e\\r\\n" + "x" * 3000
tensors(small, *adapter(RANKS[0], layer=layer))
tensors(large, {"\\x1b[31m" * 1000: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"1234")
""",
    ),
    Case(
        "pictures too large to look at",
        """
import numpy as np
base_images = [np.broadcast_to(np.zeros((1, 1, 3), dtype=np.uint8), (60000, 60000, 3))] * 4
lora_images = {rank: [np.zeros((4000, 4000, 3), dtype=np.uint8)] * 400 for rank in RANKS}
""",
        exercise="ex3",
        ended="timeout",  # it takes minutes to keep four hundred of them
        cell=EVIL,
        within=replace(SHORT, limits=replace(LIMITS, memory=1 << 30)),
    ),
    Case(
        "pictures that unpack to gigabytes, as evidence",
        KEEP
        + """
import struct, sys, zlib
def chunk(name, body): return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
def png(width, height, content):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
packer = zlib.compressobj(9)
zeros = b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()
text = chunk(b"zTXt", b"x\\0\\0" + zeros)
bombs = [png(60000, 60000, zeros), png(8, 8, zeros), png(4096, 4096, zeros)]
bombs[1] = bombs[1][:33] + text + bombs[1][33:]
def forge():
    for name in ("base_images", "lora_images"):
        folder = f"/grade/evidence/variables/{name}.1"
        os.makedirs(folder, exist_ok=True)
        for number, bomb in enumerate(bombs): open(f"{folder}/{number}.png", "wb").write(bomb)
        files = [{"file": f"{number % 3}.png"} for number in range(400)]
        many = {"mapping": [[rank, {"list": [files[2]] * 100}] for rank in RANKS]}
        record = {"kind": "pictures", "folder": f"{name}.1"}
        record["pictures"] = {"list": files[:4]} if name == "base_images" else many
        with open(f"/grade/evidence/variables/{name}.json", "w") as file: json.dump(record, file)
sys.modules["_grading_collector.collect"].collect = lambda *given: forge()
""",
        exercise="ex3",
    ),
    Case(
        "links, pipes and folders for evidence",
        """
import os, sys
def forge():
    here = "/grade/evidence/variables/"
    if os.path.islink(here + "session.json"): return
    for name in ("lora_fraction", "lora_param_counts", "cross_attention_layers", "session"):
        if os.path.lexists(f"{here}{name}.json"): os.remove(f"{here}{name}.json")
    os.symlink(OUTSIDE["files"][0], here + "lora_fraction.json")
    os.mkfifo(here + "lora_param_counts.json")
    os.mkdir(here + "cross_attention_layers.json")
    os.symlink("/dev/zero", here + "session.json")
sys.modules["_grading_collector.collect"].collect = lambda *given: forge()
""",
        afterwards=both(nothing_but_files, left_out("it is a link", "not a regular file")),
    ),
    Case(
        "the folder of evidence is a link",
        """
import os, sys
sys.modules["_grading_collector.collect"].collect = lambda *given: None
os.rename("/grade/evidence/variables", "/grade/evidence/v")
os.symlink(os.path.dirname(OUTSIDE["files"][0]), "/grade/evidence/variables")
os.rename(OUTPUT_DIR, "o")
os.symlink("/etc", OUTPUT_DIR)
""",
        points=0,
        kept=False,
        afterwards=both(nothing_but_files, left_out("it is a link")),
    ),
    Case(
        "tensors that are not what their record says",
        TENSORS
        + """
import json, os, sys
here = "/grade/evidence/variables/"
def forge():
    files = {
        "z_0": ({"value": {"dtype": "F32", "shape": [1, 4, 8, 8], "data_offsets": [0, 1024]}}, b"\\0\\0\\xc0\\x7f" * 256),
        "noise": ({"value": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}}, b"1234"),
        "z_t": ({"value": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}}, b"12345678"),
        "text_embeddings": ({"value": {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]}}, b"abc"),
        "noise_pred": (b"{" * 100000, b""),
        "loss": ({"value": {"dtype": "F32", "shape": [2, 0, 5], "data_offsets": [0, 0]}}, b""),
        "unet": ({"value:conv_in.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
    }
    for name, (header, data) in files.items():
        tensors(f"{here}{name}.1.safetensors", header, data)
        record = {"kind": "tensor", "file": f"{name}.1.safetensors", "dtype": "\\x1b[2Jfloat32"}
        record |= {"device": "cpu", "in_graph": name != "loss"}
        if name == "unet":
            parameter = {"name": "conv_in.weight", "trainable": True, "identity": 1 << 70}
            record |= {"kind": "module", "class": "\\x1b[2J<b>", "training": True, "parameters": [parameter] * 1000}
        with open(f"{here}{name}.json", "w") as file: json.dump(record, file)
    record = {"kind": "optimizer", "class": "\\u202eAdam", "parameters": [1 << 70]}
    record["options"] = {"mapping": [[{"float": "nan"}, []]]}
    with open(f"{here}optimizer.json", "w") as file: json.dump(record, file)
sys.modules["_grading_collector.collect"].collect = lambda *given: forge()
""",
        exercise="ex2",
    ),
    Case(
        "records that lead to files outside",
        """
import json, sys
def forge():
    for name, path in (("z_0", OUTSIDE["files"][0]), ("noise", "../../../../run/notebook.ipynb"), ("z_t", "/etc/passwd"),
                       ("loss", "../run.json"), ("noise_pred", "."), ("text_embeddings", "\\0"), ("unet", {"a": 1})):
        record = {"kind": "module" if name == "unet" else "tensor", "file": path, "dtype": [], "device": None, "in_graph": 1}
        with open(f"/grade/evidence/variables/{name}.json", "w") as file: json.dump(record, file)
sys.modules["_grading_collector.collect"].collect = lambda *given: forge()
""",
        exercise="ex2",
    ),
]
