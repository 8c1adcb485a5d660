"""What to do about an error that ended a run, where its cause can be told from how it is named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NO_NETWORK = (
    r"LocalEntryNotFound|OfflineMode|ConnectionError|ConnectError|ConnectTimeout|MaxRetryError|NewConnectionError|URLError"
    r"|gaierror|DeviceCodeError|resolve host|Name or service not known|name resolution|Network is unreachable|offline mode"
    r"|couldn't connect to|No address associated"
)
_NO_GPU = (
    r"not compiled with CUDA|no NVIDIA driver|No CUDA GPUs|CUDA device but torch\.cuda\.is_available|CUDA driver|CUDA-capable"
    r"|torch\.cuda\.\w+Tensor|requires? (?:a |an )?(?:CUDA|GPU|accelerator)|No accelerator|CUDA is not available"
)
_CAUSES = (
    (
        r"^ModuleNotFoundError: .*'(google|google\.colab|kaggle_secrets|kaggle_datasets|kaggle)\b",
        "That module exists on Colab or Kaggle only. Take its lines out, or put them under `try:` with "
        "`except ImportError: pass`.",
    ),
    (
        r"^BdbQuit|^StdinNotImplementedError.*\n.*(?:breakpoint|set_trace|pdb)",
        "Nobody answers a debugger while a notebook is graded. Take out breakpoint(), set_trace(), %debug and %pdb.",
    ),
    (
        r"^StdinNotImplementedError.*\n.*(?:input|getpass)\(",
        "Nobody answers input() while a notebook is graded. Write the value into the code instead of asking for it.",
    ),
    (
        r"^StdinNotImplementedError",
        "Something waits for an answer from the keyboard, and nobody gives one while a notebook is graded. Take out input(), "
        "%debug, %pdb and what asks for a password.",
    ),
    (
        r"device string: auto|string: 'auto'|device type .*auto",
        '"auto" is no device of PyTorch. Choose one where DEVICE is "auto": "cuda" if torch.cuda.is_available() else "cpu".',
    ),
    (
        _NO_GPU,
        'The notebook asked for a GPU, and there was none. Choose the device once, "cuda" if torch.cuda.is_available() else '
        '"cpu", and use it in place of "cuda" and .cuda().',
    ),
    (
        rf"(?:{_NO_NETWORK})(?:.|\n)*login|^DeviceCodeError",
        "Nobody has to log in where a notebook is graded: there is no network, and the models are there. Take the login out.",
    ),
    (
        _NO_NETWORK,
        "The notebook asked for something from the network, and there is none where it is graded. Load models and data from "
        "where the parameters say, such as MODEL.",
    ),
    (
        r"^(?:FileNotFoundError|NotADirectoryError|PermissionError|DatasetNotFoundError|OSError|EntryNotFoundError).*"
        r"(?:/content\b|/kaggle\b|/home/|/Users/|[A-Z]:\\|/mnt/|/drive/)",
        "That path exists on your own machine, on Colab or on Kaggle only. Read what the parameters name, and write to "
        "OUTPUT_DIR.",
    ),
    (
        r"^(?:FileNotFoundError|NotADirectoryError|DatasetNotFoundError|EmptyDatasetError)|No such file or directory",
        "The notebook runs in a folder of its own, where only what you hand in is. Read what the parameters name, or hand "
        "that file in together with the notebook.",
    ),
    (
        r"^SystemExit: (?:2|.*usage)|argparse",
        "argparse read the command line of the notebook's kernel, which is not yours. Call parse_args([]), or assign the "
        "values.",
    ),
    (
        r"^SystemExit",
        "sys.exit() ends the run of all cells. Take it out.",
    ),
)
"""A pattern of an error, written as its name, its text and on the next line the line of the cell, and what to do about it."""


def advice_for(error: Mapping[str, Any]) -> str | None:
    """What to do about an error; None where the cause is not known."""
    said = f"{error['ename']}: {error['evalue']}\n{error['line']}"
    return next((advice for pattern, advice in _CAUSES if re.search(pattern, said)), None)
