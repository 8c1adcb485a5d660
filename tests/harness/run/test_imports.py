"""Imports are looked through before anything runs."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from graders.harness.run import imports, source
from graders.harness.run.imports import missing


def cells(*texts: str) -> list[source.Code]:
    """Code cells under a heading."""
    return source.code(new_notebook(cells=[new_markdown_cell("# Setup"), *map(new_code_cell, texts)]))


def names(*texts: str, sandboxed: bool = True, beside: tuple[str, ...] = ()) -> list[str]:
    return [one.name for one in missing(cells(*texts), None, sandboxed, beside)]


MISSING = {
    "a package": ("import numpy, korniaa.losses as k", ["korniaa"]),
    "a part of one": ("from lora_utilz.layers import Lora", ["lora_utilz"]),
    "several": ("import os\nimport korniaa\nfrom lpipz import LPIPS", ["korniaa", "lpipz"]),
    "a part of a name that several share": ("import google.protobufx", ["google.protobufx"]),
    "in a block that always runs": (
        "import warnings\nwith warnings.catch_warnings():\n    import korniaa",
        ["korniaa"],
    ),
    "beside a magic": ("%matplotlib inline\nimport korniaa", ["korniaa"]),
    "in a timed cell": ("%%time\nimport korniaa", ["korniaa"]),
    "what notebooks do not see": ("import hypothesis", ["hypothesis"]),
    "installed without network": ("!pip install korniaa\nimport korniaa", ["korniaa"]),
}


@pytest.mark.parametrize(("text", "expected"), MISSING.values(), ids=MISSING.keys())
def test_what_is_missing_is_named(text: str, expected: list[str]) -> None:
    """An import at the top level of a cell is missing if the notebooks' Python has no such module in the sandbox."""
    assert names(text) == expected


THERE = {
    "what is installed": "import torch, numpy as np\nfrom diffusers import UNet2DConditionModel\nimport os.path",
    "what has a stand-in": "from google.colab import drive\nimport kaggle_secrets",
    "what is offered": "from graders import style_similarity",
    "it may fail": "try:\n    import xformerz\nexcept ImportError:\n    xformerz = None",
    "on a condition": "import sys\nif 'google.colab' in sys.modules:\n    from google.colab import drive",
    "in a function": "def f():\n    import korniaa",
    "of itself": "from . import korniaa",
    "another language": "%%bash\nimport korniaa",
    "does not compile": "import korniaa\nx = (",
}


@pytest.mark.parametrize("text", THERE.values(), ids=THERE.keys())
def test_what_is_there_or_may_fail_is_left_alone(text: str) -> None:
    """What is installed, offered, or imported only under some circumstances is no reason to stop."""
    assert names(text) == []


def test_modules_that_the_notebook_brings() -> None:
    """A file that was handed in or that a cell writes is there; where there is a network, so is what a cell installs."""
    assert names("import lora_utilz", beside=("lora_utilz",)) == []
    assert names("%%writefile lora_utilz.py\nx = 1", "import lora_utilz") == []
    assert names("from pathlib import Path\nPath('lora_utilz.py').write_text('')", "import lora_utilz") == []
    assert names("%pip install -q korniaa", "import korniaa", sandboxed=False) == []
    assert names("import korniaa", sandboxed=False) == ["korniaa"]
    assert names("import hypothesis", sandboxed=False) == []


def test_what_is_said() -> None:
    """The error names the module, the cell by its heading, and all other modules once."""
    found = missing(cells("import torch", "import korniaa", "import korniaa.x, lpipz"), None, True)
    error = imports.MissingImports(found, imports.advice("korniaa", None))
    assert error.names == ("korniaa", "lpipz")
    assert "`korniaa` in the second cell under *Setup*" in error.problem
    assert "The same goes for `lpipz`." in error.problem
    assert "-m pip install korniaa" in error.fix
    assert "korniaa.py" in error.fix
