"""The code of a notebook as Python sees it, before anything of it runs: which cells compile, and where each stands.

Nothing is executed. The code may be anyone's, so a cell that would take long to look at is one of which nothing is known.
"""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

from nbformat import NotebookNode

from graders.harness.data.values import one_line
from graders.harness.ending import RunError, RunReport

MAX_EFFORT = 3_000_000
"""Characters that are read of a notebook, some seconds' worth: a cell is read anew for each of its lines that IPython has to
change."""
PYTHON_MAGICS = ("capture", "debug", "prun", "time", "timeit")
"""Cell magics that run the rest of the cell as Python, in the notebook's own variables."""

_ESCAPE = re.compile(r"^[ \t]*[%!?/,;]|=[ \t]*[%!]|\?[ \t]*$", re.MULTILINE)
_CELL_MAGIC = re.compile(r"\s*%%(\w+)[^\n]*(?:\n|$)")
_AUTOMAGIC = re.compile(r"\s*([A-Za-z_]\w*)[ \t]+[^\s=(\[.,]")
_COMPILED_AS = re.compile(r" \((?:<[^<>]*>|[^()/\\]*\.py), line (\d+)\)$")
_HEADING = re.compile(r"[ ]{0,3}#{1,6}[ \t]+(.+?)[ \t#]*$")
_LONGEST_HEADING = 300
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")


@dataclass(frozen=True)
class Fault:
    """Why a cell does not compile: Python's own words, the line of the cell (from 1), and what stands there."""

    line: int
    message: str
    text: str


@dataclass(frozen=True)
class Code:
    """A code cell: ``number`` counts them from 1, ``place`` says which it is, such as "the cell under *Train*".

    ``tree`` is None where it does not compile, with the ``fault``, and where nothing is known of it. ``magic`` is its cell magic,
    ``headings`` stand between it and the code before it.
    """

    id: str
    number: int
    place: str
    text: str
    tree: ast.Module | None
    fault: Fault | None = None
    magic: str = ""
    headings: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """What is wrong with it, as the beginning of a sentence; "" if nothing is."""
        fault = self.fault
        return f"Line {fault.line} of {self.place} is not valid Python: {fault.message}" if fault else ""


def code(notebook: NotebookNode) -> list[Code]:
    """Every code cell of the notebook, in order."""
    places = dict(_places(notebook))
    found: list[Code] = []
    left = MAX_EFFORT
    headings: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings += _headings(cell.source)
        elif cell.cell_type == "code":
            effort = len(cell.source) * (1 + len(_ESCAPE.findall(cell.source)))
            left -= effort
            tree, fault = _compiled(cell.source) if left >= 0 else (None, None)
            magic = _CELL_MAGIC.match(cell.source)
            about = (magic[1] if magic else "", tuple(headings))
            found.append(Code(cell.id, len(found) + 1, places[cell.id], cell.source, tree, fault, *about))
            headings.clear()
    return found


def place(notebook: NotebookNode, number: int) -> str:
    """Which cell the code cell of that number is, such as "the second cell under *Train*"; "a cell" where there is none."""
    places = [where for _, where in _places(notebook)]
    return places[number - 1] if 1 <= number <= len(places) else "a cell"


def _places(notebook: NotebookNode) -> Iterator[tuple[str, str]]:
    """Where each code cell stands: under which heading and, if there are several there, at which place among them."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            sections[-1][1].append(cell.id)
        elif cell.cell_type == "markdown":
            sections += [(heading, []) for heading in _headings(cell.source)]
    number = 0
    for heading, ids in sections:
        for at, one in enumerate(ids):
            number += 1
            if not heading:
                yield one, f"code cell {number}"
            elif len(ids) == 1 or at >= len(_ORDINALS):
                yield one, f"the cell under *{heading}*" if len(ids) == 1 else f"code cell {number}, under *{heading}*"
            else:
                yield one, f"the {_ORDINALS[at]} cell under *{heading}*"


def _headings(markdown: str) -> Iterator[str]:
    fenced = False
    for line in markdown.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced and (match := _HEADING.match(line[:_LONGEST_HEADING])):
            yield one_line(re.sub(r"[*_`]", "", match[1]), 80)


def _compiled(text: str) -> tuple[ast.Module | None, Fault | None]:
    """The cell as Python, or why it does not compile; neither where that cannot be known."""
    if magic := _CELL_MAGIC.match(text):
        if magic[1] not in PYTHON_MAGICS:
            return ast.Module([], []), None
        # Blank lines in place of the magic keep the numbers of the lines
        text = "\n" * magic[0].count("\n") + text[magic.end() :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _tree(text), None
        except SyntaxError:
            pass
        except (ValueError, RecursionError, MemoryError):
            return None, None
        from IPython.core.inputtransformer2 import TransformerManager  # when needed: it takes a while to import

        try:
            tree = _tree(TransformerManager().transform_cell(text))
            return ast.Module([ast.increment_lineno(one, _blank(text)) for one in tree.body], []), None
        except SyntaxError as error:
            first = _AUTOMAGIC.match(text) if len(text.strip().splitlines()) == 1 else None
            if first and not keyword.iskeyword(first[1]):
                return None, None  # IPython may know the first word as a magic: pip install, cd, ls
            return None, _fault(error, text)
        except (ValueError, RecursionError, MemoryError, RuntimeError):
            return None, None


def _tree(text: str) -> ast.Module:
    """As IPython compiles it: one statement after the other, with `await` anywhere."""
    tree: ast.Module = compile(
        text, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    for statement in tree.body:
        compile(ast.Module([statement], []), "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return tree


def _fault(error: SyntaxError, text: str) -> Fault:
    line, shown = _line(text, error.lineno or 1)
    if shown.startswith(("<<<<<<<", ">>>>>>>")):
        return Fault(line, "it is a mark that Git leaves of a merge conflict", shown)
    return Fault(line, one_line(error.msg, 200).rstrip("."), shown)


def _line(text: str, number: int) -> tuple[int, str]:
    """The line of a cell, and its number, by its number in what IPython compiles, without blank lines at the beginning."""
    lines = text.splitlines() or [""]
    line = min(max(number + _blank(text), 1), len(lines))
    return line, one_line(lines[line - 1].strip(), 200)


def skipped(text: str) -> int:
    """The lines of a cell before the first that IPython counts: blank ones, and a cell magic."""
    magic = _CELL_MAGIC.match(text)
    return magic[0].count("\n") + _blank(text[magic.end() :]) if magic else _blank(text)


def _blank(text: str) -> int:
    """The blank lines that it begins with, which IPython takes away."""
    return next((at for at, line in enumerate(text.splitlines()) if line.strip()), 0)


def located(report: RunReport, notebook: NotebookNode) -> RunReport:
    """The report of a run that ended at code which does not compile, with the place of it that people know.

    Python names it by a file that nobody has seen: "(560010199.py, line 1)".
    """
    error = report.error
    if error is None or report.cell is None or error.ename not in ("SyntaxError", "IndentationError", "TabError"):
        return report
    cells = [cell for cell in code(notebook) if cell.number == report.cell]
    if cells and (fault := cells[0].fault):
        line, message, shown = fault.line, fault.message, fault.text
    elif cells and (match := _COMPILED_AS.search(error.evalue)):
        (line, shown), message = _line(cells[0].text, int(match[1][:6])), error.evalue[: match.start()]
    else:
        return report
    said = f"{message.rstrip('.')}, in line {line} of {cells[0].place}"
    return replace(report, error=RunError(error.ename, said, shown, line))
