"""The files that belong to a notebook and stand beside it: modules, data, another notebook that it runs.

They travel as one zip archive, ``beside.zip``, and are unpacked where the notebook runs, under names that stay in that folder.
"""

from __future__ import annotations

import ast
import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from graders.harness.data import archive
from graders.harness.errors import ExplainedError, HandInError
from graders.harness.run.source import Code, code

FILE = "beside.zip"
MAX_BYTES = 50_000_000
"""All of them together, in bytes: as much as a notebook may have."""
MAX_FILES = 1_000
MAX_DEPTH = 10
MAX_REFUSED = 20
"""Files that are too large for the room that is left, before no more are looked at."""
_OUTPUT = "output"
"""Where a run leaves what is graded: nothing lies there before it."""
_READS = re.compile(r"^(?:open|load|loads|loadtxt|imread|load_file|safe_open|read_\w+|load_\w*file\w*)$")
_RUN = re.compile(r"^[ \t]*%run[ \t]+(?:-\w+[ \t]+)*['\"]?([^\s'\"]+)", re.MULTILINE)
_WORD = re.compile(r"[\w./-]+\.\w+")
_LONGEST = 200
"""Characters of a text that may be a path."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(files: Mapping[str, bytes]) -> bytes:
    """An archive of the files, the same for the same ones; b"" for none."""
    if not files:
        return b""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compresslevel=1) as file:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, files[name])
    return packed.getvalue()


def unpack(content: bytes, folder: Path) -> None:
    """Put the files of an archive that :func:`pack` made into a folder."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        for name in file.namelist():
            if permitted(name):
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.read(name))


def permitted(name: str) -> bool:
    """Whether a file of that relative path may stand beside a notebook."""
    path = PurePosixPath(name)
    within = bool(path.parts) and not path.is_absolute() and ".." not in path.parts and len(path.parts) <= MAX_DEPTH
    return within and name.isprintable() and not archive.hidden(name) and path.parts[0] not in (_OUTPUT, "__pycache__")


def modules(content: bytes) -> set[str]:
    """The modules that can be imported from the files of an archive, wherever in it they are."""
    if not content:
        return set()
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        paths = [PurePosixPath(name) for name in file.namelist()]
    return {part for path in paths if path.suffix == ".py" for part in (*path.parts[:-1], path.stem)}


def chosen(names: Iterable[str], read: Callable[[str, int], bytes], wanted: Callable[[str], bool]) -> bytes:
    """The archive of those files that are ``wanted``, as far as there is room.

    ``read`` gives what is in one; of one with more bytes than a limit it gives more than that, or raises
    :class:`ExplainedError`.
    """
    files, room, refused = dict[str, bytes](), MAX_BYTES, 0
    for name in names:
        if len(files) < MAX_FILES and refused < MAX_REFUSED and permitted(name) and wanted(name):
            try:
                content = read(name, room)
            except ExplainedError:
                refused += 1
            else:
                fits = len(content) <= room
                files |= {name: content} if fits else {}
                room, refused = (room - len(content), refused) if fits else (room, refused + 1)
    return pack(files)


def of_own(notebook_path: Path, cells: Sequence[Code]) -> bytes:
    """What one's own notebook names of the files in its folder: they may be anything, and only those are taken."""
    folder, found, waiting = notebook_path.parent, dict[str, None](), [*_named(cells)]
    while waiting and len(found) < MAX_FILES:
        name = waiting.pop(0).removeprefix("./")
        for path in (folder / name, folder / f"{name}.py"):
            inside = (
                [path, *sorted(path.rglob("*"))[:MAX_FILES]] if name and permitted(name) and path.is_dir() else [path]
            )
            for one in inside:
                relative = one.relative_to(folder).as_posix() if one.is_relative_to(folder) else ""
                if relative not in found and permitted(relative) and one.is_file() and one != notebook_path:
                    found[relative] = None
                    waiting += _named_in(one)
    return chosen(found, lambda name, limit: _read(folder / name, limit), lambda name: True)


def wanted_of_hand_in(cells: Sequence[Code]) -> Callable[[str], bool]:
    """Whether a file that was handed in with a notebook goes with it: all but other notebooks, unless it names them."""
    named = {PurePosixPath(name).name for name in _named(cells)}
    return lambda name: not name.endswith(".ipynb") or PurePosixPath(name).name in named


def needed(cells: Sequence[Code]) -> list[str]:
    """The files that the code says it reads, and says nothing else of, by paths below its folder."""
    run = [name for cell in cells for name in _RUN.findall(cell.text)]
    read, texts = list[str](), list[str]()
    for node in (node for cell in cells if cell.tree for node in ast.walk(cell.tree)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function, name = node.func, node.args[0].value
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            mode = node.args[1].value if len(node.args) > 1 and isinstance(node.args[1], ast.Constant) else ""
            if (
                _READS.match(called)
                and isinstance(name, str)
                and _WORD.fullmatch(name)
                and str(mode)[:1] not in {*"wax"}
            ):
                read.append(name)
    # One that stands elsewhere as well may be written, or fetched, before it is read
    only_read = [name for name in read[:MAX_FILES] if sum(name in text for text in texts) == read.count(name)]
    return [name for name in dict.fromkeys([*run, *only_read]) if permitted(name)]


def _named(cells: Sequence[Code]) -> Iterator[str]:
    """What may be the path of a file in the code: imported modules, texts, and words of commands."""
    for cell in cells:
        yield from _RUN.findall(cell.text)
        for node in ast.walk(cell.tree) if cell.tree else ():
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield (node.module or "").partition(".")[0]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < _LONGEST:
                yield from (node.value, *_WORD.findall(node.value)) if "\n" not in node.value else ()


def _named_in(path: Path) -> list[str]:
    """What a module or notebook names in turn, as if it stood beside the notebook; with its package's other modules."""
    from graders.harness.run.notebook import read  # which knows nothing of files beside a notebook

    try:
        if path.suffix == ".ipynb":
            return [*_named(code(read(path)))]
        if path.suffix == ".py":
            tree = ast.parse(_read(path, 200_000))
            return [*_named([Code("", 1, "", "", tree)])]
    except (ExplainedError, SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    return []


def _read(path: Path, limit: int) -> bytes:
    """What is in a regular file; nothing if it cannot be read. :class:`HandInError` if it is larger than the limit."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if facts.st_size > limit:
                raise HandInError(f"{path.name} is too large.", "Leave it out.")
            return file.read(limit + 1) if stat.S_ISREG(facts.st_mode) else b""
    except OSError:
        return b""
