"""Files that are handed in as notebooks: broken, huge, packed, oddly named, or surrounded by traps."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

from tests.hostile.case import HONEST
from tests.hostile.hand_in import HandIn

POINTS = HONEST["ex1"].points


def notebook(**changes: Any) -> dict[str, Any]:
    """A small notebook that deserves the honest part's points."""
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    parameters = {
        **empty,
        "id": "a",
        "metadata": {"tags": ["parameters"]},
        "source": 'MODEL = "x"\nOUTPUT_DIR = "output"',
    }
    honest = {**empty, "id": "b", "source": HONEST["ex1"].source}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [parameters, honest], **changes}


GOOD = json.dumps(notebook(), indent=1)
SAME_IDS = notebook(cells=[{**cell, "id": "same"} for cell in notebook()["cells"]])
VERSION_3 = {
    "nbformat": 3,
    "nbformat_minor": 0,
    "metadata": {"name": ""},
    "worksheets": [
        {
            "metadata": {},
            "cells": [
                {
                    "cell_type": "code",
                    "input": cell["source"],
                    "metadata": cell["metadata"],
                    "outputs": [],
                    "language": "python",
                }
                for cell in notebook()["cells"]
            ],
        }
    ],
}
OUTPUTS = {"output_type": "stream", "name": "stdout", "text": "x" * 60_000_000}
HUGE = notebook(cells=[{**cell, "outputs": [OUTPUTS]} for cell in notebook()["cells"]])


def packed(**members: bytes | str) -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


TRAP = "import os, pathlib\npathlib.Path(os.environ['TRAP']).touch()\n"
"""Leaves a marker where the `grade` command was run."""
MODULES = (
    "torch",
    "numpy",
    "json",
    "graders",
    "ex1",
    "conftest",
    "sitecustomize",
    "usercustomize",
    "nbformat",
    "click",
    "rich",
)
TRAPS = {
    **{f"{name}.py": TRAP.encode() for name in MODULES},
    "x.pth": ("import os; " + TRAP.replace("\n", ";")).encode(),
    "pytest.ini": b"[pytest]\naddopts = -p conftest\npython_files = *.py\n",
    "pyproject.toml": b'[tool.pytest.ini_options]\naddopts = "-p conftest"\n',
    "setup.cfg": b"[tool:pytest]\naddopts = -p conftest\n",
    ".ipython/profile_default/startup/00.py": TRAP.encode(),
    "ipython_config.py": TRAP.encode(),
    "jupyter_config.py": TRAP.encode(),
}

REFUSED = [
    HandIn("an empty file", b"", says="is empty"),
    HandIn("a file of 60 MB", json.dumps(HUGE).encode(), says="larger than 50 MB"),
    HandIn("broken JSON", GOOD[:-20].encode(), says="breaks off"),
    HandIn(
        "brackets, a million deep",
        b'{"nbformat": 4, "cells": ' + b"[" * 1_000_000,
        says="nested too deeply|not valid JSON",
    ),
    HandIn(
        "metadata, a thousand deep",
        json.dumps(notebook(metadata={"x": 0})).replace('"x": 0', '"x": ' + "[" * 900 + "]" * 900).encode(),
        says="nested too deeply|format",
    ),
    HandIn("text that is not UTF-8", GOOD.replace("MODEL", "MÖDEL").encode("latin-1"), says="not UTF-8"),
    HandIn("UTF-16", GOOD.encode("utf-16"), says="not UTF-8"),
    HandIn(
        "an archive in an archive",
        packed(**{"inner.zip": packed(**{"ex1.ipynb": GOOD})}),
        b"ex1.zip",
        "another archive",
    ),
    HandIn(
        "an archive that unpacks to a gigabyte", packed(**{"ex1.ipynb": bytes(10**9)}), b"ex1.zip", "larger than 50 MB"
    ),
    HandIn("an archive of two", packed(**{"a.ipynb": GOOD, "\x1b[2J.ipynb": GOOD}), b"ex1.zip", "2 notebooks"),
    HandIn("a folder", Path.mkdir, says="is not a file"),
    HandIn("a pipe", os.mkfifo, says="is not a file"),
    HandIn("a link to itself", lambda path: path.symlink_to(path.name), says="cannot be opened|does not exist"),
    HandIn("a link to the system's passwords", lambda path: path.symlink_to("/etc/shadow"), says="not valid JSON"),
    HandIn(
        "no notebook, and a name that steers terminals", b"[]", b"\x1b[2J\xe2\x80\xae\n\x9b[red].ipynb", "no notebook"
    ),
    HandIn(
        "no file, and a name that steers terminals",
        lambda path: None,
        b"\x1b[2J\xe2\x80\xae\n\x9b[red].ipynb",
        "does not exist",
    ),
    HandIn("a file that would be graded into the folder of all", GOOD.encode(), b"...ipynb", points=POINTS),
]
GRADED = [
    HandIn(
        "format 3, and a name with line breaks",
        json.dumps(VERSION_3).encode(),
        b"a\nb\r\n\x1b[31mc.ipynb",
        points=POINTS,
    ),
    HandIn(
        "a byte-order mark, and a name in two directions",
        b"\xef\xbb\xbf" + GOOD.encode(),
        "\u202eex\u2066.ipynb".encode(),
        points=POINTS,
    ),
    HandIn(
        "CRLF, and a name of pictures",
        GOOD.replace("\n", "\r\n").encode(),
        "\U0001f608\U0001f3f4\u200d.ipynb".encode(),
        points=POINTS,
    ),
    HandIn(
        "ids that are the same, and a very long name",
        json.dumps(SAME_IDS).encode(),
        b"x" * 249 + b".ipynb",
        points=POINTS,
    ),
    HandIn("a name that is no text", GOOD.encode(), b"\xff\xfe\x80.ipynb", points=POINTS),
    HandIn(
        "an archive whose member climbs out, and a name that Windows reserves",
        packed(**{"../../../ex1.ipynb": GOOD, "/etc/x": "x"}),
        b"CON.zip",
        points=POINTS,
    ),
    HandIn(
        "traps beside the notebook, and a name that is an option", GOOD.encode(), b"--help", points=POINTS, others=TRAPS
    ),
]
PAPERS = [*REFUSED, *GRADED]
