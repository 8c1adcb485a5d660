"""What was handed in for a notebook and is none."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from graders.harness.data.file_kinds import file_kind
from graders.harness.errors import ExplainedError
from graders.harness.run import notebook as notebooks

CHECKOUT = Path(__file__).parents[3]
NOTEBOOK = (CHECKOUT / "assignments" / "ex1.ipynb").read_bytes()


def packed(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def conflict() -> bytes:
    lines = NOTEBOOK.splitlines(keepends=True)
    ours, theirs = b'   "source": ["x = 1"]\n', b'   "source": ["x = 2"]\n'
    return b"".join([*lines[:9], b"<<<<<<< HEAD\n", ours, b"=======\n", theirs, b">>>>>>> main\n", *lines[9:]])


FILES = {
    "a PDF": (b"%PDF-1.7\n...", "is a PDF"),
    "nothing": (b" \n", "is empty"),
    "a page": (b"<!DOCTYPE html>\n<html><body>Sign in to JupyterHub", "is a web page"),
    "an exported page": (b"\xef\xbb\xbf<html>\n<head><meta charset='utf-8'/><title>ex1</title>", "is a web page"),
    "a script": (b"# coding: utf-8\nimport torch\nx = 1\n", "is a Python script"),
    "a script of nbconvert": (b"#!/usr/bin/env python\n# In[1]:\nget_ipython().system('ls')\n", "is a Python script"),
    "a script with cells": (b"# %%\nx = !ls\n", "is a Python script"),
    "R Markdown": (b"---\ntitle: Exercise 1\n---\n```{r}\nx <- 1\n```\n", "is a Markdown document"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "is a Git LFS pointer"),
    "a merge conflict": (conflict(), "merge conflict (line 10)"),
    "Word": (packed("[Content_Types].xml", "word/document.xml"), "is a Word document"),
    "LibreOffice": (packed("mimetype", "content.xml", "styles.xml"), "is a document of LibreOffice"),
    "an empty archive": (packed("essay.txt"), "holds no notebook"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "is a picture"),
    "a link": (b'{"url": "https://docs.google.com/open?id=1", "doc_id": "1", "email": "a@b.c"}', "is a link"),
    "half of a notebook": (NOTEBOOK[: len(NOTEBOOK) // 2], "breaks off"),
}


@pytest.mark.parametrize(("content", "says"), FILES.values(), ids=FILES.keys())
def test_it_is_told_what_the_file_is(tmp_path: Path, content: bytes, says: str) -> None:
    """A file that is no notebook is called what it is, with what to do about it, whatever its name says."""
    (tmp_path / "ex1.ipynb").write_bytes(content)
    with pytest.raises(ExplainedError) as refused:
        notebooks.read(tmp_path / "ex1.ipynb")
    assert says in refused.value.problem
    assert refused.value.problem.endswith(".")
    assert refused.value.fix.endswith(".")


@pytest.mark.parametrize(
    "content", [b"hello", b"{}", b'{"a": 1}', b"\xff\xfe{", b"<<<<<<<\n" * 100_000, b"(" * 100_000]
)
def test_what_is_not_known_is_not_named(content: bytes) -> None:
    """Whatever else a file may be, nothing is claimed of it."""
    assert file_kind(content) is None
    with pytest.raises(notebooks.NotebookError):
        notebooks.parse(content)


def in_language(about: dict, *cells: str) -> bytes:
    code = [{"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": c} for c in cells]
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": about, "cells": code}).encode()


@pytest.mark.parametrize(
    "about",
    [
        {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}, "language_info": {"name": "R"}},
        {"kernelspec": {"name": "ir", "display_name": "R"}},
        {"kernelspec": {"name": "julia-1.11", "display_name": "Julia 1.11", "language": "julia"}},
    ],
)
def test_a_notebook_for_another_language(about: dict) -> None:
    """A notebook for R or Julia is refused by name, and not run as Python."""
    with pytest.raises(notebooks.NotebookError, match=r"notebook for (R|Julia 1\.11)"):
        notebooks.parse(in_language(about, "library(torch)\nx <- 1"))


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"kernelspec": {"name": "my-env", "display_name": "My environment"}},
        {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}, "language_info": {"name": "python"}},
        {"kernelspec": {"name": "xpython", "display_name": "Python (XPython)", "language": "python"}},
    ],
)
def test_a_notebook_for_python(about: dict) -> None:
    """A notebook that says nothing of another language, or not only that, is read."""
    assert notebooks.parse(in_language(about, "x = 1")).cells[0].source == "x = 1"


def test_python_under_the_name_of_another_kernel() -> None:
    """What is plainly Python is read as Python, though the wrong kernel was chosen when it was saved."""
    about = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}
    assert notebooks.parse(in_language(about, "import torch\nx = 1")).cells
