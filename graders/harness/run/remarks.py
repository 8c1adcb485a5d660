"""What to know of a run besides how it ended: parameters that were set again, and what no graders' machine can give."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from graders.harness.run.evidence import Evidence

_ASKED = (
    (
        r"^[ \t]*[!%][ \t]*(?:sudo[ \t]+|python3?[ \t]+-m[ \t]+)*(?P<what>pip3?|uv|conda|mamba|apt|apt-get)"
        r"[ \t][^\n]*\binstall\b",
        "`{} install` does nothing where your hand-in is graded, which does not matter: there is no network, and what the "
        "exercises need is installed.",
    ),
    (
        r"^[ \t]*[!%][ \t]*(?P<what>wget|curl|gdown|git(?=[ \t]+clone)|kaggle(?=[ \t]))",
        "`{}` loads nothing where your hand-in is graded: there is no network. Use the models and data that the parameters "
        "name.",
    ),
    (
        r"^(?:[ \t]*[!%][ \t]*(?P<cli>huggingface-cli login|hf auth login|wandb login)"
        r"|(?![ \t]*def\b)[^#\n]*(?:(?<![\w.])|\bhuggingface_hub\.)(?P<what>notebook_login|interpreter_login|login)\()",
        "Nobody has to log in where your hand-in is graded: there is no network, and the models are there. Leave `{}` out.",
    ),
    (
        r"^(?:from|import)[ \t]+(?P<what>google\.colab|kaggle_secrets)\b",
        "`{}` is only where you wrote the notebook. Where your hand-in is graded, what comes of it does nothing: no drive is "
        "mounted, no file goes up or down, no secret is known. That does not matter unless a later cell needs one of them.",
    ),
    (
        r"^(?:[ \t]*(?P<what>%pdb|%debug)|[^#\n]*\b(?P<call>breakpoint|set_trace)\()",
        "Nobody answers a debugger while a notebook is graded: take `{}` out.",
    ),
)
"""What the code asks for, as a pattern of its lines, and what to say of it."""


def remarks(evidence: Evidence, parameters: Collection[str], carried: Collection[str]) -> Iterator[str]:
    """Sentences for the student, on the exercise's ``parameters`` and OUTPUT_DIR among others.

    Those ``carried`` were judged for the notebook's own values.
    """
    own = {name: again for name, again in evidence.set_again.items() if name in {*parameters, "OUTPUT_DIR"}}
    for name, again in own.items():
        said = f"`{name}` is set again in {again.place}."
        if name in carried:
            yield f"{said} The first run is judged for your value; take that line out, and it follows the parameter."
        else:
            yield f"{said} The value that it was run with is lost there: take that line out."
    for pattern, sentence in _ASKED:
        if found := re.search(pattern, evidence.code, re.MULTILINE):
            what = next(text for text in found.groups() if text)
            yield sentence.format(what)
