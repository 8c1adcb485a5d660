"""A hand-in notebook: read from bytes of any quality, pointed at fixtures, asked for its written answers."""

from __future__ import annotations

import ast
import json
import keyword
import math
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.reader import reads
from nbformat.v4 import new_code_cell

from graders.harness.data import archive, values
from graders.harness.data.file_kinds import file_kind
from graders.harness.errors import ExplainedError
from graders.harness.run import source
from graders.harness.run.dataflow import uses
from graders.harness.run.variables import derived

MAX_BYTES = 50_000_000
"""The largest notebook file that is read, in bytes."""
MAX_PARTS = 100_000
"""The most values, at any depth, that a notebook may hold besides outputs: nbformat takes up to 11 kB for each. Most of
them are lines of source, and a thousand long cells have 50,000."""

PARAMETERS = "parameters"
INJECTED = "injected-parameters"
WRITTEN_ANSWER = "written-answer"

_CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PYTHON = re.compile("python|pyspark|sage|pyodide")
_OTHER_KERNEL = re.compile(
    "(?:ir|julia.*|octave|matlab|xr|bash|javascript|deno|scala|almond|spylon.*|ruby|rust|sql|stata|sas)$", re.I
)
"""Names of kernels that are not for Python, where a notebook says no more than that."""
_SAVE_AGAIN = "Open it in Jupyter, save it, and hand in the saved file."


class NotebookError(ExplainedError):
    """A notebook that cannot be graded as it is: ``problem`` says why and ``fix`` what to do, one line each."""


