"""What a file is that was handed in for a notebook and is none, told by its content: file names say what people hope."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass

MAX_SCRIPT = 200_000
"""Characters of a text that is tried as Python."""
ITSELF = "Hand in the notebook itself, the file that ends in .ipynb."
DOWNLOAD = (
    "Download the notebook itself (in Jupyter: File, Download; in Colab: File, Download, Download .ipynb; "
    "on GitHub: Download raw file), and hand in that file."
)
_SAVE = "Save the notebook in Jupyter, make sure that the file is not empty, and hand it in."
_RESOLVE = "Resolve the conflict (nbdime helps), open the notebook in Jupyter, run it, save it, and hand it in."


@dataclass(frozen=True)
class FileKind:
    """What there is to say about a file, such as "is a PDF, not a notebook", and what to do about it."""

    says: str
    fix: str


_BYTES: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF", "a PDF", ITSELF),
    (b"{\\rtf", "a text document (RTF)", ITSELF),
    (b"\xd0\xcf\x11\xe0", "an Office document", ITSELF),
    (b"\x89PNG", "a picture", ITSELF),
    (b"\xff\xd8\xff", "a picture", ITSELF),
    (b"GIF8", "a picture", ITSELF),
    (b"bplist00", "a web page as Safari saves it", DOWNLOAD),
    (b"\x00\x05\x16\x07", "a Mac's note about a file, not the file", ITSELF),
    (b"\x1f\x8b", "an archive (gzip)", ITSELF),
    (b"7z\xbc\xaf", "an archive (7z)", ITSELF),
    (b"Rar!", "an archive (RAR)", ITSELF),
    (b"\xfd7zXZ", "an archive (xz)", ITSELF),
    (b"BZh", "an archive (bzip2)", ITSELF),
    (b"version https://git-lfs.github.com/", "a Git LFS pointer",
     "Run git lfs pull, and hand in the file that is there then."),
    (b"[InternetShortcut]", "a link to a web page", DOWNLOAD),
)  # fmt: skip
_PAGE = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<(?:!doctype|html|head|body|title|meta|div|p)\b", re.I | re.S
)
_DRIVE = re.compile(rb'\s*\{\s*(?=[^{}]*"(?:doc_id|resource_id|url)")[^{}]*\}\s*')
_R_MARKDOWN = re.compile(rb"^```\{(?:r|python|julia)\b", re.M | re.I)
_MARKDOWN = re.compile(rb"---\s*\n(?:.*\n)*?(?:jupytext|jupyter|title|output|format)\s*:", re.I)


def file_kind(content: bytes) -> FileKind | None:
    """What a file is that holds these bytes; None for a notebook, and where it is not known."""
    start = content[:4096].removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        return FileKind("is empty", _SAVE)
    for beginning, what, fix in _BYTES:
        if start.startswith(beginning):
            return _other(what, fix)
    if content[257:262] == b"ustar":
        return _other("an archive (tar)", ITSELF)
    if _PAGE.match(start):
        return _other("a web page", DOWNLOAD)
    if len(content) < 4096 and _DRIVE.fullmatch(start):
        return _other("a link to a document in the cloud", DOWNLOAD)
    return next((kind for know in _TEXTS if (kind := know(content)) is not None), None)


def _other(what: str, fix: str) -> FileKind:
    return FileKind(f"is {what}, not a notebook", fix)


def _conflict(content: bytes) -> FileKind | None:
    """Whether Git has left its marks in it because it could not merge two versions."""
    line = 0
    for number, text in enumerate(content.splitlines(), start=1):
        # One after the other: an expression for all three would take long where there are thousands of one kind
        if line == 0 and text.startswith(b"<<<<<<<"):
            line = number
        elif line and text.startswith(b">>>>>>>"):
            return FileKind(f"holds two versions at once, with the marks of a merge conflict (line {line})", _RESOLVE)
    return None


def _script(content: bytes) -> FileKind | None:
    """Python, as "Save as script" writes it, or an editor."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if len(text) > MAX_SCRIPT or text.lstrip().startswith(("{", "[")):
        return None
    if not text.startswith(("#!", "# -*-", "# %%", "# In[", "# Databricks")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        statements = (ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.ClassDef, ast.For)
        if not any(isinstance(statement, statements) for statement in tree.body):
            return None
    return _other("a Python script", ITSELF)


def _document(content: bytes) -> FileKind | None:
    if _R_MARKDOWN.search(content[:100_000]) or _MARKDOWN.match(content[:2000]):
        return _other("a Markdown document", ITSELF)
    return None


_TEXTS: tuple[Callable[[bytes], FileKind | None], ...] = (_conflict, _document, _script)


def archive_kind(names: Collection[str]) -> FileKind | None:
    """What a zip archive is that holds files of these names: office programs save such."""
    if "[Content_Types].xml" in names:
        folders = {name.partition("/")[0] for name in names}
        kinds = {"word": "a Word document", "xl": "an Excel file", "ppt": "a PowerPoint file"}
        return _other(next((what for top, what in kinds.items() if top in folders), "an Office document"), ITSELF)
    if "mimetype" in names and "content.xml" in names:
        return _other("a document of LibreOffice", ITSELF)
    return None
