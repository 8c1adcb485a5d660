"""Hand-ins whose words are code: for terminals, browsers, spreadsheets, and for what marks text up."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import nbformat

from graders.harness.course import answers
from tests.hostile.case import EVIL, Aftermath, Case
from tests.hostile.outside import CHECKOUT

WORDS = (
    "\x1b[2J\x1b]0;title\x07\x1b[31m",
    "\x9b31m\x07\x08\x7f\x00",
    "\u202ereversed\u2066\u200b\u2028",
    "\r\nScore: 20 of 20",
    "<script>document.title='x'</script><img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><style>*{display:none}</style>",
    "[link=file:///etc/passwd]here[/link][red]red[/][/]",
    "[bold",
    "`code` **bold** ![picture](http://192.0.2.1/x.png) | a | table |",
    "{{ 7 * 7 }}${x}%s%n{0}",
    "\ud800\udfff",
)
FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1+1", "\r=1+1", '=HYPERLINK("http://192.0.2.1")')


def is_no_formula(aftermath: Aftermath) -> None:
    """In the file of written answers, which is read in a spreadsheet, no cell computes, whatever a hand-in is called."""
    notebook = nbformat.read(aftermath.folder / "run" / "notebook.ipynb", as_version=4)
    with tempfile.TemporaryDirectory() as place:
        for formula in FORMULAS:
            notebook.cells[-1].source = formula + notebook.cells[-1].source
            copy = Path(place, "ex1", formula.replace("/", "") + "x", "run", "notebook.ipynb")
            copy.parent.mkdir(parents=True)
            nbformat.write(notebook, copy)
        found = answers.collect(Path(place), CHECKOUT / "reference_solutions")
        assert len([answer for answer in found if "x" in answer.answer]) == len(FORMULAS)
        answers.write(found, Path(place, "answers.csv"))
        rows = list(csv.reader(io.StringIO(Path(place, "answers.csv").read_text("utf-8-sig"), newline="")))
    assert len(rows) == len(FORMULAS) + 1
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


CASES = [
    Case(
        "words as an error's message",
        f"raise ValueError(''.join({WORDS[:-1]!r}))",
        "cell_error",
        EVIL,
        "ValueError",
    ),
    Case(
        "words as an error's name, and in the line that raised it",
        f"Evil = type('[red]' + ''.join({WORDS[:-1]!r}).replace(chr(0), ''), (Exception,), {{}})\n"
        "raise Evil('[/]')  # \x1b[2J<script>[red]\u202e",
        "cell_error",
        EVIL,
    ),
    Case(
        "words that are printed",
        f"import sys\nfor word in {WORDS[:-1]!r}: print(word, flush=True); sys.stderr.write(word)",
    ),
    Case(
        "words as values, in lists and in keys",
        f"words = {WORDS!r}\n"
        "cross_attention_layers = [*words, ''.join(words), 'mid_block.attentions.0' + words[0]]\n"
        "lora_param_counts = {word: word for word in words} | {4: words[0], 16: ''.join(words[:-1])}\n"
        "lora_fraction = dict.fromkeys([*words, 4, 16], words[4])",
    ),
    Case(
        "types whose names are words",
        f"name = '[red]' + ''.join({WORDS[:-1]!r}).replace(chr(0), '')\n"
        "cross_attention_layers = type(name, (), {})()\n"
        "lora_param_counts = {4: type(name, (), {'__module__': name})(), 16: [type(name, (), {})()]}\n"
        "class Failing(list):\n    def __iter__(self): raise type(name, (Exception,), {})(name)\n"
        "lora_fraction = Failing()",
    ),
    Case(
        "words in a table, and as ranks",
        f"rank_table = [dict.fromkeys({WORDS!r}, 1), {{4: {WORDS!r}}}] * 2\n"
        f"lora_images = dict.fromkeys({WORDS!r}, [])\nbase_images = {WORDS!r}",
        exercise="ex3",
    ),
    Case(
        "formulas and words as written answers",
        "lora_fraction = 1",
        answers=("".join(WORDS[:-1]) + "x",),
        afterwards=is_no_formula,
    ),
]
