"""Notebooks that nobody's Jupyter wrote."""

import contextlib
import io
import json
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graders.harness.errors import ExplainedError
from graders.harness.run import notebook as notebooks
from graders.harness.run.notebook import NotebookError
from tests.fuzz.strategies import ROOT, assert_cheap, assert_explained, edited, json_values, linux_only, mutated, texts

REAL = [path.read_bytes() for path in sorted(ROOT.glob("reference_solutions/*.ipynb"))]


def document(*cells: Any, **fields: Any) -> dict[str, Any]:
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **fields}


def cell(kind: str = "code", **fields: Any) -> dict[str, Any]:
    rest = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "id": "a", "metadata": {}, "source": "x = 1", **rest, **fields}


OLD = [
    {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": [
        {"cell_type": "code", "language": "python", "metadata": {}, "outputs": [{"output_type": "pyout", "text": "1"}],
         "input": ["x = 1\n"], "prompt_number": 1, "collapsed": False},
        {"cell_type": "heading", "level": 2, "metadata": {}, "source": "a"},
        {"cell_type": "markdown", "metadata": {}, "source": ["b"]}], "metadata": {}}]},
    {"nbformat": 2, "metadata": {}, "worksheets": [{"cells": [
        {"cell_type": "code", "language": "python", "outputs": [], "input": "x = 1", "prompt_number": 1}]}]},
    {"nbformat": 1, "cells": [{"cell_type": "code", "code": "x = 1", "prompt_number": 1}]},
]  # fmt: skip

cells = st.builds(
    cell,
    st.sampled_from(["code", "markdown", "raw"]) | texts,
    id=st.sampled_from(["a", "cell-1", "cell-2"]) | json_values,
    source=texts | st.lists(texts) | json_values,
    metadata=st.fixed_dictionaries({"tags": st.lists(texts) | json_values}) | json_values,
    outputs=json_values,
)
documents = st.builds(
    document, cells, cells, cells, metadata=st.just({}) | json_values, nbformat_minor=st.integers(0, 9)
)


def assert_read_or_explained(content: bytes) -> None:
    """A valid notebook without outputs, in which every cell has an id of its own, or a line that says what is wrong."""
    try:
        notebook = notebooks.parse(content)
    except NotebookError as error:
        assert_explained(error)
        return
    nbformat.validate(notebook, relax_add_props=True)
    nbformat.writes(notebook).encode()
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    for each in notebook.cells:
        assert isinstance(each.source, str)
        assert isinstance(each.metadata.get("tags", []), list)
        assert not each.get("outputs")
    answers = notebooks.written_answers(notebook)
    assert all(isinstance(answer, str) for answer in answers)
    try:
        injected = notebooks.inject(notebook, {"SEED": 1})
    except NotebookError as error:
        assert_explained(error)
        return
    nbformat.validate(injected, relax_add_props=True)
    # What the kernel reads is what was checked here.
    assert notebooks.parse(nbformat.writes(injected).encode()) == injected


@given(st.binary(max_size=200) | mutated(REAL))
def test_bytes(content: bytes) -> None:
    """Whatever bytes a notebook's file holds, it is read or the error explains itself."""
    assert_read_or_explained(content)


@given(edited([json.loads(content) for content in REAL]) | edited(OLD))
def test_edited(notebook: Any) -> None:
    """The same with any part of a real notebook, or of one in an old format, replaced."""
    assert_read_or_explained(json.dumps(notebook).encode())


@given(documents)
def test_documents(notebook: Any) -> None:
    """The same with cells of any type, id, source and metadata."""
    assert_read_or_explained(json.dumps(notebook).encode())


@given(st.text(max_size=50) | st.sampled_from(["", "a\nb", "x" * 200]))
@example("\x1b[31m.ipynb")
def test_missing_file(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """A name that no file has, or no file can have, ends in a line as well."""
    with pytest.raises(NotebookError) as error:
        notebooks.read(tmp_path_factory.getbasetemp() / "none" / name)
    assert_explained(error.value)


def zipped(members: list[tuple[str, bytes, int]]) -> bytes:
    """An archive with members of these names, contents and ways to pack them."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # that a name is there twice
        for name, content, packing in members:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode().replace("\0", "0")[:9000] or "0")
            archive.writestr(info, content, packing)
    return file.getvalue()


PACKINGS = [zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
members = st.tuples(
    st.sampled_from(["ex1.ipynb", "a/ex1.ipynb", "../ex1.ipynb", "inner.zip", "__MACOSX/._ex1.ipynb"]) | texts,
    st.sampled_from([REAL[0], b"", b"\0" * 100_000]),
    st.sampled_from(PACKINGS),
)
ZIPS = [zipped([(name, REAL[0], packing)]) for packing in set(PACKINGS) for name in ("ex1.ipynb", "é.ipynb")]
ENTRIES = [content[content.index(b"PK\x01\x02") :] for content in ZIPS]
BODIES = [content[: content.index(b"PK\x01\x02")] for content in ZIPS]


@given(
    st.lists(members, max_size=4).map(zipped)
    | mutated(ZIPS)
    | st.tuples(st.sampled_from(BODIES), mutated(ENTRIES)).map(b"".join)
    | st.binary(max_size=60).map(lambda rest: b"PK\x03\x04" + rest)
)
def test_archives(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """An archive gives the bytes of a notebook, no more of them than are read, or an error that explains itself."""
    path = tmp_path_factory.getbasetemp() / "ex1.zip"
    path.write_bytes(content)
    try:
        assert len(notebooks.read_bytes(path)) <= notebooks.MAX_BYTES
    except ExplainedError as error:
        assert_explained(error)


def filled(document: dict[str, Any], part: str, size: int) -> bytes:
    """The document with a list of so many bytes of ``part`` in the place of "HERE"."""
    return json.dumps(document).replace('"HERE"', f"[{','.join([part] * (size // len(part)))}]").encode()


BOMBS = {
    "objects": lambda: filled(document(metadata={"x": "HERE"}), "{}", 3_000_000),
    "outputs": lambda: filled(document(cell(outputs="HERE")), "{}", 3_000_000),
    "outputs of format 3": lambda: json.dumps(OLD[0]).replace('"1"', filled("HERE", "{}", 80_000).decode()).encode(),
    "newlines": lambda: json.dumps(document(cell(source="\n" * 3_000_000))).encode(),
    "lines": lambda: filled(document(cell(source="HERE")), '"a"', 250_000),
    "cells that ask for the next one's id": lambda: json.dumps(
        document(*[cell("raw", **({"id": f"cell-{i + 9000}"} if i < 9000 else {"id": 0})) for i in range(18_000)])
    ).encode(),
}


@linux_only
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_bombs(bomb: Callable[[], bytes]) -> None:
    """A notebook of many parts takes neither much memory nor much time."""
    content = bomb()

    def parse() -> None:
        with contextlib.suppress(NotebookError):
            notebooks.parse(content)

    assert_cheap(parse, memory=300 << 20, seconds=8)
