"""What `grade` says when it is given something that it cannot grade."""

from pathlib import Path

import pytest

from tests.command import grade

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"[]", "no notebook"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}', "parameters"),
    ],
    ids=["missing", "empty", "a list", "not text", "no parameters cell"],
)
def test_unusable_notebook(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """A notebook that cannot be run ends with exit status 2 and two sentences, never a stack trace."""
    if content is not None:
        (tmp_path / "ex3.ipynb").write_bytes(content)
    ran = grade("ex3", "ex3.ipynb", folder=tmp_path)
    assert ran.status == 2
    assert problem.lower() in ran.said.lower()
    assert "What to do:" in ran.said
    assert "Traceback" not in ran.said


def test_no_notebook_here(tmp_path: Path) -> None:
    """In a folder without a notebook of the exercise, `grade ex3` says where it looked."""
    ran = grade("ex3", folder=tmp_path)
    assert ran.status == 2
    assert "assignments" in ran.said


def test_several_notebooks(tmp_path: Path) -> None:
    """Where two notebooks could be meant, neither is guessed."""
    for name in ("ex3.ipynb", "ex3-copy.ipynb"):
        (tmp_path / name).write_text("{}")
    ran = grade("ex3", folder=tmp_path)
    assert ran.status == 2
    assert "ex3-copy.ipynb, ex3.ipynb" in ran.said


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.safetensors", None, "no "),
        ("weights.bin", b"\x80\x04pickle", "pickle"),
        ("broken.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{{{{{{{{", "safetensors"),
    ],
)
def test_style_shift_of_an_unusable_adapter(tmp_path: Path, name: str, content: bytes | None, problem: str) -> None:
    """`grade style-shift` refuses what is not an adapter with exit status 2 and two sentences."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    fixtures = REPOSITORY / "fixtures"
    ran = grade(
        "style-shift",
        "--base",
        fixtures / "tiny-sd",
        "--adapter",
        name,
        "--reference",
        fixtures / "datasets/watercolor/held-out",
        folder=tmp_path,
    )
    assert ran.status == 2
    assert problem in ran.said
    assert "What to do:" in ran.said
    assert "Traceback" not in ran.said