def read(path: Path) -> NotebookNode:
    """The notebook in the file ``path``, as :func:`parse` gives it.

    Raises :class:`NotebookError` as well when there is no such file, or when it has more than :data:`MAX_BYTES` bytes.
    """
    return parse(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """What is in the file ``path``, or in a zip archive of that path.

    :class:`NotebookError` if it is missing, not a file, or too large, :class:`ArchiveError` if it is an archive without.
    """
    name = values.shown(path.name)
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise NotebookError(f"{name} {what}.", "Give the path of a notebook, a file that ends in .ipynb.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotebookError(f"{name} cannot be opened: {error.strerror}.", "Check its path and permissions.") from None
    if len(content) > MAX_BYTES:
        raise NotebookError(
            f"The notebook is larger than {MAX_BYTES // 1_000_000} MB.",
            "Clear its outputs (Edit, Clear Outputs of All Cells) and save it again.",
        )
    return archive.notebook_in(content, MAX_BYTES) if archive.is_archive(content) else content


def parse(content: bytes) -> NotebookNode:
    """A valid notebook of format 4.5, without outputs, in which every cell has an id of its own.

    Older formats are upgraded. Raises :class:`NotebookError` for whatever cannot be read.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _other(content, "The notebook is not UTF-8 text.") from None
    try:
        return _parse(text, content)
    except NotebookError:
        raise
    except RecursionError:
        raise NotebookError("The notebook's JSON is nested too deeply.", _SAVE_AGAIN) from None
    except nbformat.ValidationError as error:
        raise NotebookError(f"The notebook does not follow its file format: {_where(error)}.", _SAVE_AGAIN) from None
    except Exception as error:  # nbformat's conversions meet hostile data with exceptions of many types
        raise NotebookError(
            f"The notebook does not follow its file format ({type(error).__name__}).", _SAVE_AGAIN
        ) from None


def _parse(text: str, content: bytes) -> NotebookNode:
    try:
        document = json.loads(text)
    except ValueError as error:
        place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        cut = isinstance(error, json.JSONDecodeError) and _breaks_off(error, text)
        problem = f"The file is not valid JSON{place}, so it is not a notebook."
        raise _other(
            content, f"The notebook's file breaks off{place}: a part is missing." if cut else problem
        ) from None
    version = document.get("nbformat") if isinstance(document, dict) else None
    if not isinstance(document, dict):
        raise _other(content, "The file holds JSON, but no notebook.")
    if type(version) is int and version > 4:
        raise NotebookError(
            "The notebook is of a later format than 4, the last that is known here.",
            "Save it in format 4, as Jupyter does now: jupyter nbconvert --to notebook --nbformat 4 FILE.",
        )
    if type(version) is not int or version < 1:
        raise _other(content, "The file does not say that it is a notebook of format 4.")
    _clear_outputs(document)
    if _has_more_parts(document, MAX_PARTS):
        raise NotebookError(f"The notebook holds more than {MAX_PARTS:,} lines and other values.", _SAVE_AGAIN)
    notebook = nbformat.convert(reads(json.dumps(document)), 4)
    notebook.nbformat_minor = 5
    seen: set[str] = set()
    free = (name for number in count() if (name := f"cell-{number}") not in seen)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
        if not isinstance(cell.get("id"), str) or not _CELL_ID.fullmatch(cell.id) or cell.id in seen:
            cell.id = next(free)
        seen.add(cell.id)
    nbformat.validate(notebook, relax_add_props=True)
    try:
        json.dumps(notebook, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise NotebookError("The notebook holds half of a Unicode character.", _SAVE_AGAIN) from None
    _ensure_python(notebook)
    return notebook


def _other(content: bytes, problem: str) -> NotebookError:
    """What is wrong with a file that is no notebook: what it is instead, where that is known, or else the ``problem``."""
    kind = file_kind(content)
    return NotebookError(f"The file {kind.says}.", kind.fix) if kind else NotebookError(problem, _SAVE_AGAIN)


def _breaks_off(error: json.JSONDecodeError, text: str) -> bool:
    """Whether JSON is right as far as it goes."""
    return text.lstrip()[:1] in "{[" and (
        error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    )


def _ensure_python(notebook: NotebookNode) -> None:
    """:class:`NotebookError` for a notebook that says it is in another language, and is."""
    about = [notebook.metadata.get(name) for name in ("language_info", "kernelspec")]
    info, spec = (one if isinstance(one, dict) else {} for one in about)
    languages = [str(one) for one in (info.get("name"), spec.get("language")) if one]
    if not languages and _OTHER_KERNEL.match(str(spec.get("name"))):
        languages = [str(spec["name"])]
    if not languages or any(_PYTHON.search(one.casefold()) for one in languages):
        return
    trees = [cell.tree for cell in source.code(notebook)]
    if None not in trees and any(
        isinstance(node, ast.Import | ast.ImportFrom) for tree in trees if tree for node in tree.body
    ):
        return
    shown = values.one_line(str(spec.get("display_name") or languages[0]), 40)
    raise NotebookError(
        f"This is a notebook for {shown}, not for Python.",
        "Do the exercise in Python, in the notebook that you were given, and hand that in.",
    )


def _clear_outputs(document: dict[str, Any]) -> None:
    """Empty what is not read anyway, and is often the largest part of a notebook."""
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("widgets", None)  # the state of every progress bar
    sheets = document.get("worksheets")  # where formats before 4 have their cells
    for sheet in [document, *(sheets if isinstance(sheets, list) else ())]:
        cells = sheet.get("cells") if isinstance(sheet, dict) else None
        for cell in cells if isinstance(cells, list) else ():
            if isinstance(cell, dict) and "outputs" in cell:
                cell["outputs"] = []


def _has_more_parts(document: Any, most: int) -> bool:
    parts = [document]
    for part in parts:  # which grows meanwhile
        if len(parts) > most:
            return True
        if isinstance(part, dict):
            parts += part.values()
        elif isinstance(part, list):
            parts += part
    return False


def _where(error: Any) -> str:
    """What the format's validator objects to, in one line; cells are counted from 1."""
    path = list(getattr(error, "absolute_path", ()) or ())
    place = f"cell {path[1] + 1}: " if len(path) > 1 and path[0] == "cells" and isinstance(path[1], int) else ""
    return place + values.one_line(str(getattr(error, "message", "")), 120).rstrip(".")


def has_tag(cell: NotebookNode, tag: str) -> bool:
    """Whether the cell carries the tag."""
    return tag in cell.metadata.get("tags", ())


def is_code(cell: NotebookNode) -> bool:
    """Whether there is anything to execute in the cell."""
    return cell.cell_type == "code" and bool(cell.source.strip())


def without(notebook: NotebookNode, left_out: Collection[str]) -> NotebookNode:
    """A copy of the notebook in which the cells with these ids are blank; all others keep their numbers."""
    cells = [NotebookNode({**cell, "source": ""}) if cell.id in left_out else cell for cell in notebook.cells]
    return NotebookNode({**notebook, "cells": cells})


def inject(notebook: NotebookNode, parameters: Mapping[str, Any]) -> NotebookNode:
    """A copy of the notebook that assigns ``parameters`` after each cell of its own: in a cell tagged ``injected-parameters``.

    That cell computes anew what the cells of parameters in a row with it derive from one. Injected cells that are already
    there are replaced and keep their ids. Where no cell is tagged, as in what Colab saved, it is those that assign
    parameters. Raises :class:`NotebookError` if there is none, TypeError or ValueError if a name or a value cannot be written
    as a Python literal.
    """
    given = "\n".join(["# Parameters"] + [f"{_name(name)} = {_literal(value)}" for name, value in parameters.items()])
    cells = [cell for cell in notebook.cells if not has_tag(cell, INJECTED)]
    found = parameter_cells(NotebookNode({"cells": cells}), parameters)
    if not found:
        raise NotebookError(
            f"No code cell of the notebook is tagged `{PARAMETERS}`, so it cannot be pointed at other data.",
            f"Add the tag `{PARAMETERS}` to the cell that assigns {', '.join(parameters)}.",
        )
    homes = {home.id: home for home in source.code(NotebookNode({"cells": found}))}
    earlier, taken = _injected(notebook), {cell.id for cell in notebook.cells}
    fresh = (name for number in count() if (name := f"{INJECTED}-{number}") not in taken)
    made, row = [], []
    for cell in cells:
        made.append(cell)
        if home := homes.get(cell.id):
            row.append(home)
            text = "\n".join([given, *derived(row, {*parameters})])
            made.append(new_code_cell(text, id=earlier.get(cell.id) or next(fresh), metadata={"tags": [INJECTED]}))
        elif is_code(cell):
            row.clear()
    return NotebookNode({**notebook, "cells": made})


def _injected(notebook: NotebookNode) -> dict[str, str]:
    """The ids of the injected cells that are already there, by that of the code cell before each."""
    found: dict[str, str] = {}
    before = ""
    for cell in notebook.cells:
        if has_tag(cell, INJECTED):
            found.setdefault(before, cell.id)
        elif cell.cell_type == "code":
            before = cell.id
    return found


def parameter_cells(notebook: NotebookNode, parameters: Collection[str]) -> list[NotebookNode]:
    """The code cells tagged ``parameters`` or, if there are none, those that assign at least two of them.

    One that makes something else of a parameter, such as a picture of its path, does not assign it.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if tagged := [cell for cell in cells if has_tag(cell, PARAMETERS)]:
        return [cell for cell in tagged if is_code(cell)] or tagged
    return [cell for cell in cells if len(_assigned(cell, {*parameters})) >= min(2, len(parameters)) > 0]


def assigned(notebook: NotebookNode, parameters: Collection[str]) -> set[str]:
    """The parameters that the cells of parameters assign."""
    return set[str]().union(*(_assigned(cell, {*parameters}) for cell in parameter_cells(notebook, parameters)))


def _assigned(cell: NotebookNode, parameters: set[str]) -> set[str]:
    """The parameters that a code cell assigns at its top level, without looking at one."""
    tree = source.code(NotebookNode({"cells": [cell]}))[0].tree
    found = set()
    for statement in tree.body if tree else ():
        if own := parameters.intersection(_targets(statement)):
            with suppress(RecursionError):  # nobody writes such a statement
                found |= own if not uses(statement) & parameters else set()
    return found


def _targets(statement: ast.stmt) -> list[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _name(name: str) -> str:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"a parameter cannot be named {name!r}")
    return name


def _literal(value: Any) -> str:
    """The value as Python source on one line; only exact built-in types, so that ``repr`` is that source."""
    _check_literal(value)
    return repr(value)


def _check_literal(value: Any) -> None:
    kind = type(value)
    if kind in (list, tuple):
        for item in value:
            _check_literal(item)
    elif kind is dict:
        for item in (*value.keys(), *value.values()):
            _check_literal(item)
    elif kind is float and not math.isfinite(value):
        raise ValueError(f"{value} cannot be written as a literal")
    elif value is not None and kind not in (str, int, float, bool):
        raise TypeError(f"a parameter cannot hold a value of type {kind.__name__}")


def written_answers(notebook: NotebookNode) -> list[str]:
    """The text of every Markdown cell tagged ``written-answer``, in order."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown" and has_tag(cell, WRITTEN_ANSWER)]
