"""A hand-in notebook: read from bytes of any quality, pointed at fixtures, asked for its written answers."""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.reader import reads
from nbformat.v4 import new_code_cell

from graders.harness.data import archive, values
from graders.harness.errors import ExplainedError

MAX_BYTES = 50_000_000
"""The largest notebook file that is read, in bytes."""
MAX_PARTS = 100_000
"""The most values, at any depth, that a notebook may hold besides outputs: nbformat takes up to 11 kB for each. Most of
them are lines of source, and a thousand long cells have 50,000."""

PARAMETERS = "parameters"
INJECTED = "injected-parameters"
WRITTEN_ANSWER = "written-answer"

_CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
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
        raise NotebookError("The notebook is not UTF-8 text.", _SAVE_AGAIN) from None
    try:
        return _parse(text)
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


def _parse(text: str) -> NotebookNode:
    try:
        document = json.loads(text)
    except ValueError as error:
        place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise NotebookError(f"The file is not valid JSON{place}, so it is not a notebook.", _SAVE_AGAIN) from None
    if not isinstance(document, dict):
        raise NotebookError("The file holds JSON, but no notebook.", _SAVE_AGAIN)
    version = document.get("nbformat")
    if type(version) is int and version > 4:
        raise NotebookError(
            "The notebook is of a later format than 4, the last that is known here.",
            "Save it in format 4, as Jupyter does now: jupyter nbconvert --to notebook --nbformat 4 FILE.",
        )
    if type(version) is not int or version < 1:
        raise NotebookError("The file does not say that it is a notebook of format 4.", _SAVE_AGAIN)
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
    return notebook


def _clear_outputs(document: dict[str, Any]) -> None:
    """Empty what is not read anyway, and is often the largest part of a notebook."""
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


def inject(notebook: NotebookNode, parameters: Mapping[str, Any]) -> NotebookNode:
    """A copy of the notebook that assigns ``parameters`` after its own: in a cell tagged ``injected-parameters``.

    An injected cell that is already there is replaced and keeps its id. Raises :class:`NotebookError` if no cell is
    tagged ``parameters``, TypeError or ValueError if a name or a value cannot be written as a Python literal.
    """
    source = "\n".join(["# Parameters"] + [f"{_name(name)} = {_literal(value)}" for name, value in parameters.items()])
    cells = [cell for cell in notebook.cells if not has_tag(cell, INJECTED)]
    earlier = [cell.id for cell in notebook.cells if has_tag(cell, INJECTED)]
    home = next((at for at, cell in enumerate(cells) if cell.cell_type == "code" and has_tag(cell, PARAMETERS)), None)
    if home is None:
        raise NotebookError(
            f"No code cell of the notebook is tagged `{PARAMETERS}`, so it cannot be pointed at other data.",
            f"Add the tag `{PARAMETERS}` to the cell that assigns MODEL, DEVICE, SEED and OUTPUT_DIR.",
        )
    taken = {cell.id for cell in cells}
    fresh = next(name for n in count() if (name := f"{INJECTED}-{n}") not in taken)
    cell = new_code_cell(source, id=earlier[0] if earlier else fresh, metadata={"tags": [INJECTED]})
    injected = NotebookNode(notebook)
    injected.cells = [*cells[: home + 1], cell, *cells[home + 1 :]]
    return injected


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
